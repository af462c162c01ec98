"""May this pod be evicted now? Decides from the pod and the budgets that select it; commits nothing.

Rules and their order: pkg/registry/core/pod/storage/eviction.go; answers recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chaoskit.sandbox.errors import ApiError, failure, too_many
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.budgets import FAILED, charged
from chaoskit.sandbox.facts.conditions import conditions_of
from chaoskit.sandbox.facts.pods import is_deleting, is_ready, phase
from chaoskit.sandbox.store import Obj

_REFUSED: Final = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL: Final = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_RETRY_AFTER_S: Final = 10
TARGETED: Final = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}
"""The condition an evicted pod gets before it is deleted."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The eviction may go on. `budget`: the one that pays for it, with its status after that; None when none has to."""

    budget: Obj | None = None
    status: Obj | None = None


def decide(pod: Obj, budgets: Sequence[Obj]) -> Grant:
    """`budgets` are those that select the pod. Raises ApiError 429 when one refuses, 500 when there are several."""
    if is_deleting(pod) or phase(pod) in ("Succeeded", "Failed", "Pending") or not budgets:
        return Grant()
    if len(budgets) > 1:
        raise ApiError(failure(500, "", _SEVERAL))
    budget = budgets[0]
    if not is_ready(pod) and _may_lose_the_unready(budget):
        return Grant()
    _check(budget)
    return Grant(budget, charged(budget, pod["metadata"]["name"], clock.now()))


def _may_lose_the_unready(budget: Obj) -> bool:
    """A pod that is not ready costs nothing: always, or (the default) as long as the others are enough."""
    status = budget.get("status", {})
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    return bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0)


def _check(budget: Obj) -> None:
    """Raises ApiError 429 when the budget has nothing to give, or has not been counted yet."""
    metadata, status = budget["metadata"], budget.get("status", {})
    name = metadata["name"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 1):
        waiting = f"The disruption budget {name} is still being processed by the server."
        raise too_many(_REFUSED, waiting, retry_after_s=_RETRY_AFTER_S)
    if status.get("disruptionsAllowed", 0) > 0:
        return
    if (why := _sync_failure(budget)) is not None:
        failed = f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
        raise too_many(_REFUSED, failed)
    needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    raise too_many(_REFUSED, f"The disruption budget {name} needs {needs} healthy pods and has {has} currently")


def _sync_failure(budget: Obj) -> str | None:
    return next((each["message"] for each in conditions_of(budget) if each.get("reason") == FAILED), None)
