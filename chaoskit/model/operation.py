"""What may be done to a cluster: a closed set of data, its undo and the rights it takes. Describes; never sends.

Tagged, versioned JSON that every later version reads: {"op": "patch", ...}.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from chaoskit.model.resource import Json, Obj, Ref, resource_of


class Absent(enum.Enum):
    """No value at all, told apart from null."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Right:
    """One RBAC verb on one resource; `resource` may carry a subresource ("pods/eviction")."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A field named by JSON pointer, with the value it must have before and gets after."""

    path: str
    before: Json | Absent
    after: Json | Absent


@dataclass(frozen=True, slots=True)
class Item:
    """A list element named by its value (a taint), never by its index."""

    path: str
    value: Json
    adding: bool


@dataclass(frozen=True, slots=True)
class Patch:
    """Change fields of one object, if each still has its `before`."""

    ref: Ref
    changes: tuple[Field | Item, ...]
    subresource: Literal["", "scale"] = ""


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object of a deterministic name; it will carry our mark, by which its undo finds it."""

    ref: Ref
    manifest: Obj


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one object. `ref.uid` is the precondition; without a uid only what carries our mark is deleted. `grace_s` None: the object's own."""

    ref: Ref
    grace_s: int | None = None


@dataclass(frozen=True, slots=True)
class Evict:
    """Ask the Eviction API to remove a pod; disruption budgets may refuse."""

    ref: Ref
    grace_s: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to a pod through the API server's proxy; the pod's uid is checked before."""

    ref: Ref
    port: int
    method: str
    path: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Exec:
    """Run an argument list in a container; no shell unless the list names one. The pod's uid is checked before."""

    ref: Ref
    container: str
    argv: tuple[str, ...]


Operation: TypeAlias = Patch | Create | Delete | Evict | Request | Exec


def inverse(op: Operation) -> Operation | None:
    """The undo that follows from the operation alone; None where nothing undoes it or only the fault knows what does."""
    match op:
        case Patch(ref, changes, subresource):
            return Patch(ref, tuple(_swapped(change) for change in changes), subresource)
        case Create(ref):
            return Delete(Ref(ref.kind, ref.name, ref.namespace))
        case _:
            return None


def _swapped(change: Field | Item) -> Field | Item:
    if isinstance(change, Item):
        return Item(change.path, change.value, not change.adding)
    return Field(change.path, change.after, change.before)


_PROXY_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def rights(op: Operation) -> frozenset[Right]:
    """The RBAC verbs that sending the operation takes, reading it back included.

    Source: kubernetes.io, Authorization overview (verbs); a websocket exec needs get and create since 1.35.
    """
    return frozenset(Right(verb, group, name, op.ref.namespace, op.ref.name) for verb, group, name in _verbs(op))


def _verbs(op: Operation) -> set[tuple[str, str, str]]:
    at = resource_of(op.ref.kind)
    read = ("get", at.group, at.plural)
    match op:
        case Patch(subresource=sub):
            return {read, ("patch", at.group, f"{at.plural}/{sub}" if sub else at.plural)}
        case Create():
            return {read, ("create", at.group, at.plural)}
        case Delete():
            return {read, ("delete", at.group, at.plural)}
        case Evict():
            return {read, ("create", "", "pods/eviction")}
        case Request(method=method):
            return {read, (_PROXY_VERBS[method.upper()], "", "pods/proxy")}
        case Exec():
            return {read, ("get", "", "pods/exec"), ("create", "", "pods/exec")}


def operation_to_json(op: Operation) -> dict[str, Json]:
    """An operation as tagged plain data."""
    tagged: dict[str, Json] = {"op": _TAGS[type(op)], "ref": ref_to_json(op.ref)}
    match op:
        case Patch(changes=changes, subresource=sub):
            return tagged | {"changes": [_change_to_json(change) for change in changes], "subresource": sub}
        case Create(manifest=manifest):
            return tagged | {"manifest": dict(manifest)}
        case Delete(grace_s=grace) | Evict(grace_s=grace):
            return tagged | {"grace": grace}
        case Request():
            return tagged | {"port": op.port, "method": op.method, "path": op.path, "body": op.body}
        case Exec():
            return tagged | {"container": op.container, "argv": list(op.argv)}


