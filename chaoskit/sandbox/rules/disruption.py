"""PodDisruptionBudgets: validation. Works on private copies.

Source: k8s.io/kubernetes pkg/apis/policy/validation/validation.go and pkg/registry/policy/poddisruptionbudget, restated.
"""

from __future__ import annotations

from typing import Final

from chaoskit.sandbox.errors import Cause, bad_value, unsupported
from chaoskit.sandbox.rules.rule import Admission, Rule, keep_status
from chaoskit.sandbox.rules.workload import share_causes
from chaoskit.sandbox.store import Obj

_POLICIES: Final = ("AlwaysAllow", "IfHealthyBudget")
_NUMBERS: Final = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def _create(obj: Obj, admission: Admission) -> None:
    if not isinstance(obj.get("spec"), dict):
        obj["spec"] = {}
    obj["status"] = dict.fromkeys(_NUMBERS, 0)


def _update(new: Obj, old: Obj, admission: Admission) -> None:
    if not isinstance(new.get("spec"), dict):
        new["spec"] = {}
    keep_status(new, old)


def _validate(obj: Obj) -> list[Cause]:
    spec = obj["spec"]
    if "minAvailable" in spec and "maxUnavailable" in spec:
        return [bad_value("spec", spec, "minAvailable and maxUnavailable cannot be both set")]
    causes = [
        cause
        for key in ("minAvailable", "maxUnavailable")
        if key in spec
        for cause in share_causes(spec[key], f"spec.{key}")
    ]
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _POLICIES:
        causes.append(unsupported("spec.unhealthyPodEvictionPolicy", policy, _POLICIES))
    return causes


BUDGET: Final = Rule(prepare_create=_create, prepare_update=_update, validate=_validate)
