"""How a Job ends: the conditions it passes through, and their texts. Pure: the time is an argument.

First comes the target (SuccessCriteriaMet, FailureTarget), and once no pod runs any more the end (Complete, Failed) with
the same reason and message. Order and texts as recorded on a real cluster; rules: pkg/controller/job/job_controller.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.sandbox.facts.clock import parse_time, render_time
from chaoskit.sandbox.facts.conditions import condition_is, conditions_of, find_condition

Obj = dict[str, Any]
_END = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


@dataclass(frozen=True, slots=True)
class Ending:
    """What a Job is heading for."""

    target: str
    reason: str
    message: str

    @property
    def end(self) -> str:
        return _END[self.target]

    @property
    def is_success(self) -> bool:
        return self.target == "SuccessCriteriaMet"


COMPLETED = Ending("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")
TOO_MANY_FAILURES = Ending("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
TOO_LATE = Ending("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
FAILED_INDEXES = Ending("FailureTarget", "FailedIndexes", "Job has failed indexes")
TOO_MANY_INDEXES = Ending(
    "FailureTarget", "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
)


def by_policy(message: str) -> Ending:
    return Ending("FailureTarget", "PodFailurePolicy", message)


def known(job: Mapping[str, Any]) -> Ending | None:
    """The ending that was already decided and written down."""
    for target in _END:
        found = find_condition(conditions_of(job), target)
        if found is not None and found["status"] == "True":
            return Ending(target, found["reason"], found["message"])
    return None


def is_over(job: Mapping[str, Any]) -> bool:
    return condition_is(job, "Complete", "True") or condition_is(job, "Failed", "True")


def over_since(job: Mapping[str, Any]) -> float:
    """Epoch seconds of the end of a Job that is over."""
    ends = [each for each in conditions_of(job) if each["type"] in _END.values() and each["status"] == "True"]
    return parse_time(ends[0].get("lastTransitionTime"))


def put(conditions: Sequence[Obj], kind: str, status: str, reason: str, message: str, now_s: float) -> list[Obj]:
    """The conditions with this one; one of the same status stays as it was."""
    old = find_condition(conditions, kind)
    if old is not None and old["status"] == status:
        return list(conditions)
    moment = render_time(now_s)
    new = {"type": kind, "status": status, "lastProbeTime": moment, "lastTransitionTime": moment}
    new |= {"reason": reason, "message": message}
    return [new if each is old else each for each in conditions] if old is not None else [*conditions, new]


def is_past_deadline(job: Mapping[str, Any], now_s: float) -> bool:
    left_s = deadline_in(job, now_s)
    return left_s is not None and left_s <= 0


def deadline_in(job: Mapping[str, Any], now_s: float) -> float | None:
    """Seconds until activeDeadlineSeconds are over; None when nothing counts down."""
    limit, started = job["spec"].get("activeDeadlineSeconds"), job.get("status", {}).get("startTime")
    if limit is None or started is None or job["spec"].get("suspend"):
        return None
    return parse_time(started) + float(limit) - now_s
