"""One look at a Job: which pods are to be counted now, what that sums up to, and whether it has failed by it. Pure.

`Memory` is what the controller remembers between looks; it is changed by `note_failures` only.
Rules: pkg/controller/job/job_controller.go, backoff_utils.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chaoskit.sandbox.controllers import jobend
from chaoskit.sandbox.controllers.jobend import Ending
from chaoskit.sandbox.controllers.jobpods import (
    Ruling,
    ended_at,
    has_failed,
    has_succeeded,
    index_of,
    is_indexed,
    is_tracked,
    limit_per_index,
    parse_indexes,
    restarts_exceed,
    rule_on,
)

Obj = dict[str, Any]


@dataclass(slots=True)
class Backoff:
    """Failures in a row of one Job, or of one index of it, and when the last was (epoch seconds)."""

    failures: int = 0
    last_s: float = 0.0

    def note(self, moment_s: float) -> None:
        self.failures += 1
        self.last_s = max(self.last_s, moment_s)

    def left_s(self, now_s: float, first_s: float, most_s: float) -> float:
        if self.failures == 0:
            return 0.0
        pause_s = min(most_s, first_s * 2.0 ** min(self.failures - 1, 30))
        return max(0.0, self.last_s + pause_s - now_s)


@dataclass(slots=True)
class Memory:
    """What is remembered of one Job beside its status: pauses, and since when ended pods wait to be counted."""

    whole: Backoff = field(default_factory=Backoff)
    by_index: dict[int, Backoff] = field(default_factory=dict)
    noticed: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Count:
    """One look at a Job: its pods, those to be counted now with what the policy says, and the sums with them.

    `failed` are the failures that count; ignored ones are only let go.
    """

    job: Obj
    pods: Sequence[Obj]
    succeeded: Sequence[Obj]
    failed: Sequence[Obj]
    ignored: Sequence[Obj]
    rulings: Sequence[Ruling]
    done: frozenset[int]
    broken: frozenset[int]

    @property
    def status(self) -> Obj:
        found: Obj = self.job.get("status", {})
        return found

    @property
    def successes(self) -> int:
        if is_indexed(self.job):
            return len(self.done)
        return int(self.status.get("succeeded", 0)) + len(self.succeeded)

    @property
    def failures(self) -> int:
        return int(self.status.get("failed", 0)) + len(self.failed)


def count_of(job: Obj, pods: Sequence[Obj], memory: Memory) -> Count:
    tracked = [pod for pod in pods if is_tracked(pod)]
    succeeded = [pod for pod in tracked if has_succeeded(pod)]
    failed = [pod for pod in tracked if not has_succeeded(pod) and has_failed(job, pod)]
    rulings = [rule_on(job, pod) for pod in failed]
    counted = [pod for pod, ruling in zip(failed, rulings, strict=True) if ruling.action != "Ignore"]
    ignored = [pod for pod, ruling in zip(failed, rulings, strict=True) if ruling.action == "Ignore"]
    status = job.get("status", {})
    done = parse_indexes(status.get("completedIndexes", ""))
    broken = parse_indexes(status.get("failedIndexes", ""))
    if is_indexed(job):
        done |= {number for pod in succeeded if (number := index_of(pod)) is not None}
        broken |= _broken(job, failed, rulings, memory) - done
    return Count(job, pods, succeeded, counted, ignored, rulings, frozenset(done), frozenset(broken))


def _broken(job: Obj, failed: Sequence[Obj], rulings: Sequence[Ruling], memory: Memory) -> set[int]:
    """Indexes that may not be tried again: used up their limit, or failed by the policy."""
    limit, found = limit_per_index(job), set()
    for pod, ruling in zip(failed, rulings, strict=True):
        number = index_of(pod)
        if number is None or limit is None or ruling.action == "Ignore":
            continue
        before = memory.by_index.get(number, Backoff()).failures
        if before >= limit or ruling.action == "FailIndex":
            found.add(number)
    return found


def note_failures(count: Count, memory: Memory) -> None:
    """A success ends the row of failures that came before it."""
    if count.succeeded:
        since_s = max(map(ended_at, count.succeeded))
        memory.whole = Backoff() if memory.whole.last_s <= since_s else memory.whole
    for pod in (*count.failed, *count.ignored):
        memory.whole.note(ended_at(pod))
    for pod in count.failed:
        if (number := index_of(pod)) is not None:
            memory.by_index.setdefault(number, Backoff()).note(ended_at(pod))


def failing(count: Count, now_s: float) -> Ending | None:
    job, spec = count.job, count.job["spec"]
    fatal = next((each for each in count.rulings if each.action == "FailJob"), None)
    if fatal is not None:
        return jobend.by_policy(fatal.said)
    if count.failures > spec["backoffLimit"] or restarts_exceed(job, count.pods):
        return jobend.TOO_MANY_FAILURES
    if jobend.is_past_deadline(job, now_s):
        return jobend.TOO_LATE
    most = spec.get("maxFailedIndexes")
    if most is not None and len(count.broken) > most:
        return jobend.TOO_MANY_INDEXES
    if count.broken and len(count.done) + len(count.broken) >= spec["completions"]:
        return jobend.FAILED_INDEXES
    return None
