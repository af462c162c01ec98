"""Label and field selectors, parsed once into predicates. Text and objects in, booleans out; looks nothing up.

Grammar: kubernetes.io, Labels and Selectors; apimachinery pkg/labels/selector.go. Fields per kind: the upstream
registries' field label conversions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from chaoskit.sandbox.errors import bad_request

Obj = Mapping[str, Any]
Matches = Callable[[Obj], bool]
Labels = Mapping[str, str]

_KEY: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET: Final = re.compile(rf"^({_KEY})\s+(in|notin)\s*\(([^)]*)\)$")
_EXISTS: Final = re.compile(rf"^(!?)\s*({_KEY})$")
_COMPARES: Final = re.compile(rf"^({_KEY})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)$")
_ORDER: Final = re.compile(rf"^({_KEY})\s*([<>])\s*(-?\d+)$")
_COMMA_OUTSIDE_PARENTHESES: Final = re.compile(r",(?![^(]*\))")


def label_matcher(text: str) -> Callable[[Labels], bool]:
    """A predicate over labels. Raises ApiError 400 for a selector that does not parse."""
    terms = [_label_term(part.strip()) for part in _COMMA_OUTSIDE_PARENTHESES.split(text)] if text.strip() else []
    return lambda labels: all(term(labels) for term in terms)


def _label_term(text: str) -> Callable[[Labels], bool]:
    if found := _SET.match(text):
        key, operator, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        if operator == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: labels.get(key) not in values
    if found := _COMPARES.match(text):
        key, operator, value = found.groups()
        return (
            (lambda labels: labels.get(key) != value) if operator == "!=" else (lambda labels: labels.get(key) == value)
        )
    if found := _EXISTS.match(text):
        absent, key = bool(found.group(1)), found.group(2)
        return lambda labels: (key in labels) is not absent
    if found := _ORDER.match(text):
        return _order_term(*found.groups())
    raise bad_request(f"unable to parse requirement: found {text!r}, expected a label selector")


def _order_term(key: str, operator: str, bound: str) -> Callable[[Labels], bool]:
    limit = int(bound)

    def holds(labels: Labels) -> bool:
        value = labels.get(key, "")
        if not value.lstrip("-").isdigit():
            return False
        return int(value) > limit if operator == ">" else int(value) < limit

    return holds


def selects(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a metav1.LabelSelector matches. None selects nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_requirement_holds(term, labels) for term in selector.get("matchExpressions") or ())


def _requirement_holds(term: Mapping[str, Any], labels: Labels) -> bool:
    key, operator, values = term["key"], term["operator"], term.get("values") or ()
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) is (operator == "Exists")


def field_matcher(text: str, plural: str) -> Matches:
    """A predicate over objects of a resource. Raises ApiError 400 for a field that the kind does not offer."""
    terms = [_field_term(part.strip(), plural) for part in text.split(",") if part.strip()]
    return lambda obj: all(term(obj) for term in terms)


def _field_term(text: str, plural: str) -> Matches:
    found = re.match(r"^([A-Za-z.]+)\s*(==|=|!=)\s*(.*)$", text)
    if found is None:
        raise bad_request(f"invalid selector: {text!r}; can't understand {text!r}")
    path, operator, value = found.groups()
    if path not in _FIELDS.get(plural, frozenset()) | _EVERYWHERE:
        raise bad_request(f"field label not supported: {path}")
    read = field_reader(path)
    if operator == "!=":
        return lambda obj: read(obj) != value
    return lambda obj: read(obj) == value


def field_reader(path: str) -> Callable[[Obj], str]:
    """The value at a dotted path as selectors compare it; what is absent is empty."""
    steps = path.split(".")

    def read(obj: Obj) -> str:
        value: Any = obj
        for step in steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            return "false" if path == "spec.unschedulable" else ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    return read


def exact_name(fields: str) -> str | None:
    """The name, when a field selector asks for one object by name."""
    for term in fields.split(","):
        path, equals, value = term.partition("=")
        if path.strip() == "metadata.name" and equals:
            return value.lstrip("=").strip()
    return None


_EVERYWHERE: Final = frozenset({"metadata.name", "metadata.namespace"})
_FIELDS: Final[dict[str, frozenset[str]]] = {
    "pods": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    "nodes": frozenset({"spec.unschedulable"}),
    "namespaces": frozenset({"status.phase"}),
    "secrets": frozenset({"type"}),
    "services": frozenset({"spec.clusterIP", "spec.type"}),
    "replicasets": frozenset({"status.replicas"}),
    "jobs": frozenset({"status.successful"}),
    "events": frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        }
    ),
}
