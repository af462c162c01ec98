"""The status of a Deployment: its numbers, its conditions and its deadline. Pure: the time is an argument.

Reasons and texts as recorded on a real cluster; rules: pkg/controller/deployment/progress.go and sync.go.
"""

from __future__ import annotations

from typing import Any

from chaoskit.sandbox.controllers.rollout import Rollout, name_of, size, surge_and_unavailable, total
from chaoskit.sandbox.facts.clock import parse_time, render_time
from chaoskit.sandbox.facts.conditions import (
    conditions_of,
    find_condition,
    make_condition,
    put_condition,
    without,
)

Obj = dict[str, Any]
NO_DEADLINE = 2**31 - 1
COMPLETE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"


def deployment_condition(kind: str, status: str, reason: str, message: str, now_s: float) -> Obj:
    return make_condition(kind, status, reason, message, now_s) | {"lastUpdateTime": render_time(now_s)}


def has_deadline(deployment: Obj) -> bool:
    return bool(deployment["spec"].get("progressDeadlineSeconds", NO_DEADLINE) != NO_DEADLINE)


def status_of(rollout: Rollout, now_s: float) -> Obj:
    """Numbers summed over the ReplicaSets, and the condition Available. Zeros are left out, as on the wire."""
    deployment = rollout.deployment
    available = _sum(rollout, "availableReplicas")
    counts = {
        "replicas": _sum(rollout, "replicas"),
        "updatedReplicas": 0 if rollout.new is None else rollout.new.get("status", {}).get("replicas", 0),
        "readyReplicas": _sum(rollout, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total(rollout.all) - available),
    }
    status: Obj = {name: count for name, count in counts.items() if count}
    status["observedGeneration"] = deployment["metadata"].get("generation", 1)
    status["terminatingReplicas"] = _sum(rollout, "terminatingReplicas")
    if (collisions := deployment.get("status", {}).get("collisionCount")) is not None:
        status["collisionCount"] = collisions
    floor = size(deployment) - surge_and_unavailable(deployment)[1]
    status["conditions"] = put_condition(conditions_of(deployment), _availability(available >= floor, now_s))
    return status


def with_progress(rollout: Rollout, status: Obj, now_s: float) -> Obj:
    """The status with Progressing and ReplicaFailure as they follow from what changed since the stored one."""
    deployment, conditions = rollout.deployment, status["conditions"]
    current = find_condition(conditions, "Progressing")
    settled = status.get("replicas", 0) == status.get("updatedReplicas", 0) and _reason(current) == COMPLETE
    if not has_deadline(deployment):
        conditions = without(conditions, "Progressing") if rollout.new is None else conditions
    elif not settled:
        conditions = _progressing(rollout, status, current, now_s)
    return {**status, "conditions": _with_failure(rollout, conditions, now_s)}


def is_complete(deployment: Obj, status: Obj) -> bool:
    """All pods are of the new template, all are available, and no other is left (util, DeploymentComplete)."""
    wanted = size(deployment)
    numbers = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    return seen and all(number == wanted for number in numbers)


def deadline_in(deployment: Obj, status: Obj, now_s: float) -> float | None:
    """Seconds until the progress deadline should be looked at again; None when there is nothing to wait for.

    One second is added because stored times are truncated to whole seconds (progress.go, requeueStuckDeployment).
    """
    current = find_condition(status.get("conditions", ()), "Progressing")
    done = current is None or _reason(current) in (COMPLETE, TIMED_OUT) or is_complete(deployment, status)
    if not has_deadline(deployment) or deployment["spec"].get("paused") or done:
        return None
    assert current is not None
    return max(0.0, _deadline(deployment, current) - now_s) + 1.0


def pause_condition(deployment: Obj, now_s: float) -> Obj | None:
    """The Progressing condition that a pause or a resume calls for; None when it is told already (checkPausedConditions)."""
    reason = _reason(find_condition(conditions_of(deployment), "Progressing"))
    if not has_deadline(deployment) or reason == TIMED_OUT:
        return None
    if deployment["spec"].get("paused") and reason != PAUSED:
        return deployment_condition("Progressing", "Unknown", PAUSED, "Deployment is paused", now_s)
    if not deployment["spec"].get("paused") and reason == PAUSED:
        return deployment_condition("Progressing", "Unknown", RESUMED, "Deployment is resumed", now_s)
    return None


def _sum(rollout: Rollout, field: str) -> int:
    return sum(replicaset.get("status", {}).get(field, 0) for replicaset in rollout.all)


def _reason(condition: Obj | None) -> str:
    return "" if condition is None else condition.get("reason", "")


def _availability(enough: bool, now_s: float) -> Obj:
    if enough:
        text = "Deployment has minimum availability."
        return deployment_condition("Available", "True", "MinimumReplicasAvailable", text, now_s)
    text = "Deployment does not have minimum availability."
    return deployment_condition("Available", "False", "MinimumReplicasUnavailable", text, now_s)


def _progressing(rollout: Rollout, status: Obj, current: Obj | None, now_s: float) -> list[Obj]:
    deployment, conditions = rollout.deployment, status["conditions"]
    subject = f'Deployment "{name_of(deployment)}"' if rollout.new is None else f'ReplicaSet "{name_of(rollout.new)}"'
    if is_complete(deployment, status):
        text = f"{subject} has successfully progressed."
        return put_condition(conditions, deployment_condition("Progressing", "True", COMPLETE, text, now_s))
    if _has_progressed(deployment.get("status", {}), status):
        new = deployment_condition("Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.", now_s)
        if current is not None and current["status"] == "True":
            new["lastTransitionTime"] = current["lastTransitionTime"]
        # Replaced rather than put: each step of progress moves lastUpdateTime, from which the deadline counts.
        return [*without(conditions, "Progressing"), new]
    if _is_timed_out(deployment, current, now_s):
        text = f"{subject} has timed out progressing."
        return put_condition(conditions, deployment_condition("Progressing", "False", TIMED_OUT, text, now_s))
    return list(conditions)


def _has_progressed(old: Obj, new: Obj) -> bool:
    def count(status: Obj, name: str) -> int:
        return int(status.get(name, 0))

    fewer_old = count(new, "replicas") - count(new, "updatedReplicas") < count(old, "replicas") - count(
        old, "updatedReplicas"
    )
    return fewer_old or any(
        count(new, name) > count(old, name) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def _is_timed_out(deployment: Obj, current: Obj | None, now_s: float) -> bool:
    if current is None or _reason(current) == COMPLETE:
        return False
    return _reason(current) == TIMED_OUT or _deadline(deployment, current) < now_s


def _deadline(deployment: Obj, current: Obj) -> float:
    return parse_time(current.get("lastUpdateTime")) + float(deployment["spec"]["progressDeadlineSeconds"])


def _with_failure(rollout: Rollout, conditions: list[Obj], now_s: float) -> list[Obj]:
    found = [find_condition(conditions_of(replicaset), "ReplicaFailure") for replicaset in reversed(rollout.all)]
    failure = next((condition for condition in found if condition is not None), None)
    if failure is None:
        return without(conditions, "ReplicaFailure")
    new = deployment_condition("ReplicaFailure", "True", failure["reason"], failure["message"], now_s)
    return put_condition(conditions, new)
