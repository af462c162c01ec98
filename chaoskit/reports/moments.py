"""The journal as a list of moments in words. Chooses and words them; judges nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.model.event import Event
from chaoskit.model.history import History
from chaoskit.model.operation import describe
from chaoskit.model.resource import Obj
from chaoskit.model.step import step_from_json
from chaoskit.model.timeline import Timeline
from chaoskit.reports.series import Axis, target_controllers
from chaoskit.semantics.owners import controller_uid, named
from chaoskit.semantics.pods import is_ready, is_terminating


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened. `seq` is the journal event that says so, None for what a feed showed."""

    at_s: float
    seq: int | None
    what: str
    words: str


def moments(history: History, axis: Axis) -> list[Moment]:
    """What happened, in order: phases, steps, guards, gaps, and how the target's pods fared."""
    told = [
        Moment(axis.seconds(event.t_ns), event.seq, event.kind, words)
        for event in history.events
        if (words := _words(event)) is not None
    ]
    return sorted([*told, *_of_pods(history, axis)], key=lambda moment: moment.at_s)


def _words(event: Event) -> str | None:
    """None for events that are no news to a reader."""
    data = event.data
    match event.kind:
        case "run.began":
            return f"run {data.get('run')} on {data.get('context')} ({data.get('server')}), seed {data.get('seed')}"
        case "phase":
            return str(data["name"])
        case "stage.intended":
            return "; ".join(f"{step['id']} {describe(step_from_json(step).do)}" for step in data["steps"])
        case "step.done":
            return f"{data['id']} was accepted ({data['status']})"
        case "step.undone":
            return f"{data['id']} {data['how']}: {data['because']}"
        case "step.refused" | "step.gone" | "step.seen" | "step.unseen":
            return f"{data['id']} {event.kind.removeprefix('step.')}: {data['because']}"
        case "gate" | "guard":
            return f"{data['slo']}: {data['grade']}: {data['because']}"
        case "feed.gap":
            return f"{data['feed']} was not heard: {data['because']}"
        case "traffic.began":
            untested = ", ".join(data.get("untested", ()))
            return f"traffic began; not tested for hidden retries: {untested}" if untested else "traffic began"
        case "traffic.ended":
            return f"traffic ended: {data.get('sent')} of {data.get('planned')} requests sent, {data.get('dropped')} dropped"
        case "run.ended":
            return f"restored: {data['restored']}" + (f"; {data['because']}" if data.get("because") else "")
        case _:
            return None


def _of_pods(history: History, axis: Axis) -> Iterator[Moment]:
    uids = target_controllers(history)
    for timeline in history.objects("pods").each().values():
        if any(pod is not None and (not uids or controller_uid(pod) in uids) for pod in timeline.values):
            yield from _of_pod(timeline, axis)


def _of_pod(timeline: Timeline[Obj | None], axis: Axis) -> Iterator[Moment]:
    """The changes of one pod's state; how it was found at the begin is no news."""
    name = next(named(pod) for pod in timeline.values if pod is not None)
    before: str | None = None
    for t_ns, pod in timeline.changes():
        state = _state(pod)
        at_s = axis.seconds(t_ns)
        if state != before and (before is not None or at_s > axis.start_s + 1):
            yield Moment(at_s, None, "pod", f"{name}: {state}")
        before = state


def _state(pod: Obj | None) -> str:
    if pod is None:
        return "gone"
    if is_terminating(pod):
        return "terminating"
    if is_ready(pod):
        return "ready"
    return "not ready" if pod["spec"].get("nodeName") else "waiting for a node"
