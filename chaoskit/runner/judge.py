"""From a closed journal to a verdict. Reads a run folder; talks to no cluster and knows nothing else.

Premises first: not injected, or no sound baseline, and the verdict is INCONCLUSIVE whatever else was found; a sick generator or a gap in a
feed bars PASS finding by finding; else the worst finding wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chaoskit.model.history import History
from chaoskit.model.seams import SLO
from chaoskit.model.verdict import Finding, Grade, Restored, Verdict, worst
from chaoskit.runner.folder import EXPERIMENT, read_history
from chaoskit.runner.load import load_recorded
from chaoskit.runner.plan import promises_of
from chaoskit.slos.evidence import premises
from chaoskit.slos.judging import judged


def judge(history: History, slos: Sequence[SLO]) -> Verdict:
    """The verdict over a history."""
    grounds = tuple(premises(history, slos))
    findings = tuple(judged(slo, history) for slo in slos)
    broken = any(finding.grade is not Grade.PASS for finding in grounds)
    if not broken:
        findings = (*_cut_short(history), *findings)
    grade = Grade.INCONCLUSIVE if broken else worst(findings)
    return Verdict(grade, (*grounds, *_aborts(history)), findings, restored(history))


def judge_folder(folder: Path) -> tuple[History, Verdict]:
    """History and verdict of a saved run. Raises UsageError when the folder is no run folder."""
    history = read_history(folder)
    experiment = load_recorded(folder / EXPERIMENT)
    named = history.plan.get("identity")
    slos, _ = promises_of(experiment, history.subject, None if named is None else tuple(named))
    return history, judge(history, slos)


def restored(history: History) -> Restored:
    """What the journal says of the undo: a run that changed nothing is restored; one that never ended is unknown."""
    for event in reversed(history.of("run.ended")):
        said: Restored = event.data["restored"]
        return said
    return "unknown" if history.of("stage.intended") else "yes"


def _cut_short(history: History) -> list[Finding]:
    """A run that did not come to its end cannot PASS: what it would have shown is not known. What it did show of a breach stays a FAIL."""
    ended = history.of("run.ended")
    if not ended:
        return [
            Finding(
                "completed", Grade.INCONCLUSIVE, "the run never ended: its process was killed or its journal is cut"
            )
        ]
    why = ended[-1].data.get("because")
    return [Finding("completed", Grade.INCONCLUSIVE, f"the run was stopped early: {why}")] if why else []


def _aborts(history: History) -> list[Finding]:
    """The guards that aborted the run, as findings; they are premises that hold, told for the reader."""
    return [Finding(f"guard {event.data['slo']}", Grade.PASS, event.data["because"]) for event in history.of("guard")]
