"""What a container is doing, as values, and their rendering into the API's shape. Pure; knows no process and no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

Obj: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not started, or between two instances; `reason` is the word kubectl shows, such as CrashLoopBackOff."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """An instance with a live process. `started_at` is seconds since the epoch."""

    id: str
    pid: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Terminated:
    """An instance that ended. `exit_code` is 128 + signal for a process ended by one; times are seconds since the epoch."""

    id: str
    exit_code: int
    reason: str
    started_at: float
    finished_at: float
    message: str = ""


State: TypeAlias = Waiting | Running | Terminated


def stamp(seconds: float) -> str:
    """metav1.Time: RFC 3339 in UTC, whole seconds, truncated."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(seconds: float) -> str:
    """metav1.MicroTime, as leases carry it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_stamp(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time. Raises ValueError for anything else."""
    return datetime.fromisoformat(text).timestamp()


def ended(
    instance: str, exit_code: int, started_at: float, finished_at: float, *, message: str = "", outgrown: bool = False
) -> Terminated:
    """The end of an instance, with the reason a container runtime derives from the exit code or from an outgrown memory limit."""
    reason = "OOMKilled" if outgrown else "Completed" if exit_code == 0 else "Error"
    return Terminated(instance, exit_code, reason, started_at, finished_at, message)


def recorded(status: Obj, now: float) -> Terminated:
    """The end of an instance that a ContainerStatus tells of: as it says, or lost with the power of its node (255, Unknown)."""
    over = (status.get("state") or {}).get("terminated")
    if over is None or "startedAt" not in over:
        return Terminated(status["containerID"], 255, "Unknown", now, now)
    times = parse_stamp(over["startedAt"]), parse_stamp(over["finishedAt"])
    return Terminated(status["containerID"], over["exitCode"], over["reason"], *times, over.get("message", ""))


def render_state(state: State | None) -> Obj:
    """ContainerState; the empty object when there is nothing to tell, as for a lastState before the first restart."""
    match state:
        case None:
            return {}
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Running():
            return {"running": {"startedAt": stamp(state.started_at)}}
        case Terminated():
            return {"terminated": _terminated(state)}


def _terminated(state: Terminated) -> Obj:
    body: Obj = {"exitCode": state.exit_code, "reason": state.reason}
    if state.message:
        body["message"] = state.message
    if not state.id:
        return body  # nobody knows when, only that it is over
    times = {"startedAt": stamp(state.started_at), "finishedAt": stamp(state.finished_at)}
    return body | times | {"containerID": state.id}
