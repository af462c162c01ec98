"""What a judgement is made of: windows, bounds as sums of reasons, findings, the verdict. Values only; nothing here judges."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Restored = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open stretch of time. `name` is baseline, fault, recovery or run; one per round when a fault repeats."""

    name: str
    round: int
    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def holds(self, t_ns: int) -> bool:
        return self.start_ns <= t_ns < self.end_ns

    def widened(self, by_s: float) -> Window:
        """The window with as much more on both sides: for what was stamped by a clock that may be that far off."""
        more = round(by_s * 1e9)
        return Window(self.name, self.round, self.start_ns - more, self.end_ns + more)


class Grade(enum.IntEnum):
    """The three answers; the greater is the worse."""

    PASS = 0
    INCONCLUSIVE = 1
    FAIL = 2


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of a bound. `source` is a field path of the live object, "measured (n=3)" or "assumed (flag=value)"."""

    seconds: float
    why: str
    source: str

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s {self.why} ({self.source})"


@dataclass(frozen=True, slots=True)
class Bound:
    """How soon and how late something may happen, as sums of terms. Earlier than `earliest` is suspicious, later than `latest` is broken."""

    latest: tuple[Term, ...]
    earliest: tuple[Term, ...] = ()

    @property
    def seconds(self) -> float:
        """The latest time, in seconds."""
        return sum(term.seconds for term in self.latest)

    @property
    def earliest_s(self) -> float:
        return sum(term.seconds for term in self.earliest)

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s = " + " + ".join(str(term) for term in self.latest if term.seconds)


@dataclass(frozen=True, slots=True)
class Finding:
    """The judgement of one SLO over one window. `measured` and `limit` are in the SLO's own unit (seconds, ratio 0-1, or a count).

    `unit` says which: "s", "ratio", "count" or "". `shown_by` lists the seq of journal events that show it. `rounds`: where the fault was
    injected several times, what was measured in each round; the other fields are then those of the worst.
    """

    slo: str
    grade: Grade
    because: str
    window: Window | None = None
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    bound: Bound | None = None
    samples: int | None = None
    interval: tuple[float, float] | None = None
    shown_by: tuple[int, ...] = ()
    rounds: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Premises first: if one of them is not PASS the grade is INCONCLUSIVE, whatever else was found."""

    grade: Grade
    premises: tuple[Finding, ...]
    findings: tuple[Finding, ...]
    restored: Restored = "yes"

    @property
    def passed(self) -> bool:
        return self.grade is Grade.PASS and self.restored == "yes"

    @property
    def because(self) -> str:
        """The finding that decided, in words."""
        return deciding(self).because


def deciding(verdict: Verdict) -> Finding:
    """The first premise that fails, else the worst finding."""
    broken = [finding for finding in verdict.premises if finding.grade is not Grade.PASS]
    candidates = broken or list(verdict.findings) or list(verdict.premises)
    if not candidates:
        return Finding("verdict", verdict.grade, "nothing was judged")
    return max(candidates, key=lambda finding: finding.grade) if not broken else broken[0]


def worst(findings: Iterable[Finding]) -> Grade:
    """The worst grade; of nothing it is INCONCLUSIVE, because nothing was shown."""
    return max((finding.grade for finding in findings), default=Grade.INCONCLUSIVE)


def finding_to_json(finding: Finding) -> Mapping[str, Any]:
    """A finding as plain data, for verdict.json and `-o json`."""
    window = finding.window
    return {
        "slo": finding.slo,
        "grade": finding.grade.name,
        "because": finding.because,
        "window": None
        if window is None
        else {"name": window.name, "round": window.round, "seconds": round(window.seconds, 3)},
        "measured": finding.measured,
        "limit": finding.limit,
        "unit": finding.unit,
        "bound": None if finding.bound is None else bound_to_json(finding.bound),
        "samples": finding.samples,
        "interval": None if finding.interval is None else list(finding.interval),
        "shownBy": list(finding.shown_by),
        **({"rounds": list(finding.rounds)} if finding.rounds else {}),
    }


def bound_to_json(bound: Bound) -> Mapping[str, Any]:
    def terms(of: tuple[Term, ...]) -> list[dict[str, Any]]:
        return [{"seconds": term.seconds, "why": term.why, "source": term.source} for term in of]

    return {"latest": terms(bound.latest), "earliest": terms(bound.earliest), "seconds": bound.seconds}


def verdict_to_json(verdict: Verdict) -> Mapping[str, Any]:
    """The verdict as plain data."""
    return {
        "verdict": verdict.grade.name,
        "restored": verdict.restored,
        "because": verdict.because,
        "premises": [finding_to_json(finding) for finding in verdict.premises],
        "findings": [finding_to_json(finding) for finding in verdict.findings],
    }
