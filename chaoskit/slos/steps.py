"""What became of the steps of a run, read off its events: intended, accepted, seen, refused, undone. Folds; judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chaoskit.model.event import Event
from chaoskit.model.history import History
from chaoskit.model.resource import Json, Obj, Ref


@dataclass(frozen=True, slots=True)
class Fact:
    """When an event of a step was noted, which one it was, and what it said."""

    t_ns: int
    seq: int
    because: str = ""
    status: int = 0
    how: str = ""

    @property
    def lifted(self) -> bool:
        """Of an undo: whether the fault is over, by it or without it."""
        return self.how not in ("blocked", "irreversible")


@dataclass(frozen=True, slots=True)
class StepFate:
    """One step of the fault with all that is known of it."""

    id: str
    round: int
    op: str
    ref: Ref
    intended: Fact
    data: Obj
    done: Fact | None = None
    seen: Fact | None = None
    unseen: Fact | None = None
    refused: Fact | None = None
    gone: Fact | None = None
    undone: Fact | None = None

    @property
    def accepted(self) -> bool:
        """Answered 2xx; or its witness was seen though the answer was lost."""
        return self.done is not None or self.seen is not None

    @property
    def by_budget(self) -> bool:
        """Refused by a disruption budget: a 429 whose cause says so (it may also be the API's own rate limit)."""
        said = "" if self.refused is None else self.refused.because.lower().replace(" ", "")
        return self.refused is not None and self.refused.status == 429 and "disruptionbudget" in said


_FATES = ("step.done", "step.seen", "step.unseen", "step.refused", "step.gone", "step.undone")


def step_fates(history: History) -> Sequence[StepFate]:
    """Every intended step, in order of intent."""
    fates: dict[str, StepFate] = {}
    for event in history.of("stage.intended", *_FATES):
        if event.kind == "stage.intended":
            fates.update((step["id"], _intended(event, step)) for step in event.data["steps"])
        elif event.data["id"] in fates:
            fates[event.data["id"]] = _after(fates[event.data["id"]], event)
    return list(fates.values())


def _after(fate: StepFate, event: Event) -> StepFate:
    fact = _fact(event)
    match event.kind:
        case "step.done":
            return replace(fate, done=fact)
        case "step.seen":
            return replace(fate, seen=fact)
        case "step.unseen":
            return replace(fate, unseen=fact)
        case "step.refused":
            return replace(fate, refused=fact)
        case "step.gone":
            return replace(fate, gone=fact)
        case _:
            return replace(fate, undone=fact)


def _intended(event: Event, step: Json) -> StepFate:
    ref = step["do"]["ref"]
    return StepFate(
        step["id"],
        int(event.data.get("round", 0)),
        step["do"]["op"],
        Ref(ref["kind"], ref["name"], ref.get("namespace", ""), ref.get("uid", "")),
        _fact(event),
        step,
    )


def _fact(event: Event) -> Fact:
    data = event.data
    return Fact(
        event.t_ns, event.seq, str(data.get("because", "")), int(data.get("status") or 0), str(data.get("how", ""))
    )


def switched_pods(history: History, round: int = 0) -> Sequence[StepFate]:
    """The steps that switched something inside a pod: a request to it, or an argument list run in it."""
    return [
        fate
        for fate in step_fates(history)
        if fate.op in ("request", "exec") and fate.ref.kind == "Pod" and fate.round == round
    ]
