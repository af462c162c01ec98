"""From a Patch and the live object to the JSON Patch that is sent. Pure: everything it concludes from the live object is tested again in the patch.

Recorded on Kubernetes 1.36: `test` null passes on a missing key of an existing map and fails under a missing map; `add` and `remove`
under a missing map fail; a failed test is 422 and does not say which one; taints have no merge key, so lists are tested as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from chaoskit.cluster.mark import UNDO_ANNOTATION, UndoNote, split_mark, undo_note, undo_text
from chaoskit.model.operation import ABSENT, Absent, Field, Item, Patch, operation_to_json
from chaoskit.model.resource import Json, Obj

JsonPatch: TypeAlias = list[dict[str, Json]]

_NOTE = "/metadata/annotations/" + UNDO_ANNOTATION.replace("~", "~0").replace("/", "~1")


def value_at(obj: Obj, pointer: str) -> Json | Absent:
    """The value at a JSON pointer, or ABSENT. Lists are not entered: their indexes name nothing lasting."""
    value: Json = obj
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(value, Mapping) or key not in value:
            return ABSENT
        value = value[key]
    return value


def same(live: Json | Absent, wanted: Json | Absent) -> bool:
    """Whether a live value is the wanted one. The server leaves out what is empty (omitempty): false on a node, 0 replicas of a Scale."""
    if live is ABSENT:
        return wanted is ABSENT or not wanted
    if wanted is ABSENT:
        return live is None or live is False
    return bool(live == wanted)


def mismatch(op: Patch, live: Obj, mark: str, undoing: bool) -> str:
    """Why the patch does not apply to the live object, in words; "" when it does."""
    if op.ref.uid and live["metadata"].get("uid") != op.ref.uid:
        return f"{op.ref}: the uid {op.ref.uid} is not that of the live object ({live['metadata'].get('uid')}): it was deleted and recreated"
    note = undo_note(live)
    if not undoing and note.foreign_to(mark):
        return f"{op.ref} carries what run {note.run} has to undo; put that back first (chaoskit recover)"
    if undoing and not op.subresource and not note.holds(mark):
        return f"{op.ref} does not carry the mark {mark}: this change is not, or no longer, ours"
    return next((why for change in op.changes if (why := _unmet(change, live, op))), "")


def _unmet(change: Field | Item, live: Obj, op: Patch) -> str:
    value = value_at(live, change.path)
    if isinstance(change, Field):
        met = same(value, change.before)
        wanted = "absent" if change.before is ABSENT else repr(change.before)
        return (
            "" if met else f"{change.path} of {op.ref} is {'absent' if value is ABSENT else repr(value)}, not {wanted}"
        )
    there = any(has(item, change.value) for item in _items(value))
    return (
        ""
        if there != change.adding
        else f"{change.path} of {op.ref} {'has' if there else 'lacks'} {change.value} already"
    )


def has(item: Json, value: Json) -> bool:
    """Whether a list element is the named one; the server may have added keys to it (timeAdded)."""
    if isinstance(item, Mapping) and isinstance(value, Mapping):
        return all(item.get(key) == wanted for key, wanted in value.items())
    return bool(item == value)


def _items(value: Json | Absent) -> list[Json]:
    return value if isinstance(value, list) else []


def is_applied(op: Patch, live: Obj, mark: str) -> bool:
    """Whether the patch, or the undo that it is, took effect.

    The values decide, and with them the note: an undo takes away the note that an injection leaves, in the same patch. A value of the
    right kind without any note counts as applied; if it is a stranger's, the undo will find no note and leave it alone.
    """
    if op.ref.uid and live["metadata"]["uid"] != op.ref.uid:
        return False
    if not all(_has_after(change, live) for change in op.changes):
        return False
    note = undo_note(live)
    if op.subresource or not note.holds(mark):
        return op.subresource != "" or not note.foreign_to(mark)
    return bool(note.steps[split_mark(mark)[1]] == operation_to_json(op)["changes"])


def _has_after(change: Field | Item, live: Obj) -> bool:
    value = value_at(live, change.path)
    if isinstance(change, Field):
        return same(value, change.after)
    return any(has(item, change.value) for item in _items(value)) == change.adding


def json_patch(op: Patch, live: Obj, mark: str, undoing: bool) -> JsonPatch:
    """The patch for this live object, which `mismatch` found fit: uid and values tested, changed, and our note on it kept in step."""
    tests: JsonPatch = [_op("test", "/metadata/uid", op.ref.uid)] if op.ref.uid else []
    changes = [part for change in op.changes for part in _changed(change, live)]
    noted = [] if op.subresource else list(_noted(op, live, mark, undoing))
    return tests + changes + noted


def forgetting(op: Patch, live: Obj, mark: str) -> JsonPatch:
    """A patch that only takes our note off an object whose value is somebody else's by now; empty when there is none."""
    if op.subresource or not undo_note(live).holds(mark):
        return []
    return [_op("test", "/metadata/uid", live["metadata"]["uid"]), *_noted(op, live, mark, undoing=True)]


