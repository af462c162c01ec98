"""The premises of a verdict: the steady state held before the fault, the fault was injected, met somebody who was used, and lasted.

Reads the history; a broken premise is never FAIL.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.model.history import History
from chaoskit.model.seams import SLO
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Finding, Grade
from chaoskit.slos.judging import judged
from chaoskit.slos.lasting import lasted
from chaoskit.slos.missing import missing, needs_of
from chaoskit.slos.steps import StepFate, step_fates
from chaoskit.slos.use import in_use

__all__ = ["baseline", "injected", "missing", "premises"]


def premises(history: History, slos: Sequence[SLO]) -> tuple[Finding, ...]:
    """What must hold for the findings to mean anything, the one that comes first in a run first: "baseline", "injected", and where there is
    something to be said of them "in use" and "lasted".
    """
    about_users = any("traffic" in needs_of(slo) for slo in slos)
    more = (in_use(history) if about_users else None, lasted(history))
    return baseline(history, slos), injected(history), *(finding for finding in more if finding is not None)


def injected(history: History) -> Finding:
    """Every accepted step was seen, and at least one was accepted, or refused by a disruption budget: that is an answer too."""
    fates = step_fates(history)
    rounds = range(history.rounds) if history.rounds > 1 else [0]
    each = [_injection([fate for fate in fates if fate.round == number]) for number in rounds]
    grade, because = max(each, key=lambda one: one[0])
    if len(each) > 1:
        where = f"round {each.index((grade, because)) + 1} of {len(each)}: " if grade is not Grade.PASS else ""
        because = f"{where}{because}" if where else f"{len(each)} rounds, each: {because}"
    shown = tuple(fact.seq for fate in fates if (fact := fate.seen or fate.refused or fate.unseen) is not None)
    return Finding(
        "injected", grade, because, measured=float(sum(f.seen is not None for f in fates)), unit="count", shown_by=shown
    )


def _injection(fates: Sequence[StepFate]) -> tuple[Grade, str]:
    accepted = [fate for fate in fates if fate.accepted]
    unseen = [fate for fate in accepted if fate.seen is None]
    budget = [fate for fate in fates if fate.by_budget]
    if not fates:
        return Grade.INCONCLUSIVE, "not injected: no step was begun"
    if unseen:
        return Grade.INCONCLUSIVE, f"not injected: {_unseen(unseen[0])}"
    if not accepted and not budget:
        return Grade.INCONCLUSIVE, f"not injected: {_unaccepted(fates[0])}"
    refused = f", {len(budget)} refused by a disruption budget" if budget else ""
    return Grade.PASS, f"{len(accepted)} of {len(fates)} steps accepted and seen{refused}"


def _unseen(fate: StepFate) -> str:
    said = f": {fate.unseen.because}" if fate.unseen is not None and fate.unseen.because else ""
    return f"step {fate.id} ({fate.op} {fate.ref}) was accepted, but its effect was not seen{said}"


def _unaccepted(fate: StepFate) -> str:
    what = f"step {fate.id} ({fate.op} {fate.ref})"
    if fate.refused is not None:
        return f"{what} was refused with {fate.refused.status}: {fate.refused.because}"
    return f"{what} found its object gone" if fate.gone is not None else f"{what} was never answered"


def baseline(history: History, slos: Sequence[SLO]) -> Finding:
    """The steady SLOs held over the baseline, each with its evidence."""
    windows = history.windows("baseline")
    if not windows:
        why = "".join(f": {ended.data['because']}" for ended in history.of("run.ended") if ended.data["because"])
        return Finding("baseline", Grade.INCONCLUSIVE, f"the run did not reach its baseline{why}")
    steady = [slo for slo in slos if slo.steady]
    findings = [judged(slo, history, window) for window in windows for slo in steady]
    broken = [finding for finding in findings if finding.grade is not Grade.PASS]
    if broken:
        word = "breached" if broken[0].grade is Grade.FAIL else "not sound"
        because = "; ".join(f"{finding.slo}: {finding.because}" for finding in broken)
        return Finding("baseline", Grade.INCONCLUSIVE, f"baseline {word}: {because}", windows[0])
    held = ", ".join(finding.slo for finding in findings) or "no SLO speaks of the steady state"
    return Finding("baseline", Grade.PASS, f"held for {render_seconds(windows[0].seconds)}: {held}", windows[0])