def operation_from_json(data: Mapping[str, Json]) -> Operation:
    """The reverse of `operation_to_json`. Raises ValueError for an operation this version does not know."""
    ref = ref_from_json(data["ref"])
    match data["op"]:
        case "patch":
            return Patch(
                ref, tuple(_change_from_json(change) for change in data["changes"]), data.get("subresource", "")
            )
        case "create":
            return Create(ref, data["manifest"])
        case "delete":
            return Delete(ref, data.get("grace"))
        case "evict":
            return Evict(ref, data.get("grace"))
        case "request":
            return Request(ref, data["port"], data["method"], data["path"], data.get("body", ""))
        case "exec":
            return Exec(ref, data["container"], tuple(data["argv"]))
        case other:
            raise ValueError(f"operation {other!r} is not known to this version of chaoskit")


_TAGS: Mapping[type, str] = {
    Patch: "patch",
    Create: "create",
    Delete: "delete",
    Evict: "evict",
    Request: "request",
    Exec: "exec",
}


def ref_to_json(ref: Ref) -> dict[str, str]:
    return {"kind": ref.kind, "name": ref.name, "namespace": ref.namespace, "uid": ref.uid}


def ref_from_json(data: Mapping[str, str]) -> Ref:
    return Ref(data["kind"], data["name"], data.get("namespace", ""), data.get("uid", ""))


def _change_to_json(change: Field | Item) -> dict[str, Json]:
    if isinstance(change, Item):
        return {"item": change.path, "value": change.value, "adding": change.adding}
    data: dict[str, Json] = {"field": change.path}
    if change.before is not ABSENT:
        data["before"] = change.before
    if change.after is not ABSENT:
        data["after"] = change.after
    return data


def _change_from_json(data: Mapping[str, Json]) -> Field | Item:
    if "item" in data:
        return Item(data["item"], data["value"], data["adding"])
    return Field(data["field"], data.get("before", ABSENT), data.get("after", ABSENT))


def describe(op: Operation) -> str:
    """One operation in words, for plans and reports."""
    match op:
        case Patch(ref, changes, sub):
            what = ", ".join(_describe_change(change) for change in changes)
            return f"patch {ref}{'/' + sub if sub else ''}: {what}"
        case Create(ref):
            return f"create {ref}"
        case Delete(ref, grace):
            how = "its own grace period" if grace is None else f"grace {grace} s"
            return f"delete {ref} ({how})"
        case Evict(ref):
            return f"evict {ref}"
        case Request(ref, port, method, path):
            return f"{method} {path} to port {port} of {ref}"
        case Exec(ref, container, argv):
            return f"run {' '.join(argv)} in container {container} of {ref}"


def precondition(op: Operation) -> str:
    """What must hold for the operation to take effect, in words."""
    match op:
        case Patch(changes=changes):
            return f"uid {op.ref.uid}; " + ", ".join(_describe_before(change) for change in changes)
        case Create():
            return "no object of that name"
        case _:
            return f"uid {op.ref.uid}" if op.ref.uid else "carries the mark of this run"


def _describe_change(change: Field | Item) -> str:
    if isinstance(change, Item):
        return f"{'add to' if change.adding else 'take from'} {change.path}: {change.value}"
    return f"{change.path} {_shown(change.before)} -> {_shown(change.after)}"


def _describe_before(change: Field | Item) -> str:
    if isinstance(change, Item):
        return f"{change.path} {'lacks' if change.adding else 'has'} {change.value}"
    return f"{change.path} is {_shown(change.before)}"


def _shown(value: Json | Absent) -> str:
    return "absent" if value is ABSENT else str(value)
