"""`failed: "== 0"` and `budgetSpent: "<= 50% of 99.9%"`: how many requests failed. Reads requests, returns a finding; never looks at the cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.objective import Cohort, ObjectiveField, render
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.units import RatioField, render_ratio
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.slos.responses import complaints, look
from chaoskit.slos.stated import qualified, unite
from chaoskit.slos.statistics import samples_for_ratio
from chaoskit.slos.windows import Over, is_steady


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Failed:
    """The number of failed requests, by intended start within the window. A statement about this run; without any request INCONCLUSIVE."""

    kind: ClassVar[str] = "failed"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = True
    text_field: ClassVar[str] = "objective"
    example: ClassVar[str] = 'write it as "== 0"'

    objective: ObjectiveField
    """How many may fail, as "== 0" or "<= 3"."""
    over: Over = "fault"
    """The window: baseline, fault, recovery or run."""
    policy: Cohort | None = None
    """Only requests on connections of that policy: fresh, reuse, or each with a finding of its own; all of them by default."""

    @model_validator(mode="after")
    def _a_count(self) -> Self:
        fits = self.objective.unit == "count" and self.objective.op in ("==", "<=", "<")
        if not fits or self.objective.quantile is not None or self.objective.share is not None:
            raise ValueError(
                f'failed is a count that is not exceeded, such as "== 0" or "<= 3"; not "{self.objective}"'
            )
        unite(self, self.objective)
        return self

    def bound(self, subject: Subject) -> Bound | None:
        """None: an objective has no time limit."""
        return None

    def samples_needed(self) -> int:
        """How many requests it takes to be decided: one."""
        return 1

    def judge(self, history: History, window: Window) -> Finding:
        """Count, and compare."""
        found = look(history, window, self.policy)
        bad = len(found.bad)
        if not found.valid:
            return Finding(str(self), Grade.INCONCLUSIVE, "no traffic: no request was sent in the window", window)
        grade = Grade.PASS if self.objective.met_by(bad) else Grade.FAIL
        what = f": {complaints(found)}" if bad else ""
        because = f"{bad} of {found.valid} requests failed, wanted {self.objective}{what}"
        return Finding(
            str(self), grade, because, window, float(bad), self.objective.value, "count", samples=found.valid
        )

    def __str__(self) -> str:
        return qualified(f"failed {self.objective}", self)


_OF = re.compile(r"(?P<op><=|<)\s*(?P<spent>\S+)\s+of\s+(?P<target>\S+)(?P<rest>.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class BudgetSpent:
    """How much of the error budget of an availability target the failures of the window used up: bad / ((1 - target) x requests).

    A statement about this run: 100 % means that the window as a whole failed as often as the target allows. It takes 1 / (1 - target) requests.
    """

    kind: ClassVar[str] = "budgetSpent"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = False
    text_field: ClassVar[str] = "objective"
    example: ClassVar[str] = 'write it as "<= 50% of 99.9%"'

    objective: ObjectiveField
    """How much may be spent, as "<= 50%"."""
    target: Annotated[RatioField, Field(lt=1)]
    """The availability whose error budget it is, as "99.9%"."""
    over: Over = "run"
    """The window: run, unless said otherwise."""
    policy: Cohort | None = None
    """Only requests on connections of that policy: fresh, reuse, or each with a finding of its own; all of them by default."""

    @classmethod
    def fields_of(cls, text: str) -> Mapping[str, Any]:
        """The fields of the text form."""
        match = _OF.match(text.strip())
        if match is None:
            return {"objective": text}
        return {"objective": f"{match['op']} {match['spent']}{match['rest']}", "target": match["target"]}

    @model_validator(mode="after")
    def _a_share(self) -> Self:
        fits = self.objective.unit == "ratio" and self.objective.op in ("<", "<=")
        if not fits or self.objective.quantile is not None or self.objective.share is not None:
            raise ValueError(f'budgetSpent is a share not exceeded, such as "<= 50% of 99.9%"; not "{self.objective}"')
        unite(self, self.objective, "run")
        return self

    def bound(self, subject: Subject) -> Bound | None:
        """None: an objective has no time limit."""
        return None

    def samples_needed(self) -> int:
        """How many requests it takes to be decided."""
        return samples_for_ratio(self.target)

    def judge(self, history: History, window: Window) -> Finding:
        """Count, and compare with the budget."""
        found, needed = look(history, window, self.policy), 1 if is_steady(window) else self.samples_needed()
        if not found.valid:
            return Finding(str(self), Grade.INCONCLUSIVE, "no traffic: no request was sent in the window", window)
        budget = (1 - self.target) * found.valid
        spent = len(found.bad) / budget
        grade = Grade.PASS if self.objective.met_by(spent) else Grade.FAIL
        because = f"{len(found.bad)} of {found.valid} requests failed, {budget:.3g} are the budget of {render_ratio(self.target)}: "
        because += f"{render(spent, 'ratio')} spent, wanted {self.objective}"
        if found.valid < needed:
            grade, because = Grade.INCONCLUSIVE, f"too few requests to decide, {needed} are needed: {because}"
        return Finding(str(self), grade, because, window, spent, self.objective.value, "ratio", samples=found.valid)

    def __str__(self) -> str:
        return qualified(f"budgetSpent {self.objective} of {render_ratio(self.target)}", self, "run")