def disowning(live: Obj, manager: str) -> JsonPatch:
    """A patch that takes a manager's entries out of the object's managedFields; empty when it has none, or has something to undo here still."""
    meta = live["metadata"]
    owners = meta.get("managedFields") or []
    ours = [number for number, entry in enumerate(owners) if entry.get("manager") == manager]
    if not ours or undo_note(live).steps or not meta.get("uid"):
        return []
    tests: JsonPatch = [_op("test", "/metadata/uid", meta["uid"])]
    if len(ours) == len(owners):
        # An empty list would mean: leave them as they are.
        return [*tests, _op("replace", "/metadata/managedFields", [{}])]
    for number in reversed(ours):
        tests += [
            _op("test", f"/metadata/managedFields/{number}/manager", manager),
            {"op": "remove", "path": f"/metadata/managedFields/{number}"},
        ]
    return tests


def _changed(change: Field | Item, live: Obj) -> Iterator[dict[str, Json]]:
    value = value_at(live, change.path)
    yield from _missing_parent(change.path, live)
    yield _op("test", change.path, None if value is ABSENT else value)
    if isinstance(change, Item):
        yield _item_changed(change, value)
    elif change.after is not ABSENT:
        yield _op("add" if value is ABSENT else "replace", change.path, change.after)
    elif value is not ABSENT:
        yield {"op": "remove", "path": change.path}


def _missing_parent(path: str, live: Obj) -> Iterator[dict[str, Json]]:
    """A map that is not there yet is added, if it still is not: nothing can be tested or added below it else."""
    parent = path.rpartition("/")[0]
    if parent and value_at(live, parent) is ABSENT:
        yield from _missing_parent(parent, live)
        yield _op("test", parent, None)
        yield _op("add", parent, {})


def _item_changed(change: Item, value: Json | Absent) -> dict[str, Json]:
    if value is ABSENT:
        return _op("add", change.path, [change.value])
    if change.adding:
        return _op("add", f"{change.path}/-", change.value)
    index = next(i for i, item in enumerate(_items(value)) if has(item, change.value))
    return {"op": "remove", "path": f"{change.path}/{index}"}


def _noted(op: Patch, live: Obj, mark: str, undoing: bool) -> Iterator[dict[str, Json]]:
    note, before = undo_note(live), undo_text(live)
    after: UndoNote = note.without(mark) if undoing else note.adding(mark, op)
    yield from _missing_parent(_NOTE, live)
    yield _op("test", _NOTE, before)
    if after.steps:
        yield _op("add" if before is None else "replace", _NOTE, after.text())
    elif before is not None:
        yield {"op": "remove", "path": _NOTE}


def _op(op: str, path: str, value: Json) -> dict[str, Json]:
    return {"op": op, "path": path, "value": value}
