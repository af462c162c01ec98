"""`restartedInPlace`: a pod whose liveness probe fails is restarted, in place and in time. Reads the feed `pods`; never looks at the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.resource import Obj
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.semantics.bounds import liveness_probe, liveness_restart_bound
from chaoskit.semantics.pods import (
    container_id,
    container_status,
    container_statuses,
    is_ready,
    is_terminating,
    restart_count,
)
from chaoskit.semantics.probes import probes_of
from chaoskit.slos.steps import StepFate, switched_pods
from chaoskit.slos.victims import Assessment, pod_before, pod_over_time, seconds_between, together
from chaoskit.slos.windows import Over


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RestartedInPlace:
    """Each pod whose liveness was made to fail keeps its uid, its container is restarted (restartCount grows, the containerID is new), and the
    pod is Ready again, all within the restart bound of its own probe, counted from when the fault was seen.

    A restart sooner than the probe could have asked for one, counted from the intent of the step, is INCONCLUSIVE: something else restarted
    the container, so the promise was not put to the test, and neither kept nor broken. Without a livenessProbe the answer is FAIL: nothing
    would restart it. Lifted, or ended, before the probe had to notice: INCONCLUSIVE.
    """

    kind: ClassVar[str] = "restartedInPlace"
    needs: ClassVar[frozenset[str]] = frozenset({"pods"})
    steady: ClassVar[bool] = False

    over: Over = "run"
    """The window: run, unless said otherwise."""

    def bound(self, subject: Subject) -> Bound | None:
        """The longest restart bound of the victims; None when none of them has one."""
        bounds = [liveness_restart_bound(pod, subject.pods) for pod in subject.victim_pods()]
        return max((bound for bound in bounds if bound is not None), key=lambda bound: bound.seconds, default=None)

    def judge(self, history: History, window: Window) -> Finding:
        """Follow each victim."""
        assessed = [_assess(history, window, fate) for fate in switched_pods(history, window.round)]
        return together(str(self), window, assessed, "nothing was injected: no step switched anything in a pod")

    def __str__(self) -> str:
        return self.kind


def _assess(history: History, window: Window, fate: StepFate) -> Assessment:
    pod = pod_before(history, fate)
    if fate.seen is None:
        return Assessment(Grade.INCONCLUSIVE, f"{fate.ref}: its fault was not seen")
    if pod is None:
        return Assessment(Grade.INCONCLUSIVE, f"{fate.ref}: the pod was never seen")
    if liveness_probe(pod) is None:
        return _unprotected(history, window, fate, pod)
    bound = liveness_restart_bound(pod, history.subject.pods or (pod,))
    if bound is None:
        return Assessment(
            Grade.INCONCLUSIVE, f"{fate.ref}: a readinessGate decides when it is ready, so there is no bound"
        )
    return _against(history, window, fate, pod, bound)


def _unprotected(history: History, window: Window, fate: StepFate, pod: Obj) -> Assessment:
    assert fate.seen is not None
    failing = seconds_between(fate.seen.t_ns, fate.undone.t_ns if fate.undone is not None else window.end_ns)
    everyone = [status["name"] for status in container_statuses(pod)]
    restart = _restart(history, fate, pod, everyone, window.end_ns)
    outcome = "it was not restarted" if restart is None else "something else restarted it"
    because = f"{fate.ref}: nothing would restart it, no container has a livenessProbe; failing for {render_seconds(failing)}, {outcome}"
    return Assessment(Grade.FAIL, because, failing, shown_by=(fate.seen.seq,))


def _against(history: History, window: Window, fate: StepFate, pod: Obj, bound: Bound) -> Assessment:
    assert fate.seen is not None
    probed = [container["name"] for container, _ in probes_of(pod, "livenessProbe")]
    restart_ns = _restart(history, fate, pod, probed, window.end_ns)
    if restart_ns is None:
        return _not_restarted(history, window, fate, pod, bound)
    shown = (fate.seen.seq,)
    soon = seconds_between(fate.intended.t_ns, restart_ns)
    if soon < bound.earliest_s:
        because = f"{fate.ref}: something else restarted it, {render_seconds(soon)} after the step; {bound.earliest[0]}"
        return Assessment(Grade.INCONCLUSIVE, because, soon, bound, shown)
    took = seconds_between(fate.seen.t_ns, restart_ns)
    said = f"{fate.ref}: restarted in place {render_seconds(took)} after the fault was seen"
    ready_ns = _ready_again(history, fate, restart_ns, window.end_ns)
    if ready_ns is None:
        waited = seconds_between(fate.seen.t_ns, window.end_ns)
        grade, end = (Grade.FAIL, "") if waited > bound.seconds else (Grade.INCONCLUSIVE, " when the window ended")
        return Assessment(
            grade,
            f"{said}, not ready again {render_seconds(waited)} after it{end}; allowed {bound}",
            waited,
            bound,
            shown,
        )
    total = seconds_between(fate.seen.t_ns, ready_ns)
    grade = Grade.PASS if total <= bound.seconds else Grade.FAIL
    return Assessment(grade, f"{said}, ready again after {render_seconds(total)}; allowed {bound}", total, bound, shown)


def _not_restarted(history: History, window: Window, fate: StepFate, pod: Obj, bound: Bound) -> Assessment:
    assert fate.seen is not None
    found = liveness_probe(pod)
    assert found is not None
    shown, waited = (fate.seen.seq,), seconds_between(fate.seen.t_ns, window.end_ns)
    gone_ns = _gone(history, fate, window.end_ns)
    if gone_ns is not None:
        after = seconds_between(fate.seen.t_ns, gone_ns)
        because = f"{fate.ref}: the pod itself went away {render_seconds(after)} after the fault was seen, instead of a restart in place"
        return Assessment(Grade.FAIL, because, after, bound, shown)
    lifted = fate.undone.t_ns if fate.undone is not None else window.end_ns
    failing = seconds_between(fate.seen.t_ns, lifted)
    notices = render_seconds(found[1].latest_s)
    if failing < found[1].latest_s:
        lasted = f"the fault lasted {render_seconds(failing)} only; the probe may take {notices} to notice"
        return Assessment(Grade.INCONCLUSIVE, f"{fate.ref}: not restarted, but {lasted}", failing, bound, shown)
    if waited <= bound.seconds:
        because = f"{fate.ref}: not restarted {render_seconds(waited)} after the fault was seen, when the window ended; allowed {bound}"
        return Assessment(Grade.INCONCLUSIVE, because, waited, bound, shown)
    return Assessment(
        Grade.FAIL, f"{fate.ref}: not restarted within {render_seconds(waited)}; allowed {bound}", waited, bound, shown
    )


def _restart(history: History, fate: StepFate, before: Obj, containers: Sequence[str], until_ns: int) -> int | None:
    """When one of the containers was first seen as a new instance in the same pod."""
    for t_ns, pod in pod_over_time(history, fate).changes():
        if (
            fate.intended.t_ns < t_ns < until_ns
            and pod is not None
            and any(_is_new(pod, before, name) for name in containers)
        ):
            return t_ns
    return None


def _is_new(pod: Obj, before: Obj, container: str) -> bool:
    if container_status(pod, container) is None or restart_count(pod, container) <= restart_count(before, container):
        return False
    return container_id(pod, container) != container_id(before, container)


def _ready_again(history: History, fate: StepFate, from_ns: int, until_ns: int) -> int | None:
    line = pod_over_time(history, fate)
    return line.first(lambda pod: pod is not None and is_ready(pod) and not is_terminating(pod), from_ns, until_ns)


def _gone(history: History, fate: StepFate, until_ns: int) -> int | None:
    line = pod_over_time(history, fate)
    return line.first(lambda pod: pod is None or is_terminating(pod), fate.intended.t_ns, until_ns)
