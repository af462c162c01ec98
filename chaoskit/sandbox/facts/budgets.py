"""The arithmetic of PodDisruptionBudgets: how many pods are wanted, healthy and to spare. Pure.

Rules: pkg/controller/disruption/disruption.go; kubernetes.io, Specifying a Disruption Budget. Percentages round up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chaoskit.sandbox.facts.clock import parse_time, render_time
from chaoskit.sandbox.facts.conditions import conditions_of, find_condition
from chaoskit.sandbox.facts.pods import is_deleting, is_ready

Obj = dict[str, Any]
DELETION_PATIENCE_S: Final = 120.0
"""How long an evicted pod counts as disrupted while its deletion has not been seen (disruption.go, DeletionTimeout)."""
ALLOWED: Final = "DisruptionAllowed"
SUFFICIENT, INSUFFICIENT, FAILED = "SufficientPods", "InsufficientPods", "SyncFailed"


@dataclass(frozen=True, slots=True)
class Tally:
    """One budget's numbers. `disrupted`: evicted pods whose deletion is still to come, with the moment of their eviction."""

    expected: int
    desired: int
    healthy: int
    disrupted: Mapping[str, str]

    @property
    def allowed(self) -> int:
        return max(0, self.healthy - self.desired) if self.expected > 0 else 0


def asks_for_scale(budget: Mapping[str, Any]) -> bool:
    """Must the controllers be asked how many pods there should be? Not when minAvailable is a number."""
    spec = budget["spec"]
    return "maxUnavailable" in spec or isinstance(spec.get("minAvailable"), str)


def desired_healthy(budget: Mapping[str, Any], expected: int) -> int:
    """The number of healthy pods below which nothing may be evicted; `expected` is the controllers' scale."""
    spec = budget["spec"]
    if "maxUnavailable" in spec:
        return max(0, expected - _scaled(spec["maxUnavailable"], expected))
    return _scaled(spec["minAvailable"], expected) if "minAvailable" in spec else 0


def _scaled(value: int | str, whole: int) -> int:
    return math.ceil(int(value.rstrip("%")) * whole / 100) if isinstance(value, str) else value


def tally(budget: Mapping[str, Any], pods: Iterable[Obj], scale: int, now_s: float) -> Tally:
    """`scale` is what the pods' controllers want, or the number of pods where that does not matter."""
    listed = list(pods)
    noted = budget.get("status", {}).get("disruptedPods") or {}
    disrupted = {
        pod["metadata"]["name"]: noted[pod["metadata"]["name"]]
        for pod in listed
        if not is_deleting(pod) and _is_expected_to_go(noted.get(pod["metadata"]["name"]), now_s)
    }
    healthy = sum(is_ready(pod) and not is_deleting(pod) and pod["metadata"]["name"] not in disrupted for pod in listed)
    return Tally(scale, desired_healthy(budget, scale), healthy, disrupted)


def _is_expected_to_go(since: str | None, now_s: float) -> bool:
    return since is not None and parse_time(since) + DELETION_PATIENCE_S > now_s


def next_look_in(found: Tally, now_s: float) -> float | None:
    """Seconds until the first evicted pod is no longer believed to go; None when there is none."""
    ends = [parse_time(since) + DELETION_PATIENCE_S - now_s for since in found.disrupted.values()]
    return min((max(0.0, end_s) for end_s in ends), default=None)


def status_of(budget: Mapping[str, Any], found: Tally, now_s: float) -> Obj:
    """The status these numbers make."""
    reason = SUFFICIENT if found.allowed > 0 else INSUFFICIENT
    status: Obj = {
        "observedGeneration": budget["metadata"].get("generation", 1),
        "disruptionsAllowed": found.allowed,
        "currentHealthy": found.healthy,
        "desiredHealthy": found.desired,
        "expectedPods": found.expected,
        "conditions": with_allowed(budget, reason, "", now_s),
    }
    return {"disruptedPods": dict(found.disrupted)} | status if found.disrupted else status


def with_allowed(budget: Mapping[str, Any], reason: str, message: str, now_s: float) -> list[Obj]:
    """The budget's conditions with DisruptionAllowed as `reason` says; its transition time moves with its status."""
    conditions = conditions_of(budget)
    old = find_condition(conditions, ALLOWED)
    status = "True" if reason == SUFFICIENT else "False"
    kept = old is not None and old["status"] == status
    new = {
        "type": ALLOWED,
        "status": status,
        "observedGeneration": budget["metadata"].get("generation", 1),
        "lastTransitionTime": old["lastTransitionTime"] if old is not None and kept else render_time(now_s),
        "reason": reason,
        "message": message,
    }
    return [new if each is old else each for each in conditions] if old is not None else [*conditions, new]


def charged(budget: Mapping[str, Any], pod: str, now_s: float) -> Obj:
    """The status after one eviction was granted: one disruption less, the pod noted."""
    status: Obj = dict(budget["status"])
    left = status["disruptionsAllowed"] - 1
    status["disruptionsAllowed"] = left
    status["disruptedPods"] = (status.get("disruptedPods") or {}) | {pod: render_time(now_s)}
    if left == 0:
        status["conditions"] = with_allowed(budget, INSUFFICIENT, "", now_s)
    return status
