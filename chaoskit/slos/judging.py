"""The border around a judging SLO: whatever it raises becomes a finding, and missing evidence bars a conclusion. Decides nothing else."""

from __future__ import annotations

from dataclasses import replace

from chaoskit.model.history import History
from chaoskit.model.objective import render
from chaoskit.model.seams import SLO
from chaoskit.model.verdict import Finding, Grade, Window
from chaoskit.slos.missing import missing


def judged(slo: SLO, history: History, window: Window | None = None) -> Finding:
    """The finding of one SLO over the window given, else the worst over its own windows. Never raises.

    An SLO that crashes is INCONCLUSIVE. So is one whose evidence is missing, with the reason and what it would have found.
    """
    windows = history.windows(slo.over) if window is None else [window]
    if not windows:
        return Finding(str(slo), Grade.INCONCLUSIVE, f"the run has no {slo.over} window: it ended before")
    findings = [_judged_over(slo, history, each) for each in windows]
    return max(findings, key=lambda finding: finding.grade)


def _judged_over(slo: SLO, history: History, window: Window) -> Finding:
    lacking = None
    try:
        lacking = missing(slo, history, window)
        found = slo.judge(history, window)
    except Exception as error:  # noqa: BLE001 - the border: a crashing SLO is a recorded fact, not the end of the judgement
        because = lacking or f"the SLO itself failed: {type(error).__name__}: {error}"
        return Finding(str(slo), Grade.INCONCLUSIVE, because, window)
    return found if lacking is None else _barred(found, lacking)


def _barred(found: Finding, lacking: str) -> Finding:
    if found.measured is None:
        return replace(found, grade=Grade.INCONCLUSIVE, because=lacking)
    would_be = f"would have been {found.grade.name} with {render(found.measured, found.unit)}"
    return replace(found, grade=Grade.INCONCLUSIVE, because=f"{lacking}; {would_be}")
