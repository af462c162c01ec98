"""Label selectors: matchLabels with matchExpressions, and the plain map of a Service. Decides; never looks up.

Source: kubernetes.io, Labels and Selectors; upstream apimachinery labels.Requirement.
"""

from __future__ import annotations

from collections.abc import Mapping

from chaoskit.model.resource import Obj


def labels_of(obj: Obj) -> Mapping[str, str]:
    """The labels of an object; empty when it has none."""
    return obj["metadata"].get("labels") or {}


def matches(selector: Obj | None, labels: Mapping[str, str]) -> bool:
    """A LabelSelector. None selects nothing, an empty one everything. Raises ValueError for an operator Kubernetes does not have."""
    if selector is None:
        return False
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_meets(wanted, labels) for wanted in selector.get("matchExpressions") or ())


def _meets(wanted: Obj, labels: Mapping[str, str]) -> bool:
    key, values = wanted["key"], wanted.get("values") or ()
    match wanted["operator"]:
        case "In":
            return labels.get(key) in values if key in labels else False
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise ValueError(f"{other!r} is not an operator of a label selector")


def service_selects(service: Obj, labels: Mapping[str, str]) -> bool:
    """The selector of a Service. An absent or empty one selects nothing: its endpoints are then managed by somebody else."""
    selector = (service.get("spec") or {}).get("selector") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())
