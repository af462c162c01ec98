"""One form for one meaning: what a typed API server would drop when it decodes and encodes an object.

Go's `omitempty` makes null, an empty list and a false flag the same as absent. Without this, templates that mean the
same would differ, and an unchanged apply would look like a change. Works on private copies; judges nothing.
"""

from __future__ import annotations

from typing import Any, Final

from chaoskit.sandbox.kinds import Kind

Obj = dict[str, Any]

_STRING_MAPS: Final = frozenset(
    {"labels", "annotations", "matchLabels", "nodeSelector", "data", "stringData", "binaryData"}
)
_OMITTED_WHEN_EMPTY: Final = _STRING_MAPS | {"limits", "requests", "capacity", "allocatable"}
_OMITTED_WHEN_FALSE: Final = frozenset(
    {
        "unschedulable",
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "paused",
        "stdin",
        "stdinOnce",
        "tty",
        "publishNotReadyAddresses",
    }
)
_PLAIN: Final = frozenset({str, int, float})
"""What is never absent; most members are of these, and every write passes through here."""
_KEPT_WHEN_EMPTY: Final = frozenset({"endpoints"})
METADATA_ORDER: Final = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
)


def normalise(obj: Obj, kind: Kind) -> Obj:
    """A copy in the form the server stores: keys in the usual order, nothing that means absent."""
    metadata = obj.get("metadata")
    ordered: Obj = {"kind": kind.kind, "apiVersion": kind.api_version}
    ordered["metadata"] = _metadata(metadata) if isinstance(metadata, dict) else {}
    for key, value in obj.items():
        if key not in ordered and (kept := _value(key, value)) is not None:
            ordered[key] = kept
    spec = ordered.get("spec")
    if kind.plural == "services" and isinstance(spec, dict) and spec.get("selector") == {}:
        del spec["selector"]
    return ordered


def _metadata(metadata: Obj) -> Obj:
    ordered = {}
    for key in METADATA_ORDER:
        if (kept := _value(key, metadata.get(key))) is not None and kept != "":
            ordered[key] = kept
    return ordered


def _value(key: str, value: Any) -> Any:
    """The stored form of one member; None when it means absent."""
    if value is None or (value is False and key in _OMITTED_WHEN_FALSE):
        return None
    if isinstance(value, dict):
        return _mapping(key, value)
    if isinstance(value, list):
        return _list(key, value)
    return value


def _mapping(key: str, value: Obj) -> Obj | None:
    if key in _STRING_MAPS:
        return {k: "" if v is None else v for k, v in value.items()} or None
    kept = {
        name: stored
        for name, inner in value.items()
        if (stored := inner if type(inner) in _PLAIN else _value(name, inner)) is not None
    }
    return None if not kept and key in _OMITTED_WHEN_EMPTY else kept


def _list(key: str, value: list[Any]) -> list[Any] | None:
    if not value:
        return value if key in _KEPT_WHEN_EMPTY else None
    return [item if type(item) in _PLAIN else _value("", item) for item in value if item is not None]
