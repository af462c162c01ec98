"""`latency: "p95 < 300ms"`, or "<= 250ms for 99%": response times of a window. Reads requests, returns a finding; never looks at the cluster."""

from __future__ import annotations

import math
from typing import ClassVar, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.objective import Cohort, ConfidenceField, ObjectiveField, render
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.model.written import by_default
from chaoskit.slos.deciding import decided, share_needs, undecided
from chaoskit.slos.responses import Look, Ranked, look
from chaoskit.slos.stated import qualified, unite
from chaoskit.slos.statistics import clopper_pearson, quantile, quantile_interval
from chaoskit.slos.windows import Over


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Latency:
    """The time from a request's intended start to its whole response, over all requests that count: a percentile, or the share within a time.

    A failed request is slower than anything: were failures left out, a service could meet its latency by refusing the slow ones. When so many
    failed that the percentile is one of them, it has no number, and the objective is broken. Counted from the intended start, so that
    requests that had to wait behind an outage are as slow as their users found them. Percentile: type 7 over the raw values; interval: order
    statistics. It takes enough requests to have one above the percentile (20 for p95), else INCONCLUSIVE. With a confidence it is an inference
    from exact binomial limits, as for availability.
    """

    kind: ClassVar[str] = "latency"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = True
    text_field: ClassVar[str] = "objective"
    example: ClassVar[str] = 'write it as "p95 < 300ms" or "<= 250ms for 99%"'

    objective: ObjectiveField
    """Which percentile must be below what, as "p95 < 300ms"; or how many must be within what, as "<= 250ms for 99%"."""
    over: Over = "fault"
    """The window: baseline, fault, recovery or run."""
    policy: Cohort | None = None
    """Only requests on connections of that policy: fresh, reuse, or each with a finding of its own; all of them by default."""
    confidence: ConfidenceField = by_default(None)
    """How sure the answer must be of other runs too, as "95%"; by default it speaks of this run."""

    @model_validator(mode="after")
    def _a_time(self) -> Self:
        objective = self.objective
        fits = objective.unit == "s" and objective.op in ("<", "<=")
        if not fits or (objective.quantile is None) == (objective.share is None):
            raise ValueError(
                f'latency is a percentile that stays below a time, such as "p95 < 300ms", or a share within one, '
                f'such as "<= 250ms for 99%"; not "{objective}"'
            )
        if self.share >= 1:
            raise ValueError(f'"{objective}" would be the slowest request of all; expected a share below 100%')
        unite(self, objective)
        return self

    @property
    def share(self) -> float:
        """The share of the requests that must be fast enough: the percentile is the same said in another way."""
        share = self.objective.share if self.objective.quantile is None else self.objective.quantile
        assert share is not None
        return share

    def bound(self, subject: Subject) -> Bound | None:
        """None: an objective has no time limit."""
        return None

    def samples_needed(self) -> int:
        """How many requests it takes to be decided."""
        return share_needs(self.share, self.confidence)

    def judge(self, history: History, window: Window) -> Finding:
        """Take the percentile or the share, and compare."""
        found = look(history, window, self.policy)
        return self._percentile(found, window) if self.objective.share is None else self._proportion(found, window)

    def _within(self, found: Look) -> int:
        limit = self.objective.value * 1e9
        return found.within(limit if self.objective.op == "<=" else math.nextafter(limit, 0.0))

    def _proportion(self, found: Look, window: Window) -> Finding:
        fast, n = self._within(found), found.valid
        ratio = fast / n if n else 0.0
        grade = decided(fast, n, self.share, self.confidence, window, met=ratio >= self.share)
        said = f"{render(ratio, 'ratio')} of {n} requests took {self._limit()}, wanted {render(self.share, 'ratio')}"
        because = self._told(found, said, grade, window)
        interval = clopper_pearson(fast, n, self.confidence or 0.95)
        return Finding(
            str(self), grade, because, window, ratio if n else None, self.share, "ratio", samples=n, interval=interval
        )

    def _percentile(self, found: Look, window: Window) -> Finding:
        times = Ranked(found.times_ns(), len(found.bad))
        measured = quantile(times, self.share) / 1e9 if len(times) else math.inf
        met = self.objective.met_by(measured)
        fast = 0 if self.confidence is None else self._within(found)
        grade = decided(fast, len(times), self.share, self.confidence, window, met=met)
        value = render(measured, "s") if math.isfinite(measured) else "a failed request, slower than anything"
        said = f"p{self.share * 100:g} of {len(times)} requests is {value}, wanted {self.objective}"
        return Finding(
            str(self),
            grade,
            self._told(found, said, grade, window),
            window,
            measured if math.isfinite(measured) else None,
            self.objective.value,
            "s",
            samples=len(times),
            interval=_finite_interval(times, self.share, self.confidence or 0.95),
        )

    def _limit(self) -> str:
        return ("at most " if self.objective.op == "<=" else "less than ") + render(self.objective.value, "s")

    def _told(self, found: Look, said: str, grade: Grade, window: Window) -> str:
        if not found.valid:
            return "no traffic: no request was sent in the window"
        said += f"; {len(found.bad)} failed" if found.bad else ""
        if grade is not Grade.INCONCLUSIVE:
            return said
        return f"{undecided(found.valid, self.share, self.confidence, window)}: {said}"

    def __str__(self) -> str:
        return qualified(f"latency {self.objective}", self)


def _finite_interval(times: Ranked, q: float, confidence: float) -> tuple[float, float] | None:
    """The interval in seconds; None when there is nothing, or when it has no upper end."""
    if not len(times):
        return None
    low, high = quantile_interval(times, q, confidence)
    return (low / 1e9, high / 1e9) if math.isfinite(high) else None
