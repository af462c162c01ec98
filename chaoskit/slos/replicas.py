"""`replicasRestored`: a controller keeps its number of replicas. Reads the feeds `pods` and `workloads`; never looks at the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass as value
from typing import ClassVar

from pydantic.dataclasses import dataclass

from chaoskit.model.event import Event
from chaoskit.model.history import History
from chaoskit.model.resource import Obj
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.timeline import Census, Timeline
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.semantics.bounds import replacement_bound
from chaoskit.semantics.owners import controller_uid, desired, named, pods_of, roots
from chaoskit.semantics.pods import serves
from chaoskit.slos.windows import Over, is_steady, seconds, since_injection

Levels = tuple[int, int]
"""How many replicas serve, and how many are wanted."""


@value(frozen=True, slots=True)
class Shortfall:
    """A stretch in which a workload had fewer serving replicas than wanted. `disturbed_ns`: our last mutation in it, or its begin."""

    workload: str
    start_ns: int
    end_ns: int
    disturbed_ns: int
    fewest: Levels

    @property
    def allowed_for_ns(self) -> int:
        """How long it lasted since the last time we disturbed it."""
        return self.end_ns - self.disturbed_ns


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ReplicasRestored:
    """After every loss the workload has its replicas again: ready, not terminating, as many as spec.replicas says at that time.

    Counted from our first mutation on. A stretch below the number may last as long as the replacement bound, counted anew from each mutation
    of ours that falls into it: a drain evicts one pod after the other, a repeated kill takes the next. Over the baseline and while settling the
    number must hold throughout. INCONCLUSIVE: the window ended in a stretch whose bound had not passed yet, or the bound cannot be told.
    """

    kind: ClassVar[str] = "replicasRestored"
    needs: ClassVar[frozenset[str]] = frozenset({"pods", "workloads"})
    steady: ClassVar[bool] = True

    over: Over = "run"
    """The window: run, unless said otherwise."""

    def bound(self, subject: Subject) -> Bound | None:
        """The longest replacement bound of the target's workloads; None when one of them has none, or there is no workload."""
        bounds = [
            replacement_bound(pods_of(workload, subject.workloads, subject.pods), workload, subject.nodes)
            for workload in roots(subject.workloads)
        ]
        known = [bound for bound in bounds if bound is not None]
        return max(known, key=lambda bound: bound.seconds) if known and len(known) == len(bounds) else None

    def judge(self, history: History, window: Window) -> Finding:
        """Compare the longest stretch below the wanted number with the bound."""
        looked_at = window if is_steady(window) else since_injection(history, window)
        workloads = roots(history.subject.workloads)
        if looked_at is None:
            return Finding(str(self), Grade.INCONCLUSIVE, "nothing was injected in the window", window)
        if not workloads:
            return Finding(str(self), Grade.INCONCLUSIVE, "no Deployment or ReplicaSet controls the target", window)
        short = [found for workload in workloads for found in shortfalls(history, workload, looked_at)]
        if is_steady(window):
            return self._held(history, window, workloads, short)
        return self._restored(history, window, workloads, short)

    def _held(self, history: History, window: Window, workloads: Sequence[Obj], short: Sequence[Shortfall]) -> Finding:
        if not short:
            return Finding(
                str(self), Grade.PASS, _levels_now(history, workloads, window.end_ns - 1), window, 0.0, 0.0, "s"
            )
        worst = max(short, key=lambda found: found.end_ns - found.start_ns)
        lasted = seconds(worst.end_ns - worst.start_ns)
        return Finding(str(self), Grade.FAIL, f"{_ready(worst)} for {render_seconds(lasted)}", window, lasted, 0.0, "s")

    def _restored(
        self, history: History, window: Window, workloads: Sequence[Obj], short: Sequence[Shortfall]
    ) -> Finding:
        bound = self.bound(history.subject)
        if not short:
            because = f"never fewer replicas than wanted; {_levels_now(history, workloads, window.end_ns - 1)}"
            return Finding(str(self), Grade.PASS, because, window, 0.0, bound.seconds if bound else None, "s", bound)
        worst = max(short, key=lambda found: found.allowed_for_ns)
        lasted = seconds(worst.allowed_for_ns)
        grade, because = _verdict(worst, bound, open_at_end=worst.end_ns >= window.end_ns)
        still_open = [found for found in short if found.end_ns >= window.end_ns]
        if grade is Grade.PASS and still_open:
            grade, because = _verdict(still_open[0], bound, open_at_end=True)
        limit = bound.seconds if bound else None
        return Finding(str(self), grade, because, window, lasted, limit, "s", bound, shown_by=_shown_by(history, worst))

    def __str__(self) -> str:
        return self.kind


