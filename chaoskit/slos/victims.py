"""What each switched pod did, folded into one finding. Collects; the SLOs decide what is good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.resource import Obj
from chaoskit.model.timeline import Timeline
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.slos.steps import StepFate, step_fates


@dataclass(frozen=True, slots=True)
class Assessment:
    """One pod's part in a promise. `measured_s` is what is compared with the bound."""

    grade: Grade
    because: str
    measured_s: float | None = None
    bound: Bound | None = None
    shown_by: tuple[int, ...] = ()


def together(slo: str, window: Window, assessed: Sequence[Assessment], nobody: str) -> Finding:
    """The worst assessment as the finding, the slowest of several equal ones; the others are named. `nobody`: why there is none."""
    if not assessed:
        return Finding(slo, Grade.INCONCLUSIVE, nobody, window)
    worst = max(assessed, key=lambda one: (one.grade, one.measured_s or 0.0))
    because = "; ".join([worst.because, *(one.because for one in assessed if one is not worst)])
    return Finding(
        slo,
        worst.grade,
        because,
        window,
        worst.measured_s,
        worst.bound.seconds if worst.bound else None,
        "s",
        worst.bound,
        len(assessed),
        shown_by=worst.shown_by,
    )


def pod_over_time(history: History, fate: StepFate) -> Timeline[Obj | None]:
    """The victim as watched, by its uid; empty when it was never seen."""
    return history.objects("pods").each().get(fate.ref.uid, Timeline())


def pod_before(history: History, fate: StepFate) -> Obj | None:
    """The victim as it was when the step was intended, else as the survey found it."""
    watched = pod_over_time(history, fate).at(fate.intended.t_ns)
    if watched is not None:
        return watched
    return next((pod for pod in history.subject.pods if pod["metadata"]["uid"] == fate.ref.uid), None)


def seconds_between(start_ns: int, end_ns: int) -> float:
    """The seconds from one time to a later one; 0 when it is not later."""
    return max(0, end_ns - start_ns) / 1e9


def touched_pods(history: History, round: int = 0) -> Sequence[Obj]:
    """The pods that a round's accepted steps were aimed at, each as it was before; of a node that was touched nothing but what was evicted."""
    fates = [fate for fate in step_fates(history) if fate.round == round and fate.ref.kind == "Pod" and fate.accepted]
    found = (pod_before(history, fate) for fate in fates)
    return [pod for pod in found if pod is not None]
