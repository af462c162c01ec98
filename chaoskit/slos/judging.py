"""The border around a judging SLO: whatever it raises becomes a finding, and missing evidence bars a conclusion. Decides nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from chaoskit.model.history import History
from chaoskit.model.objective import render
from chaoskit.model.seams import SLO
from chaoskit.model.verdict import Finding, Grade, Window
from chaoskit.slos.control import against_control
from chaoskit.slos.generator import undercounted
from chaoskit.slos.missing import gaps, missing
from chaoskit.slos.statistics import one_sided


def judged(slo: SLO, history: History, window: Window | None = None) -> Finding:
    """The finding of one SLO over the window given, else the worst over its own windows, one per round. Never raises.

    An SLO that crashes is INCONCLUSIVE. So is one whose evidence is missing, with the reason and what it would have found.
    """
    windows = history.windows(slo.over) if window is None else [window]
    if not windows:
        return Finding(str(slo), Grade.INCONCLUSIVE, f"the run has no {slo.over} window: it ended before")
    findings = [_judged_over(slo, history, each) for each in windows]
    return findings[0] if len(findings) == 1 else _over_rounds(findings)


def _judged_over(slo: SLO, history: History, window: Window) -> Finding:
    lacking = None
    try:
        lacking = missing(slo, history, window)
        found = slo.judge(history, window)
        if lacking is None:
            found = _weighed(slo, history, window, found)
    except Exception as error:  # noqa: BLE001 - the border: a crashing SLO is a recorded fact, not the end of the judgement
        because = lacking or f"the SLO itself failed: {type(error).__name__}: {error}"
        return Finding(str(slo), Grade.INCONCLUSIVE, because, window)
    return found if lacking is None else _barred(found, lacking)


def _weighed(slo: SLO, history: History, window: Window, found: Finding) -> Finding:
    """The finding, unless something speaks against a PASS or a FAIL in particular."""
    if found.grade is Grade.FAIL and "traffic" in slo.needs and history.control is not None:
        found = against_control(slo, history, window, found)
    if found.grade is Grade.PASS and "traffic" in slo.needs and (why := undercounted(history, window)) is not None:
        return _barred(found, why)
    deaf_s, why = gaps(slo, history, window)
    return found if not deaf_s else _uncertain(found, deaf_s, why)


def _uncertain(found: Finding, deaf_s: float, why: str) -> Finding:
    """A gap makes a time uncertain by its own length: a conclusion stands when it would be the same with all of the gap on the other side."""
    if found.unit == "s" and found.measured is not None and found.limit is not None:
        stands = {
            Grade.PASS: found.measured + deaf_s <= found.limit,
            Grade.FAIL: found.measured - deaf_s > found.limit,
            Grade.INCONCLUSIVE: False,
        }
        if stands[found.grade]:
            least, most = found.interval or (found.measured, found.measured)
            interval = (max(0.0, least - deaf_s), most + deaf_s)
            return replace(
                found, because=f"{found.because}; {why}, which leaves it uncertain by as much", interval=interval
            )
    return _barred(found, why)


def _barred(found: Finding, lacking: str) -> Finding:
    if found.measured is None:
        return replace(found, grade=Grade.INCONCLUSIVE, because=lacking)
    would_be = f"would have been {found.grade.name} with {render(found.measured, found.unit)}"
    return replace(found, grade=Grade.INCONCLUSIVE, because=f"{lacking}; {would_be}")


def _over_rounds(findings: Sequence[Finding]) -> Finding:
    """The worst round's finding, and how it was in all of them. The injection is what is independent, so it is what is counted."""
    worst = max(findings, key=lambda finding: (finding.grade, finding.measured or 0.0))
    values = tuple(finding.measured for finding in findings)
    place = f"round {findings.index(worst) + 1} of {len(findings)}: " if worst.grade is not Grade.PASS else ""
    return replace(worst, because=f"{place}{worst.because}; {_distribution(findings, worst.unit)}", rounds=values)


def _distribution(findings: Sequence[Finding], unit: str) -> str:
    values = sorted(finding.measured for finding in findings if finding.measured is not None)
    broken = sum(finding.grade is Grade.FAIL for finding in findings)
    decided = sum(finding.grade is not Grade.INCONCLUSIVE for finding in findings)
    said = f"over {len(findings)} injections"
    if values:
        low, middle, high = (render(value, unit) for value in (values[0], median(values), values[-1]))
        said += f" {low} to {high}, median {middle}"
    if decided:
        said += f", {broken} of {decided} broke it: at most {render(one_sided(broken, decided)[1], 'ratio')} would (95 % sure)"
    return said
