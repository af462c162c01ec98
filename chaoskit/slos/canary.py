"""`canaryContained`: a canary gets its share of the traffic and no more, only it fails, and once removed it is gone. Reads; judges.

Without a mesh the weight of a canary is its number of pods: a new connection goes to each ready endpoint alike, so c canary pods beside s
stable ones get c / (c + s) of them (kubernetes.io, Virtual IPs: kube-proxy picks a backend at random).
"""

from __future__ import annotations

from dataclasses import dataclass as value
from typing import ClassVar

from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.requests import Requests
from chaoskit.model.resource import Obj
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.timeline import Timeline
from chaoskit.model.units import render_ratio
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.semantics.bounds import propagation_bound, removal_bound
from chaoskit.semantics.pods import serves
from chaoskit.semantics.services import selects
from chaoskit.slos.replicas import owned
from chaoskit.slos.responses import generator_errors
from chaoskit.slos.statistics import binomial_tail, clopper_pearson
from chaoskit.slos.steps import StepFate, step_fates
from chaoskit.slos.windows import Over, since_injection

CHANCE = 0.001
"""A share that random balancing would exceed less often than this is no chance."""

STABLE_FAILURES = 0.001
"""The share of its own requests, and at least one request, that the stable pods may fail without it being the canary's doing."""

EXPECTED = 20.0
"""When a ready canary should have answered this many requests and answered none, the traffic does not reach it."""


@value(frozen=True, slots=True)
class Canary:
    """The created Deployment, the step that created it, and the names of its pods. `share`: the largest it may have while one is ready, else 0."""

    deployment: Obj
    step: StepFate
    pods: frozenset[str]
    gone_ns: int | None
    share: Timeline[float]


@value(frozen=True, slots=True)
class Counts:
    """Requests that said who answered, since the injection. On new connections while a canary pod was ready: `answered`, `by_canary` of them,
    and `expected`, how many of them it may have had on average. On any: `stable`, `stable_failed`. `late`: new ones after the removal."""

    answered: int = 0
    by_canary: int = 0
    expected: float = 0.0
    stable: int = 0
    stable_failed: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CanaryContained:
    """The canary's share of the answered requests on new connections is at most what c / (c + s) makes likely (one-sided binomial, 0.1 %).

    Counted while a canary pod is ready, at the largest share of the propagation bound before. Of the failures that say who answered, all are the
    canary's, but for 0.1 % of the stable pods' requests, or one. After its removal it answers no new connection beyond the removal bound.
    A canary that never became ready got nothing: contained, and said so. One that was ready and was never reached: INCONCLUSIVE.
    """

    kind: ClassVar[str] = "canaryContained"
    needs: ClassVar[frozenset[str]] = frozenset({"pods", "workloads", "traffic", "identity", "fresh"})
    steady: ClassVar[bool] = False

    over: Over = "run"
    """The window: run, unless said otherwise."""

    def bound(self, subject: Subject) -> Bound | None:
        """The removal bound."""
        return removal_bound()

    def judge(self, history: History, window: Window) -> Finding:
        """Find the canary, count who answered, compare."""
        looked_at, bound = since_injection(history, window), removal_bound()
        canary = None if looked_at is None else _canary(history, looked_at)
        if looked_at is None or canary is None:
            return Finding(
                str(self), Grade.INCONCLUSIVE, "no canary: no step created a Deployment that was then seen", window
            )
        counts = _counts(history.requests.within(looked_at), canary, bound)
        grade, because = self._graded(canary, counts, bound, window)
        share, allowed = _ratio(counts.by_canary, counts.answered), _ratio(counts.expected, counts.answered)
        interval = clopper_pearson(counts.by_canary, counts.answered)
        return Finding(
            str(self), grade, because, window, share, allowed, "ratio", bound, counts.answered, interval,
            (canary.step.intended.seq,),
        )  # fmt: skip

    def _graded(self, canary: Canary, counts: Counts, bound: Bound, window: Window) -> tuple[Grade, str]:
        broken = _broken(counts, bound)
        if broken is not None:
            return Grade.FAIL, broken
        share = f"the canary answered {counts.by_canary} of {counts.answered} requests on new connections"
        if not any(canary.share.values):
            return Grade.PASS, "contained: no canary pod ever became ready, so it answered no request"
        if not counts.by_canary and counts.expected >= EXPECTED:
            return (
                Grade.INCONCLUSIVE,
                f"{share}, {counts.expected:.0f} were to be expected: the traffic does not reach its Service",
            )
        undone = canary.step.undone
        removed_s = 0.0 if undone is None else (window.end_ns - undone.t_ns) / 1e9
        if canary.gone_ns is None and removed_s <= bound.seconds:
            return Grade.INCONCLUSIVE, f"{share}; when the window ended its pods were still there"
        got, allowed = _ratio(counts.by_canary, counts.answered), _ratio(counts.expected, counts.answered)
        stable = f"stable pods failed {counts.stable_failed} of {counts.stable}"
        return Grade.PASS, f"{share} ({render_ratio(got)}, its share {render_ratio(allowed)}); {stable}"

    def __str__(self) -> str:
        return self.kind


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


