"""Namespaces, nodes and leases: defaults and validation. Works on private copies.

Source: k8s.io/kubernetes pkg/registry/core/{namespace,node}/strategy.go, pkg/registry/coordination/lease, restated.
"""

from __future__ import annotations

from typing import Any, Final

from chaoskit.sandbox.errors import Cause, bad_value, duplicate, forbidden, required, unsupported
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.rules.rule import Admission, Rule, keep_status, status_and_marks
from chaoskit.sandbox.store import Obj

SYSTEM_NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_EFFECTS: Final = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_LASTING: Final = frozenset({"default", "kube-system", "kube-public"})
_NAME_LABEL: Final = "kubernetes.io/metadata.name"


def _prepare_namespace(obj: Obj, admission: Admission) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}
    if name := obj["metadata"].get("name"):
        obj["metadata"].setdefault("labels", {})[_NAME_LABEL] = name


def _update_namespace(new: Obj, old: Obj, admission: Admission) -> None:
    new["spec"] = old["spec"]
    new["metadata"].setdefault("labels", {})[_NAME_LABEL] = old["metadata"]["name"]
    keep_status(new, old)


def _protect(obj: Obj) -> None:
    name = obj["metadata"]["name"]
    if name in _LASTING:
        raise forbidden(KINDS["namespaces"], name, "this namespace may not be deleted")


def _prepare_node(obj: Obj, admission: Admission) -> None:
    obj.setdefault("spec", {})
    obj.setdefault("status", {})


def _update_node(new: Obj, old: Obj, admission: Admission) -> None:
    new.setdefault("spec", {})
    keep_status(new, old)


def _validate_node(obj: Obj) -> list[Cause]:
    spec = obj["spec"]
    if not isinstance(spec, dict):
        return [bad_value("spec", spec, "must be a mapping")]
    causes: list[Cause] = []
    seen: set[tuple[Any, Any]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        at = f"metadata.taints[{index}]"
        if not taint.get("key"):
            causes.append(required(f"{at}.key"))
        if taint.get("effect") not in _EFFECTS:
            causes.append(unsupported(f"{at}.effect", taint.get("effect", ""), _EFFECTS))
        pair = (taint.get("key"), taint.get("effect"))
        if pair in seen:
            cause = duplicate(at, taint)
            message = f"{cause.message}: taints must be unique by key and effect pair"
            causes.append(Cause(cause.field, cause.reason, message))
        seen.add(pair)
    return causes


def _validate_lease(obj: Obj) -> list[Cause]:
    duration = (obj.get("spec") or {}).get("leaseDurationSeconds")
    if duration is not None and (not isinstance(duration, int) or duration <= 0):
        return [bad_value("spec.leaseDurationSeconds", duration, "must be greater than 0")]
    return []


NAMESPACE: Final = Rule(prepare_create=_prepare_namespace, prepare_update=_update_namespace, check_delete=_protect)
NODE: Final = Rule(
    prepare_create=_prepare_node,
    prepare_update=_update_node,
    validate=_validate_node,
    with_status=status_and_marks,
)
LEASE: Final = Rule(validate=_validate_lease)
