"""`availability: ">= 99%"`: the share of good requests of a window. Reads requests, returns a finding; never looks at the cluster."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.objective import Objective, ObjectiveText, render
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.slos.responses import Tally, complaints, tally, timeout_s
from chaoskit.slos.statistics import clopper_pearson, samples_for_ratio
from chaoskit.slos.windows import Over, is_steady


def agree_on_window(objective: Objective, over: str) -> str:
    """The window named in the objective's text or beside it. Raises ValueError when the two differ."""
    if objective.over and over not in ("fault", objective.over):
        raise ValueError(
            f"the objective says over {objective.over}, the field beside it over {over}; expected one of them"
        )
    return objective.over or over


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Availability:
    """The share of good requests, by intended start within the window.

    PASS or FAIL is a statement about this run: the share as counted against the objective. It needs 1 / (1 - objective) requests, so that
    a single failure need not break it; with fewer the finding is INCONCLUSIVE. The interval (Clopper-Pearson, 95 %) says how much it tells of
    other runs. Over the baseline and while settling any number of requests will do.
    """

    kind: ClassVar[str] = "availability"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = True
    text_field: ClassVar[str] = "objective"
    example: ClassVar[str] = 'write it as ">= 99%"'

    objective: ObjectiveText
    """What share must be good, as ">= 99%"."""
    over: Over = "fault"
    """The window: baseline, fault, recovery or run."""

    @model_validator(mode="after")
    def _a_share(self) -> Self:
        fits = self.objective.unit == "ratio" and self.objective.op in (">=", ">") and self.objective.quantile is None
        if not fits:
            raise ValueError(f'availability is a share that is reached, such as ">= 99%"; not "{self.objective}"')
        object.__setattr__(self, "over", agree_on_window(self.objective, self.over))
        return self

    def bound(self, subject: Subject) -> Bound | None:
        """None: an objective has no time limit."""
        return None

    def samples_needed(self) -> int:
        """How many requests it takes to be decided."""
        return samples_for_ratio(self.objective.value)

    def judge(self, history: History, window: Window) -> Finding:
        """Count, and compare with the objective."""
        requests, timeout = history.requests.within(window), timeout_s(history)
        counted = tally(requests, timeout)
        needed = 1 if is_steady(window) else self.samples_needed()
        return Finding(
            str(self),
            self._grade(counted, needed),
            self._because(counted, needed, complaints(requests, timeout)),
            window,
            counted.ratio if counted.valid else None,
            self.objective.value,
            "ratio",
            samples=counted.valid,
            interval=clopper_pearson(counted.good, counted.valid),
        )

    def _grade(self, counted: Tally, needed: int) -> Grade:
        if counted.valid < needed:
            return Grade.INCONCLUSIVE
        return Grade.PASS if self.objective.met_by(counted.ratio) else Grade.FAIL

    def _because(self, counted: Tally, needed: int, why: str) -> str:
        if not counted.valid:
            return "no traffic: no request was sent in the window"
        failed = f"; {counted.bad} failed: {why}" if counted.bad else ""
        said = (
            f"{render(counted.ratio, 'ratio')} of {counted.valid} requests were good, wanted {self.objective}{failed}"
        )
        return said if counted.valid >= needed else f"too few requests to decide, {needed} are needed: {said}"

    def __str__(self) -> str:
        return f"availability {self.objective}" + ("" if self.over == "fault" else f" over {self.over}")
