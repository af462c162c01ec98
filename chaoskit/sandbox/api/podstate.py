"""A pod's STATUS, READY and RESTARTS as kubectl prints them. Pure.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go printPod, restated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from chaoskit.sandbox.store import Obj


def pod_ready(pod: Obj) -> str:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    ready = sum(1 for status in statuses if status.get("ready") and "running" in status.get("state", {}))
    return f"{ready}/{len(pod['spec']['containers'])}"


def pod_restarts(pod: Obj, since: Callable[[str], str]) -> str:
    """The number, with the time of the last one: `2 (5s ago)`."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    number = sum(status.get("restartCount", 0) for status in statuses)
    ends = [status.get("lastState", {}).get("terminated", {}).get("finishedAt") for status in statuses]
    last = max((end for end in ends if end), default=None)
    return f"{number} ({since(last)} ago)" if number and last else str(number)


def pod_state(pod: Obj) -> str:
    status = pod.get("status", {})
    reason = status.get("reason") or status.get("phase", "Unknown")
    initialising = _init_state(pod)
    reason = _containers_state(status, reason) if initialising is None else initialising
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            return "Unknown"
        return reason if status.get("phase") in ("Succeeded", "Failed") else "Terminating"
    return str(reason)


def _init_state(pod: Obj) -> str | None:
    """What keeps the pod from having been initialised; None when nothing does."""
    statuses = pod.get("status", {}).get("initContainerStatuses", ())
    total = len(pod["spec"].get("initContainers", ()))
    for index, status in enumerate(statuses):
        state = status.get("state", {})
        if state.get("terminated", {}).get("exitCode") == 0 or (status.get("started") and _restarts(pod, index)):
            continue
        if "terminated" in state:
            return f"Init:{_ended(state['terminated'])}"
        waiting = state.get("waiting", {}).get("reason", "")
        return f"Init:{waiting}" if waiting not in ("", "PodInitializing") else f"Init:{index}/{total}"
    return None


def _restarts(pod: Obj, index: int) -> bool:
    return bool(pod["spec"]["initContainers"][index].get("restartPolicy") == "Always")


def _containers_state(status: Obj, reason: str) -> str:
    """The state of the first container that has something to say; a running one says nothing."""
    running = False
    for container in reversed(_list(status.get("containerStatuses"))):
        state = container.get("state", {})
        if state.get("waiting", {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif "terminated" in state:
            reason = _ended(state["terminated"])
        elif container.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        return "Running" if _is_ready(status.get("conditions", ())) else "NotReady"
    return reason


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode')}"


def _is_ready(conditions: Iterable[Obj]) -> bool:
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _list(value: Any) -> list[Any]:
    return list(value or ())
