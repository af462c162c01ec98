"""A pod's status from the facts of its containers. Pure: the same facts give the same status.

Sources: pkg/kubelet/kubelet_pods.go getPhase and generateAPIPodStatus, pkg/kubelet/status/generate.go.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from chaoskit.sandbox.node.states import Running, State, Terminated, Waiting, render_state, stamp

Obj: TypeAlias = dict[str, Any]


class Shown(Protocol):
    """What of a container shows in the status."""

    @property
    def name(self) -> str: ...
    @property
    def image_id(self) -> str: ...
    @property
    def restarts(self) -> int: ...
    @property
    def last(self) -> Terminated | None: ...
    @property
    def spec(self) -> Obj: ...
    @property
    def state(self) -> State: ...
    @property
    def started(self) -> bool: ...
    @property
    def ready(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """A pod as its node knows it. `terminal`: everything of it has ended for good."""

    containers: Sequence[Shown]
    inits: Sequence[Shown]
    sidecars: frozenset[str]
    host_ip: str
    ip: str
    started_at: float
    networked: bool
    terminal: bool
    reason: str = ""
    message: str = ""
    """Why the pod as a whole failed, such as DeadlineExceeded."""


def render_status(facts: Facts, pod: Obj) -> Obj:
    """PodStatus, with lastTransitionTimes and the conditions of others taken over from the pod's present status."""
    current = pod.get("status") or {}
    phase = find_phase(facts, pod["spec"].get("restartPolicy", "Always"))
    facts = replace(facts, terminal=facts.terminal or phase in ("Succeeded", "Failed"))
    lost = facts.terminal and not _unfinished(facts)
    status: Obj = {
        "phase": phase,
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": current.get("startTime") or stamp(facts.started_at),
        "conditions": _conditions(facts, pod, phase),
        "containerStatuses": [_container(each, lost) for each in facts.containers],
    }
    if "generation" in pod["metadata"]:
        status["observedGeneration"] = pod["metadata"]["generation"]
    if facts.inits:
        status["initContainerStatuses"] = [_container(each, lost) for each in facts.inits]
    if facts.reason and phase == "Failed":
        status |= {"reason": facts.reason, "message": facts.message}
    # A pod whose node lost power has no address until its network is made anew.
    status |= {"podIP": facts.ip, "podIPs": [{"ip": facts.ip}]} if facts.networked else {"podIP": None, "podIPs": None}
    return status


def _container(each: Shown, lost: bool) -> Obj:
    """Of a pod that is over and had been initialized, a container that is not terminated is lost."""
    state = _final(each.state) if lost else each.state
    body: Obj = {
        "name": each.name,
        "image": each.spec["image"],
        "imageID": each.image_id,
        "ready": each.ready and not (lost and isinstance(each.state, Running)),
        "started": each.started,
        "restartCount": each.restarts,
        "state": render_state(state),
        "lastState": render_state(each.last),
    }
    latest = state if not isinstance(state, Waiting) else each.last
    return body if latest is None or not latest.id else body | {"containerID": latest.id}


def _final(state: State) -> State:
    if isinstance(state, Terminated):
        return state
    lost = "The container could not be located when the pod was terminated"
    return Terminated("", 137, "ContainerStatusUnknown", 0, 0, lost)


def find_phase(facts: Facts, policy: str) -> str:
    """Pending, Running, Succeeded or Failed."""
    if facts.terminal:
        done = all(isinstance(each.state, Terminated) and each.state.exit_code == 0 for each in facts.containers)
        return "Succeeded" if done and not facts.reason else "Failed"
    if _init_failed(facts, policy):
        return "Failed"
    if _initializing(facts) or any(isinstance(each.state, Waiting) and each.last is None for each in facts.containers):
        return "Pending"
    sidecars = [each for each in facts.inits if each.name in facts.sidecars]
    # Sidecars end after the containers, and the pod is not over before them.
    if policy == "Always" or any(isinstance(each.state, Running) for each in (*facts.containers, *sidecars)):
        return "Running"
    if all(_code(each) == 0 for each in facts.containers):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _code(each: Shown) -> int:
    ended = each.state if isinstance(each.state, Terminated) else each.last
    return 0 if ended is None else ended.exit_code


def _init_failed(facts: Facts, policy: str) -> bool:
    ends = (each.state for each in facts.inits if each.name not in facts.sidecars)
    return policy == "Never" and any(isinstance(state, Terminated) and state.exit_code for state in ends)


def _initializing(facts: Facts) -> bool:
    return bool(_unfinished(facts))


def _unfinished(facts: Facts) -> list[str]:
    # Once a container has started the pod was initialized, whatever becomes of its sidecars (HasAnyRegularContainerStarted).
    if any(not isinstance(each.state, Waiting) for each in facts.containers):
        return []
    return [each.name for each in facts.inits if not (each.started if each.name in facts.sidecars else each.ready)]


def _conditions(facts: Facts, pod: Obj, phase: str) -> list[Obj]:
    before = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or ()}
    ours = [
        _ready_to_start(facts),
        _initialized(facts, phase),
        _ready(facts, pod, phase, before),
        _containers_ready(facts, phase),
        {"type": "PodScheduled", "status": "True"},
    ]
    dated = [_dated(each, before.get(each["type"], {}), pod) for each in ours]
    return dated + [each for kind, each in before.items() if kind not in {own["type"] for own in ours}]


def _dated(condition: Obj, before: Obj, pod: Obj) -> Obj:
    same = before.get("status") == condition["status"] and "lastTransitionTime" in before
    extra: Obj = {"lastTransitionTime": before["lastTransitionTime"] if same else stamp(time.time())}
    if "generation" in pod["metadata"]:
        extra["observedGeneration"] = pod["metadata"]["generation"]
    return {**condition, **extra}


def _condition(kind: str, status: bool, reason: str = "", message: str = "") -> Obj:
    texts = {"reason": reason, "message": message}
    return {"type": kind, "status": str(status), **{key: text for key, text in texts.items() if text}}


def _ready_to_start(facts: Facts) -> Obj:
    return _condition("PodReadyToStartContainers", facts.networked and not facts.terminal)


def _initialized(facts: Facts, phase: str) -> Obj:
    unfinished = _unfinished(facts)
    if phase == "Succeeded":
        return _condition("Initialized", True, "PodCompleted")
    if unfinished:
        message = f"containers with incomplete status: [{' '.join(unfinished)}]"
        return _condition("Initialized", False, "ContainersNotInitialized", message)
    return _condition("Initialized", True)


def _containers_ready(facts: Facts, phase: str) -> Obj:
    if phase in ("Succeeded", "Failed"):
        return _condition("ContainersReady", False, "PodCompleted" if phase == "Succeeded" else "PodFailed")
    unready = [each.name for each in facts.containers if not each.ready]
    if unready:
        return _condition(
            "ContainersReady", False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
        )
    return _condition("ContainersReady", True)


def _ready(facts: Facts, pod: Obj, phase: str, before: dict[str, Obj]) -> Obj:
    containers = _containers_ready(facts, phase)
    if containers["status"] == "False":
        return {**containers, "type": "Ready"}
    closed = [
        text for gate in pod["spec"].get("readinessGates") or () if (text := _closed(gate["conditionType"], before))
    ]
    return (
        _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(closed)) if closed else _condition("Ready", True)
    )


def _closed(gate: str, conditions: dict[str, Obj]) -> str:
    if gate not in conditions:
        return f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    status = conditions[gate]["status"]
    return "" if status == "True" else f'the status of pod readiness gate "{gate}" is not "True", but {status}'
