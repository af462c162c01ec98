"""What controllers need to know of a pod: active, ready, available, finished. Pure functions over one object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaoskit.sandbox.facts.clock import parse_time
from chaoskit.sandbox.facts.conditions import condition_is, find_condition

Obj = dict[str, Any]


def phase(pod: Mapping[str, Any]) -> str:
    return pod.get("status", {}).get("phase") or "Pending"


def is_finished(pod: Mapping[str, Any]) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_deleting(obj: Mapping[str, Any]) -> bool:
    return obj["metadata"].get("deletionTimestamp") is not None


def is_active(pod: Mapping[str, Any]) -> bool:
    """Counts as a replica: neither finished nor being deleted (controller_utils.go, IsPodActive)."""
    return not is_finished(pod) and not is_deleting(pod)


def is_terminating(pod: Mapping[str, Any]) -> bool:
    """Being deleted and not yet at its end (controller_utils.go, IsPodTerminating)."""
    return not is_finished(pod) and is_deleting(pod)


def is_ready(pod: Mapping[str, Any]) -> bool:
    return condition_is(pod, "Ready", "True")


def ready_since(pod: Mapping[str, Any]) -> float:
    """Epoch seconds of the last change to Ready=True; 0.0 when it is not ready."""
    found = find_condition(pod.get("status", {}).get("conditions") or (), "Ready")
    return parse_time(found.get("lastTransitionTime")) if found is not None and found.get("status") == "True" else 0.0


def available_in(pod: Mapping[str, Any], min_ready_s: float, now_s: float) -> float | None:
    """Seconds until this pod counts as available: 0.0 is now, None is not before it becomes ready.

    pkg/api/v1/pod/util.go, IsPodAvailable: ready for at least minReadySeconds; with 0, ready is enough.
    """
    if not is_ready(pod):
        return None
    return 0.0 if min_ready_s <= 0 else max(0.0, ready_since(pod) + min_ready_s - now_s)


def restarts(pod: Mapping[str, Any]) -> int:
    """The highest restart count of its containers (controller_utils.go, maxContainerRestarts)."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return max((status.get("restartCount", 0) for status in statuses), default=0)


def claims_of(pod: Mapping[str, Any]) -> list[str]:
    """Names of the PersistentVolumeClaims the pod mounts."""
    volumes = pod["spec"].get("volumes") or ()
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
