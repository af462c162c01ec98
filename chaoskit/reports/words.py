"""Numbers and names in words, the same in every report. Text in, text out."""

from __future__ import annotations

from chaoskit.model.history import History
from chaoskit.model.objective import render
from chaoskit.model.resource import Json
from chaoskit.model.verdict import Bound, Finding, Grade, Verdict

SIGNS = {Grade.PASS: "✓", Grade.FAIL: "✗", Grade.INCONCLUSIVE: "?"}
"""A shape for each grade: colour alone would not reach everybody."""

MEANING = {
    Grade.PASS: "every promise was kept",
    Grade.FAIL: "a promise was broken",
    Grade.INCONCLUSIVE: "nothing can be concluded from this run",
}


def measured(finding: Finding) -> str:
    """The measured value in its unit, or "-"."""
    return "-" if finding.measured is None else render(finding.measured, finding.unit)


def limit(finding: Finding) -> str:
    """The limit in its unit, or "-"."""
    return "-" if finding.limit is None else render(finding.limit, finding.unit)


def interval(finding: Finding) -> str:
    """The 95 % confidence interval, or ""."""
    if finding.interval is None:
        return ""
    low, high = finding.interval
    return f"{render(low, finding.unit)} to {render(high, finding.unit)}"


def bound_sum(bound: Bound | None) -> str:
    """A bound with its derivation, or ""."""
    return "" if bound is None else str(bound)


def bound_untold(finding: Finding) -> str:
    """The bound's sum where the finding's reason does not tell it already, or ""."""
    told = bound_sum(finding.bound)
    return "" if told in finding.because else told


def headline(verdict: Verdict) -> str:
    """The verdict in one line: grade, meaning, and what decided it."""
    if verdict.grade is Grade.PASS:
        return f"{verdict.grade.name}: {MEANING[verdict.grade]}"
    return f"{verdict.grade.name}: {verdict.because or MEANING[verdict.grade]}"


def began(history: History) -> Json:
    """What the journal says of the run's begin; empty when it says nothing."""
    return next((event.data for event in history.of("run.began")), {})


def clean(text: str) -> str:
    """The text without control characters: what comes from a cluster must not steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
