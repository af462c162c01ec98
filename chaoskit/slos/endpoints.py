"""`onlyReadyEndpoints`: a Service's ready endpoints are its ready pods. Reads the feeds `pods` and `endpoints`; never looks at the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as value
from typing import ClassVar

from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.resource import Obj
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.timeline import Timeline
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.semantics.bounds import propagation_bound
from chaoskit.semantics.pods import is_ready, is_terminating
from chaoskit.semantics.services import publishes_not_ready, selects
from chaoskit.slos.listed import expected_over_time, listed_over_time, names_of
from chaoskit.slos.windows import Over, is_steady, since_injection


@value(frozen=True, slots=True)
class Mismatch:
    """A stretch in which one pod was listed as ready and should not have been, or the other way round."""

    service: str
    pod: str
    listed: bool
    seconds: float
    is_open: bool

    def __str__(self) -> str:
        lasted = render_seconds(self.seconds)
        if self.listed:
            return f"service {self.service} listed pod {self.pod} as ready for {lasted} while it was not, or was on its way out"
        return f"pod {self.pod} was ready for {lasted} and no ready endpoint of service {self.service}"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OnlyReadyEndpoints:
    """The ready endpoints of each Service are exactly its ready pods that are not terminating (with publishNotReadyAddresses: all its pods).

    A pod may differ for as long as a change takes to spread, from our first mutation on; over the baseline and while settling not at all.
    Where responses name their pod, no request on a new connection may have been answered by a pod that was not ready for longer than that.
    Terminating pods are excused there: when every endpoint terminates, those that still serve are used (kubernetes.io, EndpointSlices).
    """

    kind: ClassVar[str] = "onlyReadyEndpoints"
    needs: ClassVar[frozenset[str]] = frozenset({"pods", "endpoints"})
    steady: ClassVar[bool] = True

    over: Over = "run"
    """The window: run, unless said otherwise."""

    def bound(self, subject: Subject) -> Bound | None:
        """The propagation bound; None without a Service."""
        return propagation_bound() if subject.services else None

    def judge(self, history: History, window: Window) -> Finding:
        """Compare slices with pods, then look who answered."""
        services = [service for service in history.subject.services if (service.get("spec") or {}).get("selector")]
        looked_at = window if is_steady(window) else since_injection(history, window)
        if not services:
            return Finding(str(self), Grade.INCONCLUSIVE, "no Service selects the target's pods", window)
        if looked_at is None:
            return Finding(str(self), Grade.INCONCLUSIVE, "nothing was injected in the window", window)
        bound = propagation_bound()
        found = [one for service in services for one in mismatches(history, service, looked_at)]
        worst = max(found, key=lambda one: one.seconds, default=None)
        allowed_s = 0.0 if is_steady(window) else bound.seconds
        grade, because = self._graded(worst, found, allowed_s, bound)
        answered = answered_while_out(history, services, looked_at, bound.seconds)
        if answered and grade is not Grade.FAIL:
            grade, because = Grade.FAIL, _told(answered, bound)
        measured = 0.0 if worst is None else worst.seconds
        n = len(history.requests.within(looked_at)) if any(history.requests.pod) else None
        return Finding(str(self), grade, because, window, measured, allowed_s, "s", bound, n)

    def _graded(
        self, worst: Mismatch | None, found: Sequence[Mismatch], allowed_s: float, bound: Bound
    ) -> tuple[Grade, str]:
        if worst is None:
            return Grade.PASS, "the ready endpoints were the ready pods throughout"
        if worst.seconds > allowed_s:
            return Grade.FAIL, f"{worst}; " + (f"allowed {bound}" if allowed_s else "nothing was done to it then")
        still = next((one for one in found if one.is_open), None)
        if still is not None:
            return Grade.INCONCLUSIVE, f"{still} when the window ended, before the allowed {bound}"
        return Grade.PASS, f"at worst {worst}; allowed {bound}"

    def __str__(self) -> str:
        return self.kind


def mismatches(history: History, service: Obj, window: Window) -> Sequence[Mismatch]:
    """The stretches within the window in which a pod's endpoint was not what the pod was."""
    expected, listed = expected_over_time(history, service), listed_over_time(history, service)
    names, of = names_of(history), service["metadata"]["name"]
    nothing: Timeline[bool] = Timeline()
    return [
        Mismatch(of, names.get(uid, uid), not span.value[0], span.seconds, span.end_ns >= window.end_ns)
        for uid in {*expected, *listed}
        for span in _both(expected.get(uid, nothing), listed.get(uid, nothing)).spans(_differ, window)
    ]


def _both(expected: Timeline[bool], listed: Timeline[bool]) -> Timeline[tuple[bool, bool]]:
    both: Timeline[tuple[bool, bool]] = Timeline()
    for t_ns in sorted({*expected.times, *listed.times}):
        both.add(t_ns, (bool(expected.at(t_ns)), bool(listed.at(t_ns))))
    return both


def _differ(both: tuple[bool, bool]) -> bool:
    return both[0] != both[1]


def answered_while_out(
    history: History, services: Sequence[Obj], window: Window, allowed_s: float
) -> Mapping[str, int]:
    """By pod name: how many requests on new connections it answered though it had not been ready for longer than allowed."""
    out = {name: spans for name, spans in _out_spans(history, services, window, allowed_s) if spans}
    requests = history.requests.within(window)
    pods = {i: name for i, name in enumerate(requests.tables["pod"]) if name in out}
    if not pods:
        return {}
    fresh = requests.index("policy", "fresh")
    counted = dict.fromkeys(pods.values(), 0)
    for pod, policy, status, start in zip(
        requests.pod, requests.policy, requests.status, requests.start_ns, strict=True
    ):
        if pod in pods and policy == fresh and status and any(low <= start < high for low, high in out[pods[pod]]):
            counted[pods[pod]] += 1
    return {name: count for name, count in counted.items() if count}


def _out_spans(
    history: History, services: Sequence[Obj], window: Window, allowed_s: float
) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    allowed_ns = round(allowed_s * 1e9)
    for line in history.objects("pods").each().values():
        pod = next((state for state in line.values if state is not None), None)
        mine = [service for service in services if pod is not None and selects(service, pod)]
        if pod is None or not mine or any(map(publishes_not_ready, mine)):
            continue
        spans = line.spans(
            lambda state: state is not None and not is_ready(state) and not is_terminating(state), window
        )
        yield (
            pod["metadata"]["name"],
            [(s.start_ns + allowed_ns, s.end_ns) for s in spans if s.end_ns - s.start_ns > allowed_ns],
        )


def _told(answered: Mapping[str, int], bound: Bound) -> str:
    pod, count = max(answered.items(), key=lambda item: item[1])
    return f"pod {pod} answered {count} requests on new connections though it was not ready; allowed after it became unready: {bound}"
