"""`errorRate: "of v2 <= 1%"`, or "of canary <= stable + 0.5%": failures of those who answered. Reads requests, returns a finding; never looks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass as value
from typing import Any, ClassVar, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.objective import Cohort, ConfidenceField, OptionalObjectiveField
from chaoskit.model.requests import Requests
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.units import OptionalRatioField, render_ratio
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.model.written import by_default
from chaoskit.slos.canary import canary_names
from chaoskit.slos.deciding import decided, share_needs, undecided
from chaoskit.slos.responses import look
from chaoskit.slos.stated import qualified, unite
from chaoskit.slos.statistics import clopper_pearson, fisher_greater, samples_for_confidence
from chaoskit.slos.windows import Over, since_injection

CONFIDENCE = 0.95
"""How sure a comparison has to be where the author does not say."""

CANARY, STABLE = "canary", "stable"
"""Words for versions: the pods of the Deployment that the fault created, and all others."""

_TEXT = re.compile(
    r"(?:of\s+(?P<version>\S+)\s+)?(?P<op><=|<)\s*(?P<limit>\S+)(?:\s*\+\s*(?P<margin>\S+))?(?P<rest>.*)\Z", re.DOTALL
)
_REST = re.compile(
    r"(?:\s+on\s+(?P<policy>\S+))?(?:\s+with\s+confidence\s+(?P<confidence>\S+))?(?:\s+over\s+(?P<over>\S+))?\s*\Z"
)


@value(frozen=True, slots=True)
class Arm:
    """The requests one version answered, and how many of them failed."""

    n: int
    failed: int

    @property
    def rate(self) -> float:
        return self.failed / self.n if self.n else 0.0

    def __str__(self) -> str:
        return f"{self.failed} of {self.n} ({render_ratio(self.rate)})"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ErrorRate:
    """The share of failed requests: of all, or of those that one version answered, below a limit or not above another version's and a margin.

    Of a version only requests count that say who answered; one that got no answer is nobody's. Below a limit: decided as availability is. Compared:
    Fisher's exact test, one-sided, the other version being granted the margin on top of its own failures; FAIL when it is that sure
    (95 % unless said otherwise) that the version fails more often, PASS when it is that sure that it fails less often, else INCONCLUSIVE. `canary`
    and `stable` mean the pods of the Deployment that the fault created, and all others.
    """

    kind: ClassVar[str] = "errorRate"
    needs: ClassVar[frozenset[str]] = frozenset({"traffic", "generator"})
    steady: ClassVar[bool] = False
    text_field: ClassVar[str] = "objective"
    example: ClassVar[str] = 'write it as "<= 1%", "of v2 <= 1%" or "of canary <= stable + 0.5%"'

    objective: OptionalObjectiveField = by_default(None)
    """How large it may be, as "<= 1%"; or `against`."""
    version: str | None = None
    """Whose: a version as the responses name it, canary or stable; by default everybody's."""
    against: str | None = None
    """The version to compare with, instead of an objective."""
    margin: OptionalRatioField = by_default(None)
    """How much larger than the other's it may be, as "0.5%"."""
    over: Over = "fault"
    """The window: baseline, fault, recovery or run."""
    policy: Cohort | None = None
    """Only requests on connections of that policy: fresh, reuse, or each with a finding of its own; all of them by default."""
    confidence: ConfidenceField = by_default(None)
    """How sure the answer must be of other runs too; a comparison is 95 % sure by default, a limit speaks of this run."""

    @classmethod
    def fields_of(cls, text: str) -> Mapping[str, Any]:
        """The fields of the text form."""
        match = _TEXT.match(text.strip())
        rest = None if match is None else _REST.match(match["rest"])
        if match is None or rest is None:
            return {"objective": text}
        fields = {"version": match["version"], "margin": match["margin"], **rest.groupdict()}
        key, said = (
            ("objective", f"{match['op']} {match['limit']}")
            if match["limit"].endswith("%")
            else ("against", match["limit"])
        )
        return {name: field for name, field in {**fields, key: said}.items() if field is not None}

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.objective is None) == (self.against is None):
            raise ValueError(
                'errorRate needs an objective such as "<= 1%", or a version to compare with: one of the two'
            )
        if self.against is not None and (self.version is None or self.margin is None or self.margin <= 0):
            raise ValueError(
                'a comparison needs the version it is about and a margin above 0%, such as "of canary <= stable + 0.5%": '
                "without a margin no number of requests would show that two rates are alike"
            )
        if self.objective is not None:
            fits = self.objective.unit == "ratio" and self.objective.op in ("<", "<=")
            if (
                not fits
                or self.objective.quantile is not None
                or self.objective.share is not None
                or self.margin is not None
            ):
                raise ValueError(f'errorRate is a share not exceeded, such as "<= 1%"; not "{self.objective}"')
            unite(self, self.objective)
        return self

    @property
    def also_needs(self) -> frozenset[str]:
        """Identity where it is about a version, and the pods where that is a word for some."""
        if {self.version, self.against} & {CANARY, STABLE}:
            return frozenset({"identity", "pods", "workloads"})
        return frozenset() if self.version is None else frozenset({"version"})

    def bound(self, subject: Subject) -> Bound | None:
        """None: an objective has no time limit."""
        return None

    def samples_needed(self) -> int:
        """How many requests of the version it takes to be decided when none fails."""
        if self.objective is not None:
            return share_needs(1 - self.objective.value, self.confidence)
        return samples_for_confidence(1 - (self.margin or 0.0), self.confidence or CONFIDENCE)

    def judge(self, history: History, window: Window) -> Finding:
        """Count per version, and compare."""
        looked_at = window if self.over == "baseline" else since_injection(history, window) or window
        mine = self._arm(history, looked_at, self.version)
        if not mine.n:
            whose = "" if self.version is None else f" of {self.version}"
            return Finding(str(self), Grade.INCONCLUSIVE, f"no request{whose} was answered in the window", window)
        if self.against is not None:
            return self._compared(mine, self._arm(history, looked_at, self.against), window)
        assert self.objective is not None
        target = 1 - self.objective.value
        grade = decided(
            mine.n - mine.failed, mine.n, target, self.confidence, window, met=self.objective.met_by(mine.rate)
        )
        said = f"{mine} failed, wanted {self.objective}"
        if grade is Grade.INCONCLUSIVE:
            said = f"{undecided(mine.n, target, self.confidence, window)}: {said}"
        return self._finding(grade, said, mine, self.objective.value, window)

    def _compared(self, mine: Arm, other: Arm, window: Window) -> Finding:
        assert self.margin is not None
        if not other.n:
            return Finding(
                str(self), Grade.INCONCLUSIVE, f"no request of {self.against} was answered in the window", window
            )
        alpha = 1 - (self.confidence or CONFIDENCE)
        granted = other.failed + self.margin * other.n
        more = fisher_greater(mine.failed, mine.n, min(other.n, round_up(granted)), other.n)
        less = fisher_greater(min(other.n, int(granted + 1e-9)), other.n, mine.failed, mine.n)
        said = f"{self.version}: {mine} failed, {self.against}: {other}, margin {render_ratio(self.margin)}"
        limit = min(1.0, other.rate + self.margin)
        if more <= alpha:
            return self._finding(Grade.FAIL, f"{said}: by chance with p = {more:.2g} only", mine, limit, window)
        if less <= alpha:
            return self._finding(Grade.PASS, said, mine, limit, window)
        return self._finding(
            Grade.INCONCLUSIVE, f"too few requests to tell the two apart with this margin: {said}", mine, limit, window
        )

    def _finding(self, grade: Grade, because: str, mine: Arm, limit: float, window: Window) -> Finding:
        interval = clopper_pearson(mine.failed, mine.n, self.confidence or CONFIDENCE)
        return Finding(str(self), grade, because, window, mine.rate, limit, "ratio", samples=mine.n, interval=interval)

    def _arm(self, history: History, window: Window, version: str | None) -> Arm:
        found = look(history, window, self.policy)
        if version is None:
            return Arm(found.valid, len(found.bad))
        column, wanted = _meant(history, window, found.requests, version)
        rows = getattr(found.requests, column)
        unsent = sum(1 for i in found.unsent if rows[i] in wanted)
        return Arm(sum(map(rows.count, wanted)) - unsent, sum(1 for i in found.bad if rows[i] in wanted))

    def __str__(self) -> str:
        of = "" if self.version is None else f" of {self.version}"
        than = (
            str(self.objective) if self.against is None else f"<= {self.against} + {render_ratio(self.margin or 0.0)}"
        )
        return qualified(f"errorRate{of} {than}", self)


def _meant(history: History, window: Window, requests: Requests, version: str) -> tuple[str, frozenset[int]]:
    """The column in which the version stands, and its numbers there."""
    if version not in (CANARY, STABLE):
        return "version", frozenset(i for i, name in enumerate(requests.tables["version"]) if i and name == version)
    canary = canary_names(history, window)
    is_canary = version == CANARY
    return "pod", frozenset(i for i, name in enumerate(requests.tables["pod"]) if i and (name in canary) == is_canary)


def round_up(count: float) -> int:
    """The next whole number, unless it is one but for the last digit."""
    return int(-(-(count - 1e-9) // 1))
