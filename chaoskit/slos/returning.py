"""`returnsToService`: an unready pod leaves its Service and comes back. Reads the feeds `pods` and `endpoints`; never looks at the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.resource import Obj
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.timeline import Timeline
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.semantics.bounds import leaves_service_bound, returns_to_service_bound
from chaoskit.semantics.pods import container_statuses, restart_count
from chaoskit.semantics.services import services_of
from chaoskit.slos.listed import listed_over_time
from chaoskit.slos.steps import StepFate, switched_pods
from chaoskit.slos.victims import Assessment, pod_before, pod_over_time, seconds_between, together
from chaoskit.slos.windows import Over

Listed = Sequence[Timeline[bool]]
"""Whether the pod was a ready endpoint, one timeline for each of its Services."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ReturnsToService:
    """Each pod whose readiness was made to fail stops being a ready endpoint of its Services within the leave bound, counted from when the fault
    was seen; is never restarted; and is a ready endpoint again within the return bound, counted from when the fault was undone.

    Without a readinessProbe the answer is FAIL: nothing would take it out. Undone, or ended, before the bounds had passed: INCONCLUSIVE.
    """

    kind: ClassVar[str] = "returnsToService"
    needs: ClassVar[frozenset[str]] = frozenset({"pods", "endpoints"})
    steady: ClassVar[bool] = False

    over: Over = "run"
    """The window: run, unless said otherwise."""

    def bound(self, subject: Subject) -> Bound | None:
        """The longest return bound of the victims; None when none of them has one."""
        bounds = [returns_to_service_bound(pod) for pod in subject.victim_pods()]
        return max((bound for bound in bounds if bound is not None), key=lambda bound: bound.seconds, default=None)

    def judge(self, history: History, window: Window) -> Finding:
        """Follow each victim."""
        services = {
            service["metadata"]["name"]: listed_over_time(history, service) for service in history.subject.services
        }
        assessed = [_assess(history, window, fate, services) for fate in switched_pods(history, window.round)]
        return together(str(self), window, assessed, "nothing was injected: no step switched anything in a pod")

    def __str__(self) -> str:
        return self.kind


def _assess(
    history: History, window: Window, fate: StepFate, services: Mapping[str, Mapping[str, Timeline[bool]]]
) -> Assessment:
    pod = pod_before(history, fate)
    if fate.seen is None or pod is None:
        return Assessment(Grade.INCONCLUSIVE, f"{fate.ref}: its fault was not seen")
    mine = [service["metadata"]["name"] for service in services_of(pod, history.subject.services)]
    listed = [services[name].get(fate.ref.uid, Timeline()) for name in mine]
    if not listed:
        return Assessment(Grade.INCONCLUSIVE, f"{fate.ref}: no Service selects it")
    leave = leaves_service_bound(pod)
    if leave is None:
        return _cannot_leave(window, fate, listed)
    return _changed(history, fate, pod, window) or _left(window, fate, pod, listed, leave)


def _cannot_leave(window: Window, fate: StepFate, listed: Listed) -> Assessment:
    assert fate.seen is not None
    end_ns = fate.undone.t_ns if fate.undone is not None else window.end_ns
    left_ns = _left_at(listed, fate.seen.t_ns, end_ns)
    stayed = seconds_between(fate.seen.t_ns, end_ns if left_ns is None else left_ns)
    because = (
        f"{fate.ref}: nothing would take it out of its service, no container has a readinessProbe; "
        f"it stayed a ready endpoint for {render_seconds(stayed)} of the fault"
    )
    return Assessment(Grade.FAIL, because, stayed, shown_by=(fate.seen.seq,))


def _changed(history: History, fate: StepFate, before: Obj, window: Window) -> Assessment | None:
    """A readiness failure must neither restart nor remove the pod."""
    for t_ns, pod in pod_over_time(history, fate).changes():
        if not fate.intended.t_ns < t_ns < window.end_ns:
            continue
        restarted = pod is not None and any(
            restart_count(pod, status["name"]) > restart_count(before, status["name"])
            for status in container_statuses(pod)
        )
        if pod is None or restarted:
            what = "was restarted" if restarted else "went away"
            after = seconds_between(fate.intended.t_ns, t_ns)
            because = f"{fate.ref}: it {what} {render_seconds(after)} after the step; a failing readiness probe must not do that"
            return Assessment(Grade.FAIL, because, after, shown_by=(fate.intended.seq,))
    return None


def _left(window: Window, fate: StepFate, pod: Obj, listed: Listed, leave: Bound) -> Assessment:
    assert fate.seen is not None
    shown = (fate.seen.seq,)
    until_ns = fate.undone.t_ns if fate.undone is not None else window.end_ns
    left_ns = _left_at(listed, fate.intended.t_ns, until_ns)
    failing = seconds_between(fate.seen.t_ns, until_ns if left_ns is None else left_ns)
    if left_ns is None:
        grade = Grade.FAIL if failing > leave.seconds else Grade.INCONCLUSIVE
        said = (
            "a ready endpoint still, " if grade is Grade.FAIL else "a ready endpoint still, but the fault lasted only "
        )
        return Assessment(
            grade,
            f"{fate.ref}: {said}{render_seconds(failing)} after the fault was seen; allowed {leave}",
            failing,
            leave,
            shown,
        )
    said = f"{fate.ref}: out of service {render_seconds(failing)} after the fault was seen"
    if failing > leave.seconds:
        return Assessment(Grade.FAIL, f"{said}; allowed {leave}", failing, leave, shown)
    return _back(window, fate, pod, listed, left_ns, f"{said} (allowed {render_seconds(leave.seconds)})")


def _back(window: Window, fate: StepFate, pod: Obj, listed: Listed, left_ns: int, said: str) -> Assessment:
    back = returns_to_service_bound(pod)
    if fate.undone is None or not fate.undone.lifted:
        return Assessment(Grade.INCONCLUSIVE, f"{said}; the fault was not undone, so it could not return", None, back)
    if back is None:
        return Assessment(Grade.INCONCLUSIVE, f"{said}; a readinessGate decides when it returns, so there is no bound")
    shown = (fate.undone.seq,)
    back_ns = _back_at(listed, max(left_ns, fate.undone.t_ns), window.end_ns)
    took = seconds_between(fate.undone.t_ns, window.end_ns if back_ns is None else back_ns)
    if back_ns is None:
        grade = Grade.FAIL if took > back.seconds else Grade.INCONCLUSIVE
        return Assessment(
            grade, f"{said}, not back {render_seconds(took)} after the fault ended; allowed {back}", took, back, shown
        )
    grade = Grade.PASS if took <= back.seconds else Grade.FAIL
    return Assessment(
        grade, f"{said}, back {render_seconds(took)} after the fault ended; allowed {back}", took, back, shown
    )


def _left_at(listed: Listed, from_ns: int, until_ns: int) -> int | None:
    """When the last of its Services stopped listing it; None when one never did."""
    times = [_first(line, False, from_ns, until_ns) for line in listed]
    return None if None in times else max(t for t in times if t is not None)


def _back_at(listed: Listed, from_ns: int, until_ns: int) -> int | None:
    """When the last of its Services listed it again; None when one never did."""
    times = [_first(line, True, from_ns, until_ns) for line in listed]
    return None if None in times else max(t for t in times if t is not None)


def _first(line: Timeline[bool], value: bool, from_ns: int, until_ns: int) -> int | None:
    if not line.times and not value:
        return from_ns  # it never was an endpoint at all
    return line.first(lambda listed: listed is value, from_ns, until_ns)