def _verdict(worst: Shortfall, bound: Bound | None, *, open_at_end: bool) -> tuple[Grade, str]:
    said = f"{_ready(worst)} for {render_seconds(seconds(worst.allowed_for_ns))}"
    if seconds(worst.disturbed_ns - worst.start_ns) >= 1:  # less is the way from an act to its answer
        said += f" after our last act ({render_seconds(seconds(worst.end_ns - worst.start_ns))} in all)"
    if bound is None:
        return Grade.INCONCLUSIVE, f"{said}; how long it may take cannot be told: a readinessGate decides"
    if seconds(worst.allowed_for_ns) > bound.seconds:
        return Grade.FAIL, f"{said}{' and not restored' if open_at_end else ''}; allowed {bound}"
    if open_at_end:
        return Grade.INCONCLUSIVE, f"{said}, not restored when the window ended, before the allowed {bound}"
    return Grade.PASS, f"{said}, then restored; allowed {bound}"


def _ready(short: Shortfall) -> str:
    return f"{short.workload}: {short.fewest[0]} of {short.fewest[1]} replicas ready"


def shortfalls(history: History, workload: Obj, window: Window) -> Sequence[Shortfall]:
    """The stretches within the window in which the workload had fewer serving replicas than wanted."""
    levels = levels_of(history, workload)
    acts = [event.t_ns for event in _acts(history) if window.holds(event.t_ns)]
    return [
        Shortfall(
            named(workload),
            span.start_ns,
            span.end_ns,
            max([span.start_ns, *(t for t in acts if span.start_ns <= t < span.end_ns)]),
            _fewest(levels, Window("", 0, span.start_ns, span.end_ns)),
        )
        for span in levels.spans(lambda level: level[0] < level[1], window)
    ]


def _fewest(levels: Timeline[Levels], window: Window) -> Levels:
    inside = [level for t_ns, level in levels.changes() if window.holds(t_ns)]
    at_start = levels.at(window.start_ns)
    return min([*([at_start] if at_start is not None else []), *inside], key=lambda level: level[0] - level[1])


def _shown_by(history: History, short: Shortfall) -> tuple[int, ...]:
    before = [event.seq for event in _acts(history) if event.t_ns <= short.disturbed_ns]
    return tuple(before[-1:])


def _acts(history: History) -> Sequence[Event]:
    """What changed the cluster: accepted steps, and undos that did something."""
    events = history.of("step.done", "step.undone")
    return [event for event in events if event.kind == "step.done" or event.data.get("how") == "undone"]


def _levels_now(history: History, workloads: Sequence[Obj], t_ns: int) -> str:
    levels = [(named(workload), levels_of(history, workload).at(t_ns) or (0, 0)) for workload in workloads]
    return ", ".join(f"{name}: {ready} of {wanted} replicas ready" for name, (ready, wanted) in levels)


def levels_of(history: History, workload: Obj) -> Timeline[Levels]:
    """(serving, wanted) replicas of a workload over time: its pods by controller uid chain, and its watched spec.replicas."""
    serving = owned(history, workload).count(serves)
    wanted = history.objects("workloads").each().get(workload["metadata"]["uid"], Timeline[Obj | None]())
    levels: Timeline[Levels] = Timeline()
    for t_ns in sorted({*serving.times, *wanted.times}):
        now = wanted.at(t_ns)
        levels.add(t_ns, (serving.at(t_ns) or 0, desired(workload if now is None else now)))
    return levels


def owned(history: History, workload: Obj) -> Census[Obj]:
    """The watched pods that the workload controls, itself or through any ReplicaSet seen or found."""
    root = workload["metadata"]["uid"]
    watched = (obj for line in history.objects("workloads").each().values() for obj in line.values if obj is not None)
    uids = {
        root,
        *(obj["metadata"]["uid"] for obj in (*history.subject.workloads, *watched) if controller_uid(obj) == root),
    }
    return history.objects("pods").only(lambda pod: controller_uid(pod) in uids)
