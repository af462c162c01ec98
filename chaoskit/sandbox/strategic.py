"""Strategic merge patch: lists of the everyday kinds are merged by key instead of replaced. Pure; validates nothing.

Source: apimachinery pkg/util/strategicpatch and the patchMergeKey tags of k8s.io/api, restated. The table below holds
what the served kinds can meet; a list that is not in it is atomic and replaced (taints, for one: recorded).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from chaoskit.sandbox.errors import bad_request

Obj = dict[str, Any]

_MERGE_KEYS: Final[dict[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "conditions": "type",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "hostIPs": "ip",
    "addresses": "type",
    "secrets": "name",
}
_PORT_KEYS: Final = ("containerPort", "port")
_PRIMITIVE_MERGE: Final = frozenset({"finalizers"})
_ORDER: Final = "$setElementOrder/"
_DROP: Final = "$deleteFromPrimitiveList/"


def merge_strategically(target: Obj, patch: Obj) -> Obj:
    """Merge a patch into a private copy, in place, and return it."""
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    _retain(target, patch.get("$retainKeys"))
    _drop_primitives(target, patch)
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_member(target, key, value)
    for key, order in patch.items():
        if key.startswith(_ORDER):
            _reorder(target, key.removeprefix(_ORDER), order)
    return target


def _merge_member(target: Obj, key: str, value: Any) -> None:
    if value is None:
        target.pop(key, None)
    elif isinstance(value, dict):
        current = target.get(key)
        target[key] = merge_strategically(current if isinstance(current, dict) else {}, value)
    elif isinstance(value, list):
        target[key] = _merge_list(key, target.get(key) or [], value)
    else:
        target[key] = value


def _merge_list(key: str, current: list[Any], patch: list[Any]) -> list[Any]:
    if key in _PRIMITIVE_MERGE:
        return current + [item for item in patch if item not in current]
    merge_key = _merge_key(key, patch)
    if merge_key is None:
        return patch
    if not all(isinstance(item, dict) for item in patch):
        raise bad_request(f"unable to merge {key}: expected a list of mappings")
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if item.get("$patch") != "replace"]
    return _merge_keyed(merge_key, current, patch)


def _merge_key(key: str, patch: list[Any]) -> str | None:
    """The key by which elements of this list are told apart; None for an atomic list."""
    if key != "ports":
        return _MERGE_KEYS.get(key)
    first: Any = next((item for item in patch if isinstance(item, dict)), {})
    return next((name for name in _PORT_KEYS if name in first), None)


def _merge_keyed(merge_key: str, current: list[Any], patch: list[Any]) -> list[Any]:
    merged = list(current)
    for item in patch:
        same = _holds(merge_key, item.get(merge_key))
        found = next((index for index, existing in enumerate(merged) if same(existing)), None)
        if item.get("$patch") == "delete":
            merged = [existing for existing in merged if not same(existing)]
        elif found is None:
            merged.append(merge_strategically({}, item))
        else:
            merged[found] = merge_strategically(dict(merged[found]), item)
    return merged


def _holds(key: str, value: Any) -> Callable[[Any], bool]:
    return lambda item: isinstance(item, dict) and item.get(key) == value


def _retain(target: Obj, keys: list[str] | None) -> None:
    if keys is None:
        return
    for key in [key for key in target if key not in keys]:
        del target[key]


def _drop_primitives(target: Obj, patch: Obj) -> None:
    for key, values in patch.items():
        if key.startswith(_DROP):
            name = key.removeprefix(_DROP)
            target[name] = [item for item in target.get(name) or [] if item not in values]


def _reorder(target: Obj, key: str, order: list[Any]) -> None:
    """Put the named elements in the given order; others keep their place after the one they followed."""
    current = target.get(key)
    if not isinstance(current, list) or not order:
        return
    merge_key = _merge_key(key, order) if isinstance(order[0], dict) else None
    wanted = [item.get(merge_key) if merge_key else item for item in order]
    rank = {value: index for index, value in enumerate(wanted)}
    places: list[tuple[int, int]] = []
    last = -1
    for index, item in enumerate(current):
        value = item.get(merge_key) if merge_key and isinstance(item, dict) else item
        last = rank.get(value, last)
        places.append((last, index))
    target[key] = [current[index] for _, index in sorted(places)]
