"""Who owns which fields: metadata.managedFields, as entries beside the object. Pure; merges no objects.

Entries live beside the object and enter it only when it is encoded, so that nobody in the house copies them around.
Source: kubernetes.io, Server-Side Apply, Field management; apimachinery pkg/util/managedfields, restated; shapes recorded on
Kubernetes 1.36.2 (the entry of a scale carries no time, and an element whose owner is gone stays without one).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal
from weakref import WeakValueDictionary

import orjson

from chaoskit.sandbox import clock, fieldsets
from chaoskit.sandbox.errors import bad_request
from chaoskit.sandbox.fieldsets import Tree

Operation = Literal["Apply", "Update"]
_MAX_UPDATERS: Final = 10
_MERGED: Final = "ancient-changes"
_UNCLAIMED: Final = "before-first-apply"
_UNTIMED: Final = frozenset({"scale"})
_HOUSE: Final = {
    "bootstrap": "kube-apiserver",
    "controllermanager": "kube-controller-manager",
    "generic-garbage-collector": "kube-controller-manager",
    "default-scheduler": "kube-scheduler",
}


class FieldSet:
    """A set of fields with its encoded form; equal sets are one object."""

    __slots__ = ("__weakref__", "encoded", "tree")

    def __init__(self, tree: Tree, encoded: bytes) -> None:
        self.tree = tree
        self.encoded = encoded


_known: WeakValueDictionary[bytes, FieldSet] = WeakValueDictionary()


def fieldset(tree: Tree) -> FieldSet:
    encoded = orjson.dumps(fieldsets.render(tree), option=orjson.OPT_SORT_KEYS)
    found = _known.get(encoded)
    if found is None:
        found = _known[encoded] = FieldSet(tree, encoded)
    return found


@dataclass(frozen=True, slots=True)
class Entry:
    """One manager's fields. `time` is empty where the server notes none."""

    manager: str
    operation: Operation
    api_version: str
    subresource: str
    time: str
    fields: FieldSet

    @property
    def key(self) -> tuple[str, Operation, str, str]:
        return self.manager, self.operation, self.api_version, self.subresource

    def written(self) -> dict[str, Any]:
        """The metav1.ManagedFieldsEntry, for encoding."""
        shown: dict[str, Any] = {"manager": self.manager, "operation": self.operation, "apiVersion": self.api_version}
        if self.time:
            shown["time"] = self.time
        shown |= {"fieldsType": "FieldsV1", "fieldsV1": orjson.Fragment(self.fields.encoded)}
        return shown | {"subresource": self.subresource} if self.subresource else shown


Managed = tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, as the entries name him."""

    manager: str
    operation: Operation
    api_version: str
    subresource: str = ""

    @property
    def key(self) -> tuple[str, Operation, str, str]:
        return self.manager, self.operation, self.api_version, self.subresource


def manager_name(actor: str) -> str:
    """The manager of a writer: parts of the cluster go by the name of the binary that they are upstream."""
    if actor.endswith("-controller"):
        return "kube-controller-manager"
    return _HOUSE.get(actor, actor)


def updated(managed: Managed, old: Tree | None, new: Tree, writer: Writer) -> Managed:
    """The entries after a writer put `new` in place of `old` (None: nothing was there). What changed is his now.

    An object without entries stays without them until somebody applies (recorded).
    """
    if old is not None and not managed:
        return managed
    touched, gone = (fieldsets.whole(new), {}) if old is None else fieldsets.changes(old, new)
    if not touched and not gone:
        return managed
    return arranged(_taken(managed, touched, gone, writer))


def _taken(managed: Managed, touched: Tree, gone: Tree, writer: Writer) -> list[Entry]:
    lost = fieldsets.union(touched, gone) if touched and gone else touched or gone
    entries = [entry for entry in managed if entry.key != writer.key]
    mine = next((entry for entry in managed if entry.key == writer.key), None)
    left = [kept for entry in entries if (kept := without(entry, lost)) is not None]
    owned = _grown(mine, touched, gone)
    return left if owned is None else [*left, entry_of(writer, owned)]


def _grown(mine: Entry | None, touched: Tree, gone: Tree) -> FieldSet | None:
    """The writer's fields afterwards; None when he owns none."""
    if mine is None:
        return fieldset(touched) if touched else None
    kept = fieldsets.minus(mine.fields.tree, gone)
    if kept is mine.fields.tree and fieldsets.covers(kept, touched):
        return mine.fields
    owned = fieldsets.union(kept, touched)
    return fieldset(owned) if owned else None


def unclaimed(live: Tree, api_version: str) -> Managed:
    """The entry that owns everything of an object without entries, when somebody applies to it for the first time."""
    tree = fieldsets.whole(live)
    return (entry_of(Writer(_UNCLAIMED, "Update", api_version), fieldset(tree)),) if tree else ()


def without(entry: Entry, lost: Tree) -> Entry | None:
    """An entry without some fields; None when nothing is left of it."""
    left = fieldsets.minus(entry.fields.tree, lost)
    if left is entry.fields.tree:
        return entry
    if not left:
        return None
    return Entry(entry.manager, entry.operation, entry.api_version, entry.subresource, entry.time, fieldset(left))


def entry_of(writer: Writer, fields: FieldSet) -> Entry:
    time = "" if writer.subresource in _UNTIMED else clock.stamp()
    return Entry(writer.manager, writer.operation, writer.api_version, writer.subresource, time, fields)


def arranged(entries: Iterable[Entry]) -> Managed:
    """In the order of a real server: appliers first, then by time; the oldest of too many updaters become one."""
    ordered = sorted(entries, key=lambda entry: (entry.operation, entry.time, entry.manager, entry.subresource))
    updaters = [entry for entry in ordered if entry.operation == "Update" and not entry.subresource]
    if len(updaters) <= _MAX_UPDATERS:
        return tuple(ordered)
    old = updaters[: len(updaters) - _MAX_UPDATERS + 1]
    tree: Tree = {}
    for entry in old:
        tree = fieldsets.union(tree, entry.fields.tree)
    merged = Entry(_MERGED, "Update", old[-1].api_version, "", old[-1].time, fieldset(tree))
    return arranged([merged, *(entry for entry in ordered if entry not in old)])


def given(obj: Tree, stored: Managed) -> Managed:
    """The entries that an update starts from: those it brings along, else the stored ones. Raises ApiError 400."""
    brought = obj["metadata"].get("managedFields")
    if brought is None or orjson.dumps(brought) == orjson.dumps(written(stored)):
        return stored
    try:
        return read(brought)
    except ValueError as error:
        raise bad_request(str(error)) from error


def written(managed: Managed) -> list[dict[str, Any]]:
    """metadata.managedFields, for encoding."""
    return [entry.written() for entry in managed]


def read(given: Any) -> Managed:
    """Entries that a client wrote. Raises ValueError for what is none; a list that holds nothing resets them."""
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise ValueError("metadata.managedFields must be a list of mappings")
    return tuple(_read_entry(item) for item in given if item)


def _read_entry(item: dict[str, Any]) -> Entry:
    texts = [item.get(key, "") for key in ("manager", "operation", "apiVersion", "subresource", "time")]
    if not all(isinstance(text, str) for text in texts) or texts[1] not in ("Apply", "Update"):
        raise ValueError("an entry of metadata.managedFields names an unknown operation: expected Apply or Update")
    manager, operation, api_version, subresource, time = texts
    fields = fieldset(fieldsets.parse(item.get("fieldsV1") or {}))
    return Entry(manager, operation, api_version, subresource, time, fields)
