"""The scale subresource of workloads: a small view of one number. Reads and builds objects; commits nothing."""

from __future__ import annotations

from typing import Any

from chaoskit.sandbox.errors import bad_request
from chaoskit.sandbox.store import Obj


def to_scale(obj: Obj) -> Obj:
    """autoscaling/v1 Scale of a workload."""
    metadata = {
        key: obj["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    status: dict[str, Any] = {"replicas": obj.get("status", {}).get("replicas", 0)}
    if selector := selector_text(obj["spec"].get("selector") or {}):
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": obj["spec"]["replicas"]},
        "status": status,
    }


def wanted_replicas(scale: Obj) -> int:
    """The number a Scale asks for; left out means none. Raises ApiError 400 when it is not a number."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request('Scale in version "v1" cannot be handled: spec.replicas must be a number')
    return replicas


def selector_text(selector: Obj) -> str:
    """A LabelSelector as a query string."""
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    terms += [_expression(term) for term in selector.get("matchExpressions") or ()]
    return ",".join(terms)


def _expression(term: Obj) -> str:
    key, operator = term["key"], term["operator"]
    if operator in ("In", "NotIn"):
        return f"{key} {operator.lower()} ({','.join(term.get('values') or ())})"
    return key if operator == "Exists" else f"!{key}"
