"""Sets of fields of an object: which there are, which changed, and the operations on them. Pure; knows nobody who owns them.

A set is a tree whose keys are path elements as FieldsV1 writes them: `f:NAME` a member, `k:{...}` an element of a list by its
keys, `v:...` one by its value; `.` says that the path itself is in the set. Source: structured-merge-diff, fieldpath and typed,
restated; the shapes below are the list and map types of k8s.io/api's markers, and what was recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

Tree = dict[str, Any]
HERE: Final = "."
_LEAF: Final[Tree] = {HERE: None}

LIST_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "addresses": ("type",),
    "secrets": ("name",),
}
_PORT_KEYS: Final = (("containerPort", "protocol"), ("port", "protocol"))
_SETS: Final = frozenset({"finalizers", "podCIDRs"})
_ATOMIC_ITEMS: Final = frozenset({"ownerReferences", "imagePullSecrets"})
_ATOMIC: Final = frozenset(
    {
        "selector",
        "nodeSelector",
        "labelSelector",
        "namespaceSelector",
        "fieldRef",
        "configMapKeyRef",
        "secretKeyRef",
        "resourceFieldRef",
        "roleRef",
        "targetRef",
        "involvedObject",
        "requiredDuringSchedulingIgnoredDuringExecution",
    }
)
_ALWAYS_THERE: Final = frozenset({"metadata", "spec", "status", "template", "strategy", "updateStrategy", "containers"})
"""Members that a typed object has even when nothing was said of them: they never come into being."""
_OWNABLE_METADATA: Final = frozenset({"labels", "annotations", "ownerReferences", "finalizers", "generateName"})
_NOT_FIELDS: Final = frozenset({"kind", "apiVersion", "metadata"})


def whole(obj: Tree, *, dots: bool = True) -> Tree:
    """Every field of an object that can have an owner. Without `dots` maps and lists are not members themselves."""
    found = {f"f:{key}": _whole(_top(key), value, dots) for key, value in _fields_of(obj).items()}
    metadata = {f"f:{key}": _whole(key, value, dots) for key, value in _ownable(obj).items()}
    return found | {"f:metadata": metadata} if metadata else found


def changes(old: Tree, new: Tree) -> tuple[Tree, Tree]:
    """The fields that are new or different, and those that are gone."""
    touched: Tree = {}
    gone: Tree = {}
    _compare_members(_fields_of(old), _fields_of(new), touched, gone, top=True)
    below, lost = _compare("metadata", _ownable(old), _ownable(new))
    return _with(touched, "f:metadata", below), _with(gone, "f:metadata", lost)


def _fields_of(obj: Tree) -> Tree:
    return {key: value for key, value in obj.items() if key not in _NOT_FIELDS}


def _top(key: str) -> str:
    """The name by which the shape of a top member is known: the ports of an EndpointSlice are one value."""
    return "" if key == "ports" else key


def _ownable(obj: Tree) -> Tree:
    return {key: value for key, value in obj["metadata"].items() if key in _OWNABLE_METADATA}


def _whole(name: str, value: Any, dots: bool) -> Tree:
    if not value or name in _ATOMIC or not isinstance(value, dict | list):
        return _LEAF
    here: Tree = {HERE: None} if dots and name not in _ALWAYS_THERE else {}
    if isinstance(value, dict):
        return here | {f"f:{key}": _whole(key, inner, dots) for key, inner in value.items()}
    elements = _elements(name, value)
    if elements is None:
        return _LEAF
    return here | {key: _whole_item(name, item, dots) for key, item in elements.items()}


def _whole_item(name: str, item: Any, dots: bool) -> Tree:
    if name in _ATOMIC_ITEMS or not isinstance(item, dict):
        return _LEAF
    return {HERE: None} | {f"f:{key}": _whole(key, inner, dots) for key, inner in item.items()}


def _elements(name: str, value: list[Any]) -> dict[str, Any] | None:
    """The items of a list by path element; None for a list that is one value."""
    if name in _SETS:
        return {f"v:{orjson.dumps(item).decode()}": item for item in value}
    keys = keys_of(name, value)
    if keys is None or not all(isinstance(item, dict) for item in value):
        return None
    return {element_of(keys, item): item for item in value}


def keys_of(name: str, value: Iterable[Any]) -> tuple[str, ...] | None:
    """The keys by which the items of a list are told apart; None for a list that is one value."""
    if name != "ports":
        return LIST_KEYS.get(name)
    first: Any = next((item for item in value if isinstance(item, dict)), {})
    return next((keys for keys in _PORT_KEYS if keys[0] in first), None)


def is_atomic(name: str) -> bool:
    """Whether a mapping of this name is one value."""
    return name in _ATOMIC


def is_set(name: str) -> bool:
    """Whether the items of a list of this name are told apart by their value."""
    return name in _SETS


def element_of(keys: tuple[str, ...], item: Tree) -> str:
    named = {key: item.get(key, "TCP" if key == "protocol" else None) for key in keys}
    return f"k:{orjson.dumps(named, option=orjson.OPT_SORT_KEYS).decode()}"


def _compare(name: str, old: Any, new: Any) -> tuple[Tree, Tree]:
    """Below one member that is there before and after."""
    if old == new:
        return {}, {}
    touched: Tree = {}
    gone: Tree = {}
    if isinstance(old, dict) and isinstance(new, dict) and name not in _ATOMIC:
        _compare_members(old, new, touched, gone)
        return touched, gone
    if isinstance(old, list) and isinstance(new, list):
        before, after = _elements(name, old), _elements(name, new)
        if before is not None and after is not None and (before or after):
            _compare_items(name, before, after, touched, gone)
            return touched, gone
    return _LEAF, {}


def _compare_members(old: Tree, new: Tree, touched: Tree, gone: Tree, *, top: bool = False) -> None:
    for key, value in new.items():
        name = _top(key) if top else key
        if key not in old:
            touched[f"f:{key}"] = _whole(name, value, True) or _LEAF
        elif old[key] is not value:
            below, lost = _compare(name, old[key], value)
            _put(touched, f"f:{key}", below)
            _put(gone, f"f:{key}", lost)
    for key, value in old.items():
        if key not in new:
            gone[f"f:{key}"] = _whole(_top(key) if top else key, value, True)


def _compare_items(name: str, old: Tree, new: Tree, touched: Tree, gone: Tree) -> None:
    for key, item in new.items():
        if key not in old:
            touched[key] = _whole_item(name, item, True)
        elif name in _ATOMIC_ITEMS or not isinstance(item, dict):
            if old[key] != item:
                touched[key] = _LEAF
        else:
            below, lost = _compare("", old[key], item)
            _put(touched, key, below)
            _put(gone, key, lost)
    for key, item in old.items():
        if key not in new:
            gone[key] = _whole_item(name, item, True)


def _put(tree: Tree, key: str, below: Tree) -> None:
    if below:
        tree[key] = below


def _with(tree: Tree, key: str, below: Tree) -> Tree:
    return tree | {key: below} if below else tree


# -- operations; none changes its operands


def union(one: Tree, other: Tree) -> Tree:
    joined = dict(one)
    for key, below in other.items():
        mine = joined.get(key)
        joined[key] = below if not mine or not below else union(mine, below)
    return joined


def minus(one: Tree, other: Tree) -> Tree:
    """What is in one set and not in the other; the first set itself when they do not meet."""
    left: Tree = {}
    met = False
    for key, below in one.items():
        if key not in other:
            left[key] = below
            continue
        met = True
        if below is not None and (rest := minus(below, other[key])):
            left[key] = rest
    return left if met else one


def meet(one: Tree, other: Tree) -> Tree:
    shared: Tree = {}
    for key, below in one.items():
        if key in other:
            if below is None:
                shared[key] = None
            elif common := meet(below, other[key]):
                shared[key] = common
    return shared


def covers(one: Tree, other: Tree) -> bool:
    """Whether everything of the other set is in this one."""
    return all(key in one and (below is None or covers(one[key], below)) for key, below in other.items())


def paths(tree: Tree, above: str = "") -> Iterator[str]:
    """The members as messages write them: `.spec.containers[name="app"].image`."""
    for key, below in sorted(tree.items()):
        if key == HERE:
            yield above
        else:
            yield from paths(below, above + _spoken(key))


def _spoken(element: str) -> str:
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "v":
        return f"[={rest}]"
    return "[" + ",".join(f"{key}={orjson.dumps(value).decode()}" for key, value in orjson.loads(rest).items()) + "]"


# -- the wire


def render(tree: Tree) -> Tree:
    """FieldsV1: there a member without members of its own is an empty map."""
    return {
        key: {} if below is None or below is _LEAF or (len(below) == 1 and HERE in below) else render(below)
        for key, below in tree.items()
    }


def parse(fields: Any) -> Tree:
    """The set that a FieldsV1 spells. Raises ValueError when it spells none."""
    if not isinstance(fields, dict):
        raise ValueError("expected a mapping of path elements")
    return {key: None if key == HERE else (parse(below) or _LEAF) for key, below in fields.items()}
