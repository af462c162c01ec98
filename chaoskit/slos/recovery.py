"""`recoveredWithin: 5s`: how long users felt the fault. Reads requests, returns a finding; never looks at the cluster.

The time to recover runs from the first mutation to the close of the last outage (slos/outages.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.objective import Cohort
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.units import DurationField, RatioField, render_ratio, render_seconds
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.model.written import by_default
from chaoskit.slos.outages import HOLD_S, Outage, outages_of
from chaoskit.slos.responses import look
from chaoskit.slos.stated import qualified
from chaoskit.slos.statistics import samples_for_ratio
from chaoskit.slos.windows import Over, since_injection

_TEXT = re.compile(
    r"(?P<within>\S+)(?:\s+to\s+(?P<availability>\S+))?(?:\s+sustained\s+(?P<sustain>\S+))?"
    r"(?:\s+on\s+(?P<policy>\S+))?(?:\s+over\s+(?P<over>\S+))?\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RecoveredWithin:
    """The last outage that followed the first mutation was over in time, and stayed over for 5 s. Without an outage the time is 0.

    The interval runs from the last bad to the next good request: the service recovered somewhere between, and a limit that lies between is not
    decided. It takes 1 / (1 - availability) requests, and `sustain` of traffic after the recovery, else INCONCLUSIVE; unless the limit has passed
    while the outage still lasts.
    """

    kind: ClassVar[str] = "recoveredWithin"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = False
    text_field: ClassVar[str] = "within"
    example: ClassVar[str] = 'write it as "5s"'

    within: DurationField
    """The longest time from the first mutation to the recovery."""
    availability: Annotated[RatioField, Field(gt=0)] = by_default(0.99)
    """The share of good requests that counts as recovered."""
    sustain: DurationField = by_default(HOLD_S)
    """How long it has to hold for the outage to be over."""
    over: Over = "run"
    """The window: run, unless said otherwise."""
    policy: Cohort | None = None
    """Only requests on connections of that policy: fresh, reuse, or each with a finding of its own; all of them by default."""

    @classmethod
    def fields_of(cls, text: str) -> Mapping[str, Any]:
        """The fields of the text form: "5s", "5s to 95% sustained 3s on fresh"."""
        match = _TEXT.match(text.strip())
        return {"within": text} if match is None else {name: said for name, said in match.groupdict().items() if said}

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
        answered = look(history, looked_at, self.policy)
        found = outages_of(answered, 1 - self.availability, self.sustain)
        took, interval = _time_to_recover(found, looked_at.start_ns)
        grade, because = self._graded(answered.valid, found, took, interval, looked_at)
        return Finding(
            str(self), grade, because, window, took, self.within, "s", samples=answered.valid, interval=interval
        )

    def _graded(
        self, n: int, found: Sequence[Outage], took: float, limits: tuple[float, float] | None, window: Window
    ) -> tuple[Grade, str]:
        needed, limit = self.samples_needed(), render_seconds(self.within)
        if n < needed:
            return Grade.INCONCLUSIVE, f"too few requests to decide: {n}, {needed} are needed"
        if not found:
            return Grade.PASS, f"no outage: no second fell below {render_ratio(self.availability)} good requests"
        said = f"recovered {render_seconds(took)} after the first mutation, allowed {limit}; {_told(found)}"
        sustained = (window.end_ns - found[-1].last_bad_ns) / 1e9
        if took > self.within:
            still = f"not recovered {render_seconds(took)} after the first mutation, allowed {limit}"
            return Grade.FAIL, said if sustained >= self.sustain else still
        if sustained < self.sustain:
            return (
                Grade.INCONCLUSIVE,
                f"the window ended {render_seconds(sustained)} after the last bad request, {render_seconds(self.sustain)} are needed",
            )
        if limits is not None and limits[1] > self.within:
            between = f"recovered between {render_seconds(limits[0])} and {render_seconds(limits[1])}, allowed {limit}"
            return Grade.INCONCLUSIVE, f"{between}: more requests a second would tell; {_told(found)}"
        return Grade.PASS, said

    def __str__(self) -> str:
        said = f"recoveredWithin {self.within:g}s"
        said += "" if self.availability == 0.99 else f" to {render_ratio(self.availability)}"
        said += "" if self.sustain == HOLD_S else f" sustained {self.sustain:g}s"
        return qualified(said, self, "run")


def _time_to_recover(found: Sequence[Outage], injected_ns: int) -> tuple[float, tuple[float, float] | None]:
    if not found:
        return 0.0, None
    last = found[-1]
    took = (last.last_bad_ns - injected_ns) / 1e9
    return took, (took, took if last.next_good_ns is None else (last.next_good_ns - injected_ns) / 1e9)


def _told(found: Sequence[Outage]) -> str:
    longest = max(outage.least_s for outage in found)
    return f"{len(found)} outage{'s' if len(found) > 1 else ''}, the longest {render_seconds(longest)}"
