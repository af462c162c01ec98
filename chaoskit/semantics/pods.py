"""What a pod's status says: ready, terminating, active, its containers. Reads one object; knows no owner and no Service.

Sources: kubernetes.io, Pod Lifecycle (phases, conditions, termination); upstream pkg/api/v1/pod/util.go and
pkg/controller/controller_utils.go (IsPodReady, IsPodActive).
"""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.model.resource import Obj
from chaoskit.semantics.timestamps import parse_timestamp

TERMINAL = ("Succeeded", "Failed")
"""The phases a pod never leaves."""


def condition(obj: Obj, type: str) -> Obj | None:
    """The condition of that type of any object with status.conditions, or None."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found.get("type") == type), None)


def is_true(obj: Obj, type: str) -> bool:
    """Whether the condition is there and True."""
    found = condition(obj, type)
    return found is not None and found.get("status") == "True"


def is_ready(pod: Obj) -> bool:
    """The Ready condition, whether or not the pod is being deleted: it stays True for most of a graceful termination."""
    return is_true(pod, "Ready")


def is_terminating(pod: Obj) -> bool:
    """Whether its deletion was asked for."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_terminal(pod: Obj) -> bool:
    """Whether it ended: a gracefully deleted pod passes through Succeeded or Failed before it disappears."""
    return (pod.get("status") or {}).get("phase") in TERMINAL


def is_active(pod: Obj) -> bool:
    """Whether a controller counts it as one of its replicas: neither terminal nor terminating."""
    return not is_terminal(pod) and not is_terminating(pod)


def serves(pod: Obj) -> bool:
    """Ready and not on its way out: what a replica is there for."""
    return is_ready(pod) and is_active(pod)


def container_statuses(pod: Obj) -> Sequence[Obj]:
    """The statuses of the ordinary containers; empty before the kubelet first reported."""
    found: Sequence[Obj] = (pod.get("status") or {}).get("containerStatuses") or ()
    return found


def container_status(pod: Obj, name: str) -> Obj | None:
    """The status of one container, or None."""
    return next((status for status in container_statuses(pod) if status.get("name") == name), None)


def restart_count(pod: Obj, name: str) -> int:
    """How often a container was restarted; 0 before its first status."""
    status = container_status(pod, name)
    return 0 if status is None else int(status.get("restartCount", 0))


def container_id(pod: Obj, name: str) -> str:
    """The id of a container's current instance, or ""."""
    status = container_status(pod, name)
    return "" if status is None else str(status.get("containerID") or "")


def started_at(pod: Obj) -> float | None:
    """When the last of its running containers started, in epoch seconds, truncated to whole ones; None when one does not run."""
    starts = [
        parse_timestamp(((status.get("state") or {}).get("running") or {}).get("startedAt"))
        for status in container_statuses(pod)
    ]
    known = [start for start in starts if start is not None]
    return max(known) if known and len(known) == len(starts) else None


def ready_at(pod: Obj) -> float | None:
    """Since when the pod has been Ready, in epoch seconds, truncated to whole ones; None when it is not."""
    found = condition(pod, "Ready")
    if found is None or found.get("status") != "True":
        return None
    return parse_timestamp(found.get("lastTransitionTime"))


def seconds_to_ready(pod: Obj) -> float | None:
    """Ready minus started: how long the current containers took to become ready, to a resolution of 1 s. None when unknown.

    A pod that lost its readiness later and regained it shows more than its start took.
    """
    started, ready = started_at(pod), ready_at(pod)
    if started is None or ready is None or ready < started:
        return None
    return ready - started


def seconds_to_initialize(pod: Obj) -> float | None:
    """Initialized minus PodScheduled: how long its init containers took (image pull included), to a resolution of 1 s. None when unknown."""
    scheduled, initialized = condition(pod, "PodScheduled"), condition(pod, "Initialized")
    if scheduled is None or initialized is None or initialized.get("status") != "True":
        return None
    begin = parse_timestamp(scheduled.get("lastTransitionTime"))
    end = parse_timestamp(initialized.get("lastTransitionTime"))
    return None if begin is None or end is None or end < begin else end - begin


def grace_s(pod: Obj) -> float:
    """The pod's termination grace period (kubernetes.io, Pod Lifecycle: default 30 s)."""
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return 30.0 if grace is None else float(grace)
