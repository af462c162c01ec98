"""`recoveredWithin: 5s`: how long users felt the fault. Reads requests, returns a finding; never looks at the cluster.

An outage opens at the first bad request of a stretch of `SLIDING_S` whose bad share exceeds 1 - availability, and closes at the last bad
request after which every such stretch conforms for `HOLD_S`. The time to recover runs from the first mutation to the close of the last
outage: a stray error later, or a flap before, does not move it, and a relapse does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass as value
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.units import Duration, Ratio, render_ratio, render_seconds
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.slos.responses import goodness, timeout_s
from chaoskit.slos.statistics import samples_for_ratio
from chaoskit.slos.windows import Over, since_injection

SLIDING_S = 1.0
"""The stretch over which the share of bad requests is taken, in seconds."""

HOLD_S = 5.0
"""How long every stretch has to conform for an outage to be over, in seconds."""

Answered = Sequence[tuple[int, bool]]
"""(intended start, good) in order."""


@value(frozen=True, slots=True)
class Outage:
    """The first and the last bad request of an outage, by intended start, and the good one after it if there was one."""

    first_bad_ns: int
    last_bad_ns: int
    next_good_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RecoveredWithin:
    """The last outage that followed the first mutation was over in time, and stayed over for 5 s. Without an outage the time is 0.

    The interval runs from the last bad to the next good request: the service recovered somewhere between. It takes 1 / (1 - availability)
    requests, and 5 s of traffic after the recovery, else INCONCLUSIVE; unless the limit has passed while the outage still lasts.
    """

    kind: ClassVar[str] = "recoveredWithin"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = False
    text_field: ClassVar[str] = "within"
    example: ClassVar[str] = 'write it as "5s"'

    within: Duration
    """The longest time from the first mutation to the recovery."""
    availability: Annotated[Ratio, Field(gt=0)] = 0.99
    """The share of good requests that counts as recovered."""
    over: Over = "run"
    """The window: run, unless said otherwise."""

    def bound(self, subject: Subject) -> Bound | None:
        """None: the limit is the author's, not the cluster's."""
        return None

    def samples_needed(self) -> int:
        """How many requests it takes to be decided."""
        return samples_for_ratio(self.availability)

    def judge(self, history: History, window: Window) -> Finding:
        """Find the outages since the first mutation and measure to the end of the last."""
        looked_at = since_injection(history, window)
        if looked_at is None:
            return Finding(str(self), Grade.INCONCLUSIVE, "nothing was injected in the window", window)
        answered = goodness(history.requests.within(looked_at), timeout_s(history))
        found = list(outages(answered, 1 - self.availability))
        took, interval = _time_to_recover(found, looked_at.start_ns)
        grade, because = self._graded(answered, found, took, looked_at)
        return Finding(
            str(self), grade, because, window, took, self.within, "s", samples=len(answered), interval=interval
        )

    def _graded(self, answered: Answered, found: Sequence[Outage], took: float, window: Window) -> tuple[Grade, str]:
        needed, limit = self.samples_needed(), render_seconds(self.within)
        if len(answered) < needed:
            return Grade.INCONCLUSIVE, f"too few requests to decide: {len(answered)}, {needed} are needed"
        if not found:
            return Grade.PASS, f"no outage: no second fell below {render_ratio(self.availability)} good requests"
        said = f"recovered {render_seconds(took)} after the first mutation, allowed {limit}; {_told(found)}"
        sustained = (window.end_ns - found[-1].last_bad_ns) / 1e9
        if took > self.within:
            return (
                Grade.FAIL,
                said
                if sustained >= HOLD_S
                else f"not recovered {render_seconds(took)} after the first mutation, allowed {limit}",
            )
        if sustained < HOLD_S:
            return (
                Grade.INCONCLUSIVE,
                f"the window ended {render_seconds(sustained)} after the last bad request, {render_seconds(HOLD_S)} are needed",
            )
        return Grade.PASS, said

    def __str__(self) -> str:
        target = "" if self.availability == 0.99 else f" to {render_ratio(self.availability)}"
        return f"recoveredWithin {self.within:g}s{target}"


def outages(answered: Answered, allowed: float) -> Iterator[Outage]:
    """The outages among requests in order; `allowed` is the bad share that a stretch may have."""
    hold_ns = round(HOLD_S * 1e9)
    first = last = -1
    for start, end in _bad_stretches(answered, allowed):
        if last >= 0 and answered[start][0] - answered[last][0] > hold_ns:
            yield _outage(answered, first, last)
            first = start
        first, last = (start if first < 0 else first), max(last, end)
    if last >= 0:
        yield _outage(answered, first, last)


def _bad_stretches(answered: Answered, allowed: float) -> Iterator[tuple[int, int]]:
    """The first and last bad index of each stretch that begins with a bad request and holds too many of them."""
    width = round(SLIDING_S * 1e9)
    bad = [i for i, (_, good) in enumerate(answered) if not good]
    end = last = 0
    for at, start in enumerate(bad):
        while end < len(answered) and answered[end][0] < answered[start][0] + width:
            end += 1
        last = max(last, at)
        while last + 1 < len(bad) and bad[last + 1] < end:
            last += 1
        if last - at + 1 > allowed * (end - start) + 1e-9:
            yield start, bad[last]


def _outage(answered: Answered, first: int, last: int) -> Outage:
    following = next((t for t, good in answered[last + 1 : last + 2] if good), None)
    return Outage(answered[first][0], answered[last][0], following)


def _time_to_recover(found: Sequence[Outage], injected_ns: int) -> tuple[float, tuple[float, float] | None]:
    if not found:
        return 0.0, None
    last = found[-1]
    took = (last.last_bad_ns - injected_ns) / 1e9
    return took, (took, took if last.next_good_ns is None else (last.next_good_ns - injected_ns) / 1e9)


def _told(found: Sequence[Outage]) -> str:
    longest = max((outage.last_bad_ns - outage.first_bad_ns) / 1e9 for outage in found)
    return f"{len(found)} outage{'s' if len(found) > 1 else ''}, the longest {render_seconds(longest)}"
