"""`latency: "p95 < 300ms"`: a percentile of the response times of a window. Reads requests, returns a finding; never looks at the cluster."""

from __future__ import annotations

import math
from typing import ClassVar, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.objective import ObjectiveText, render
from chaoskit.model.requests import Requests
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.slos.availability import agree_on_window
from chaoskit.slos.responses import generator_errors, timeout_s
from chaoskit.slos.statistics import quantile, quantile_interval, samples_for_quantile
from chaoskit.slos.windows import Over, is_steady


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Latency:
    """A percentile of the time from a request's intended start to its whole response, over all requests that count.

    A failed request is slower than anything: were failures left out, a service could meet its latency by refusing the slow ones. When so many
    failed that the percentile is one of them, it has no number, and the objective is broken. Counted from the intended start, so that
    requests that had to wait behind an outage are as slow as their users found them. Percentile: type 7 over the raw values; interval: order
    statistics, 95 %. It takes enough requests to have one above the percentile (20 for p95), else INCONCLUSIVE.
    """

    kind: ClassVar[str] = "latency"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = True
    text_field: ClassVar[str] = "objective"
    example: ClassVar[str] = 'write it as "p95 < 300ms"'

    objective: ObjectiveText
    """Which percentile must be below what, as "p95 < 300ms"."""
    over: Over = "fault"
    """The window: baseline, fault, recovery or run."""

    @model_validator(mode="after")
    def _a_percentile(self) -> Self:
        fits = self.objective.unit == "s" and self.objective.op in ("<", "<=") and self.objective.quantile is not None
        if not fits:
            raise ValueError(
                f'latency is a percentile that stays below a time, such as "p95 < 300ms"; not "{self.objective}"'
            )
        object.__setattr__(self, "over", agree_on_window(self.objective, self.over))
        return self

    @property
    def quantile(self) -> float:
        """The percentile as a ratio."""
        assert self.objective.quantile is not None
        return self.objective.quantile

    def bound(self, subject: Subject) -> Bound | None:
        """None: an objective has no time limit."""
        return None

    def samples_needed(self) -> int:
        """How many requests it takes to be decided."""
        return samples_for_quantile(self.quantile)

    def judge(self, history: History, window: Window) -> Finding:
        """Sort, take the percentile, compare."""
        times = sorted_latencies(history.requests.within(window), timeout_s(history))
        needed = 1 if is_steady(window) else self.samples_needed()
        measured = quantile(times, self.quantile) / 1e9 if times else math.inf
        return Finding(
            str(self),
            self._grade(len(times), needed, measured),
            self._because(times, needed, measured),
            window,
            measured if math.isfinite(measured) else None,
            self.objective.value,
            "s",
            samples=len(times),
            interval=_finite_interval(times, self.quantile),
        )

    def _grade(self, n: int, needed: int, measured: float) -> Grade:
        if n < needed:
            return Grade.INCONCLUSIVE
        return Grade.PASS if self.objective.met_by(measured) else Grade.FAIL

    def _because(self, times: list[float], needed: int, measured: float) -> str:
        if not times:
            return "no traffic: no request was sent in the window"
        name = f"p{self.quantile * 100:g}"
        failed = sum(map(math.isinf, times))
        value = render(measured, "s") if math.isfinite(measured) else "a failed request, slower than anything"
        said = f"{name} of {len(times)} requests is {value}, wanted {self.objective}"
        said += f"; {failed} failed" if failed else ""
        return said if len(times) >= needed else f"too few requests to decide, {needed} are needed: {said}"

    def __str__(self) -> str:
        return f"latency {self.objective}" + ("" if self.over == "fault" else f" over {self.over}")


def sorted_latencies(requests: Requests, timeout_s: float) -> list[float]:
    """The response times of the requests that count, in nanoseconds and rising; a failed one is infinite."""
    limit, ours, never = round(timeout_s * 1e9), generator_errors(requests), math.inf
    columns = zip(requests.status, requests.intended_ns, requests.end_ns, requests.error, strict=True)
    return sorted(
        end - intended if 0 < status < 500 and end - intended <= limit else never
        for status, intended, end, error in columns
        if error not in ours
    )


def _finite_interval(times: list[float], q: float) -> tuple[float, float] | None:
    """The interval in seconds; None when there is nothing, or when it has no upper end."""
    if not times:
        return None
    low, high = quantile_interval(times, q)
    return (low / 1e9, high / 1e9) if math.isfinite(high) else None
