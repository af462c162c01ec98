"""`longestOutage: "< 2s"` and `totalOutage: "< 5s"`: how long users were not served. Reads requests, returns a finding; never looks at the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.objective import Cohort, Objective, ObjectiveField
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.units import RatioField, render_ratio, render_seconds
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.model.written import by_default
from chaoskit.slos.outages import HOLD_S, Outage, outages_of
from chaoskit.slos.responses import look
from chaoskit.slos.stated import qualified, unite
from chaoskit.slos.statistics import samples_for_ratio
from chaoskit.slos.windows import Over, since_injection


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LongestOutage:
    """The longest outage since the first mutation, between the limits that the requests around it set.

    At least from its first to its last bad request, less than from the good request before to the good one after. PASS when the greater meets the
    objective, FAIL when the smaller does not, INCONCLUSIVE between, or while an outage lasts whose limit has not passed.
    """

    kind: ClassVar[str] = "longestOutage"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = False
    text_field: ClassVar[str] = "objective"
    example: ClassVar[str] = 'write it as "< 2s"'

    objective: ObjectiveField
    """How long it may be, as "< 2s"."""
    availability: Annotated[RatioField, Field(gt=0)] = by_default(0.99)
    """A second with a smaller share of good requests is part of an outage."""
    over: Over = "run"
    """The window: run, unless said otherwise."""
    policy: Cohort | None = None
    """Only requests on connections of that policy: fresh, reuse, or each with a finding of its own; all of them by default."""

    @model_validator(mode="after")
    def _a_time(self) -> Self:
        _check(self.kind, self.objective)
        unite(self, self.objective, "run")
        return self

    def bound(self, subject: Subject) -> Bound | None:
        """None: the limit is the author's, not the cluster's."""
        return None

    def samples_needed(self) -> int:
        """How many requests it takes to be decided."""
        return samples_for_ratio(self.availability)

    def judge(self, history: History, window: Window) -> Finding:
        """Find the outages and take the longest."""
        return _judged(self, history, window, max)

    def __str__(self) -> str:
        return _said(self)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TotalOutage:
    """All outages since the first mutation together, between the limits that the requests around them set; graded as longestOutage is."""

    kind: ClassVar[str] = "totalOutage"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = False
    text_field: ClassVar[str] = "objective"
    example: ClassVar[str] = 'write it as "< 5s"'

    objective: ObjectiveField
    """How long they may be together, as "< 5s"."""
    availability: Annotated[RatioField, Field(gt=0)] = by_default(0.99)
    """A second with a smaller share of good requests is part of an outage."""
    over: Over = "run"
    """The window: run, unless said otherwise."""
    policy: Cohort | None = None
    """Only requests on connections of that policy: fresh, reuse, or each with a finding of its own; all of them by default."""

    @model_validator(mode="after")
    def _a_time(self) -> Self:
        _check(self.kind, self.objective)
        unite(self, self.objective, "run")
        return self

    def bound(self, subject: Subject) -> Bound | None:
        """None: the limit is the author's, not the cluster's."""
        return None

    def samples_needed(self) -> int:
        """How many requests it takes to be decided."""
        return samples_for_ratio(self.availability)

    def judge(self, history: History, window: Window) -> Finding:
        """Find the outages and add them up."""
        return _judged(self, history, window, sum)

    def __str__(self) -> str:
        return _said(self)


def _check(kind: str, objective: Objective) -> None:
    fits = objective.unit == "s" and objective.op in ("<", "<=")
    if not fits or objective.quantile is not None or objective.share is not None:
        raise ValueError(f'{kind} is a time that is not exceeded, such as "< 2s"; not "{objective}"')


def _said(slo: LongestOutage | TotalOutage) -> str:
    target = "" if slo.availability == 0.99 else f" (below {render_ratio(slo.availability)})"
    return qualified(f"{slo.kind} {slo.objective}{target}", slo, "run")


def _judged(slo: LongestOutage | TotalOutage, history: History, window: Window, together: Any) -> Finding:
    looked_at = window if slo.over == "baseline" else since_injection(history, window)
    if looked_at is None:
        return Finding(str(slo), Grade.INCONCLUSIVE, "nothing was injected in the window", window)
    answered = look(history, looked_at, slo.policy)
    if answered.valid < slo.samples_needed():
        because = f"too few requests to decide: {answered.valid}, {slo.samples_needed()} are needed"
        return Finding(str(slo), Grade.INCONCLUSIVE, because, window, samples=answered.valid)
    found = outages_of(answered, 1 - slo.availability)
    least = together([0.0, *(outage.least_s for outage in found)])
    most = together([0.0, *(least if outage.most_s is None else outage.most_s for outage in found)])
    grade, because = _graded(slo.objective, found, least, most, looked_at)
    return Finding(
        str(slo),
        grade,
        because,
        window,
        least,
        slo.objective.value,
        "s",
        samples=answered.valid,
        interval=(least, max(least, most)),
    )


def _graded(
    objective: Objective, found: Sequence[Outage], least: float, most: float, window: Window
) -> tuple[Grade, str]:
    if not found:
        return Grade.PASS, "no outage"
    said = f"{len(found)} outage{'s' if len(found) > 1 else ''}, {render_seconds(least)} to {render_seconds(most)}, wanted {objective}"
    if not objective.met_by(least):
        return Grade.FAIL, said
    quiet = (window.end_ns - found[-1].last_bad_ns) / 1e9
    if quiet < HOLD_S:
        return Grade.INCONCLUSIVE, f"the window ended {render_seconds(quiet)} after the last bad request: {said}"
    if not objective.met_by(most):
        return Grade.INCONCLUSIVE, f"the limit lies between; more requests a second would tell: {said}"
    return Grade.PASS, said
