"""`availability: ">= 99%"`: the share of good requests of a window. Reads requests, returns a finding; never looks at the cluster."""

from __future__ import annotations

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
from chaoskit.slos.responses import Look, complaints, look
from chaoskit.slos.stated import qualified, unite
from chaoskit.slos.statistics import clopper_pearson
from chaoskit.slos.windows import Over


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Availability:
    """The share of good requests, by intended start within the window.

    PASS or FAIL is a statement about this run: the share as counted against the objective. It needs 1 / (1 - objective) requests, so that
    a single failure need not break it; with fewer the finding is INCONCLUSIVE. The interval (Clopper-Pearson, 95 %) says how much it tells of
    other runs. With a confidence it is a statement about the service: PASS when it is that sure that the objective is met, FAIL when it is that
    sure that it is not, else INCONCLUSIVE. Over the baseline and while settling any number of requests will do.
    """

    kind: ClassVar[str] = "availability"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = True
    text_field: ClassVar[str] = "objective"
    example: ClassVar[str] = 'write it as ">= 99%"'

    objective: ObjectiveField
    """What share must be good, as ">= 99%"."""
    over: Over = "fault"
    """The window: baseline, fault, recovery or run."""
    policy: Cohort | None = None
    """Only requests on connections of that policy: fresh, reuse, or each with a finding of its own; all of them by default."""
    confidence: ConfidenceField = by_default(None)
    """How sure the answer must be of other runs too, as "95%"; by default it speaks of this run."""

    @model_validator(mode="after")
    def _a_share(self) -> Self:
        fits = self.objective.unit == "ratio" and self.objective.op in (">=", ">")
        if not fits or self.objective.quantile is not None or self.objective.share is not None:
            raise ValueError(f'availability is a share that is reached, such as ">= 99%"; not "{self.objective}"')
        unite(self, self.objective)
        return self

    def bound(self, subject: Subject) -> Bound | None:
        """None: an objective has no time limit."""
        return None

    def samples_needed(self) -> int:
        """How many requests it takes to be decided."""
        return share_needs(self.objective.value, self.confidence)

    def judge(self, history: History, window: Window) -> Finding:
        """Count, and compare with the objective."""
        found, target = look(history, window, self.policy), self.objective.value
        met = bool(found.valid) and self.objective.met_by(found.ratio)
        grade = decided(found.good, found.valid, target, self.confidence, window, met=met)
        return Finding(
            str(self),
            grade,
            self._because(found, grade, window),
            window,
            found.ratio if found.valid else None,
            target,
            "ratio",
            samples=found.valid,
            interval=clopper_pearson(found.good, found.valid, self.confidence or 0.95),
        )

    def _because(self, found: Look, grade: Grade, window: Window) -> str:
        if not found.valid:
            return "no traffic: no request was sent in the window"
        failed = f"; {len(found.bad)} failed: {complaints(found)}" if found.bad else ""
        said = f"{render(found.ratio, 'ratio')} of {found.valid} requests were good, wanted {self.objective}{failed}"
        if grade is not Grade.INCONCLUSIVE:
            return said
        return f"{undecided(found.valid, self.objective.value, self.confidence, window)}: {said}"

    def __str__(self) -> str:
        return qualified(f"availability {self.objective}", self)