def _broken(counts: Counts, bound: Bound) -> str | None:
    """The first part of the promise that is broken, in words."""
    tolerated = max(1.0, STABLE_FAILURES * counts.stable)
    share = _ratio(counts.expected, counts.answered)
    if counts.late:
        return f"{counts.late} new connections were answered by the canary after its removal; allowed {bound}"
    if counts.by_canary > counts.expected and binomial_tail(counts.by_canary, counts.answered, share) < CHANCE:
        got = render_ratio(_ratio(counts.by_canary, counts.answered))
        return f"the canary answered {counts.by_canary} of {counts.answered} requests ({got}); its share of the pods is {render_ratio(share)}"
    if counts.stable_failed > tolerated:
        return f"{counts.stable_failed} of {counts.stable} requests failed on stable pods, tolerated {tolerated:.0f}: the failures are not the canary's alone"
    return None


def _canary(history: History, window: Window) -> Canary | None:
    created = (fate for fate in step_fates(history) if fate.op == "create" and fate.ref.kind == "Deployment")
    fate = next((fate for fate in created if fate.round == window.round), None)
    deployment = None if fate is None or not fate.accepted else _watched(history, fate)
    if fate is None or deployment is None:
        return None
    mine = owned(history, deployment)
    names = {pod["metadata"]["name"] for line in mine.each().values() for pod in line.values if pod is not None}
    uids = frozenset(mine.each())
    serving = mine.count(serves)
    stable = (
        history.objects("pods")
        .only(lambda pod: pod["metadata"]["uid"] not in uids and _behind(history, pod))
        .count(serves)
    )
    share = _largest(_shares(serving, stable), round(propagation_bound().seconds * 1e9))
    there = mine.count(lambda pod: True)
    undone_ns = window.end_ns if fate.undone is None else fate.undone.t_ns
    gone_ns = there.first(lambda n: n == 0, undone_ns, window.end_ns) if there.times else undone_ns
    return Canary(deployment, fate, frozenset(names), gone_ns, share)


def canary_names(history: History, window: Window) -> frozenset[str]:
    """The names of the pods of the Deployment that the fault created; none when it created none."""
    found = _canary(history, window)
    return frozenset() if found is None else found.pods


def _watched(history: History, fate: StepFate) -> Obj | None:
    """The Deployment of the step's name that appeared after its intent."""
    for line in history.objects("workloads").each().values():
        for t_ns, obj in line.changes():
            if obj is None or t_ns < fate.intended.t_ns or obj.get("kind") not in (None, "Deployment"):
                continue
            meta = obj["metadata"]
            if meta["name"] == fate.ref.name and meta.get("namespace", "") == fate.ref.namespace:
                return obj
    return None


def _behind(history: History, pod: Obj) -> bool:
    return any(selects(service, pod) for service in history.subject.services)


def _shares(canary: Timeline[int], stable: Timeline[int]) -> Timeline[float]:
    shares: Timeline[float] = Timeline()
    for t_ns in sorted({*canary.times, *stable.times}):
        c, s = canary.at(t_ns) or 0, stable.at(t_ns) or 0
        shares.add(t_ns, c / (c + s) if c else 0.0)
    return shares


def _largest(shares: Timeline[float], within_ns: int) -> Timeline[float]:
    """At each time the largest share of the stretch before it, which a connection may still find in force; 0 while no canary pod is ready."""
    ends = [*shares.times[1:], 1 << 62]
    pieces = [(start, end + within_ns, share) for (start, share), end in zip(shares.changes(), ends, strict=True)]
    largest: Timeline[float] = Timeline()
    for t_ns in sorted({*shares.times, *(end for _, end, _ in pieces[:-1])}):
        in_force = max(share for start, end, share in pieces if start <= t_ns < end)
        largest.add(t_ns, in_force if shares.at(t_ns) else 0.0)
    return largest


def _counts(requests: Requests, canary: Canary, bound: Bound) -> Counts:
    """One pass over the columns. Only new connections are balanced; where no policy says so, each request counts as one."""
    ours, names = generator_errors(requests), requests.tables["pod"]
    mine = frozenset(i for i, name in enumerate(names) if name in canary.pods)
    fresh = {i for i, policy in enumerate(requests.tables["policy"]) if policy == "fresh"} & set(requests.policy)
    undone = canary.step.undone
    late_ns = (1 << 62) if undone is None else undone.t_ns + round(bound.seconds * 1e9)
    stable = failed = late = 0
    fresh_ones: list[tuple[int, bool]] = []
    for pod, policy, status, start, error in zip(
        requests.pod, requests.policy, requests.status, requests.start_ns, requests.error, strict=True
    ):
        if not pod or not status or error in ours:
            continue
        is_mine = pod in mine
        if not fresh or policy in fresh:
            fresh_ones.append((start, is_mine))
            late += is_mine and start >= late_ns
        if not is_mine:
            stable += 1
            failed += status >= 500
    return Counts(*_split(canary.share, fresh_ones), stable, failed, late)


def _split(share: Timeline[float], fresh_ones: list[tuple[int, bool]]) -> tuple[int, int, float]:
    """(answered, by the canary, expected of it) while its share was above 0."""
    answered, by_canary, expected, i, now = 0, 0, 0.0, 0, 0.0
    for start, is_mine in sorted(fresh_ones):
        while i < len(share.times) and share.times[i] <= start:
            now = share.values[i]
            i += 1
        if now:
            answered, by_canary, expected = answered + 1, by_canary + is_mine, expected + now
    return answered, by_canary, expected
