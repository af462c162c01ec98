"""Which objects a Service's selector or a node selector picks. Pure; label selectors proper are in sandbox.selectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Labels = Mapping[str, str]


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return obj.get("metadata", {}).get("labels") or {}


def matches_map(wanted: Labels, labels: Labels) -> bool:
    """A Service's selector. An empty map matches nothing here: a Service without selector has no pods of its own."""
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def matches_requirement(term: Mapping[str, Any], labels: Labels) -> bool:
    """One requirement of a node selector: the operators of labels, and Gt and Lt over integers."""
    value, values = labels.get(term["key"]), term.get("values") or ()
    match term["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(term["operator"], value, values)
    return False


def _compares(operator: str, value: str | None, values: Sequence[str]) -> bool:
    try:
        left, right = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return left > right if operator == "Gt" else left < right
