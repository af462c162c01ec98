"""Put back what was changed: one function for revert, abort and recover. Conditional and idempotent; never overwrites what somebody else changed since.

How a step ends: undone; already (the value was the old one); gone (the object no longer exists); superseded (the value is somebody
else's now: left alone); blocked (could not be done in time: a person must); irreversible (nothing to undo).

What was done to different objects is undone side by side, so that one that hangs holds up no other; what was done to one object, newest
first. A request that may still land is undone at once, and again when it can land no more: only then is its step closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chaoskit.cluster.mark import mark_of
from chaoskit.cluster.patch import has, mismatch, same, value_at
from chaoskit.model.errors import AnswerLost, ChaosError, ClusterError, NotFound
from chaoskit.model.event import Event, Journal
from chaoskit.model.operation import Delete, Exec, Field, Item, Operation, Patch, Request, describe
from chaoskit.model.resource import Obj, Ref
from chaoskit.model.seams import Cluster
from chaoskit.model.step import Step, step_from_json
from chaoskit.runner.flight import Flights

CLOSED = frozenset({"undone", "already", "gone", "superseded", "irreversible"})

PATIENCE_S = 30.0
"""How long an undo that meets an unreachable or failing API server is tried again, in seconds."""

TRY_AGAIN_S = 0.5


def open_steps(events: Sequence[Event]) -> Sequence[tuple[str, Step]]:
    """The steps that may still be in effect, newest first: a fold over the journal. Refused, gone and closed ones are left out."""
    found: dict[str, Step] = {}
    for event in events:
        if event.kind == "stage.intended":
            found |= {step["id"]: step_from_json(step) for step in event.data["steps"]}
        elif event.kind in ("step.refused", "step.gone") or (
            event.kind == "step.undone" and event.data["how"] in CLOSED
        ):
            found.pop(event.data["id"], None)
    return list(reversed(found.items()))


async def put_back(
    steps: Sequence[tuple[str, Step]], run: str, cluster: Cluster, journal: Journal, flights: Flights | None = None
) -> Mapping[str, str]:
    """Undo each step, going on after failures. Returns how each ended; `blocked` is what a person must look at.

    Raises what the journal raised, if it could not be written, but only after everything was undone.
    """
    work = _PutBack(run, cluster, journal, flights if flights is not None else Flights())
    by_object: dict[tuple[str, str, str], list[tuple[str, Step]]] = {}
    for id_, step in steps:
        ref = step.do.ref
        by_object.setdefault((ref.kind, ref.namespace, ref.name), []).append((id_, step))
    await asyncio.gather(*(work.of_one_object(chain) for chain in by_object.values()))
    if work.unwritten:
        raise work.unwritten[0]
    return {id_: work.ended[id_] for id_, _ in steps}


@dataclass(slots=True)
class _PutBack:
    """One putting back: how the steps ended so far, and what the journal would not take."""

    run: str
    cluster: Cluster
    journal: Journal
    flights: Flights
    ended: dict[str, str] = field(default_factory=dict)
    unwritten: list[OSError] = field(default_factory=list)

    async def of_one_object(self, chain: Sequence[tuple[str, Step]]) -> None:
        for id_, step in chain:
            if step.undo is None:
                how, because = "irreversible", f"nothing undoes: {describe(step.do)}"
            else:
                how, because = await self._undone(id_, step.undo)
            self.ended[id_] = how
            try:
                await self.journal.commit("step.undone", id=id_, how=how, because=because)
            except OSError as error:
                # A full disk must not keep the other steps from being undone.
                self.unwritten.append(error)

    async def _undone(self, id_: str, undo: Operation) -> tuple[str, str]:
        mark = f"{self.run}/{id_}"
        flight = self.flights.doubtful(id_)
        if flight is not None:
            first = await tried_once(undo, mark, self.cluster)
            if first is not None and first[0] == "undone" and not isinstance(undo, Request | Exec):
                return first  # it had landed, and nothing is sent twice
            await flight.over()
        return await undone(undo, mark, self.cluster)


async def tried_once(undo: Operation, mark: str, cluster: Cluster) -> tuple[str, str] | None:
    """How one attempt ended, or None when it said nothing."""
    try:
        return await _tried(undo, mark, cluster)
    except ChaosError:
        return None


async def undone(undo: Operation, mark: str, cluster: Cluster) -> tuple[str, str]:
    """Try until it has an answer that means something, or the patience ends."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + PATIENCE_S
    while True:
        try:
            answer = await _tried(undo, mark, cluster)
        except ChaosError as error:
            answer = None
            because = str(error)
        if answer is not None:
            return answer
        if loop.time() >= give_up:
            return "blocked", f"{because}; do by hand: {by_hand(undo)}"
        await asyncio.sleep(TRY_AGAIN_S)


async def _tried(undo: Operation, mark: str, cluster: Cluster) -> tuple[str, str] | None:
    """One attempt. Raises ClusterError when it should be tried again."""
    before = await _containers(undo, cluster)
    try:
        reply = await cluster.perform(undo, mark, undoing=True)
    except AnswerLost:
        if await cluster.landed(undo, mark):
            return "undone", f"{describe(undo)} (answer lost, read back)"
        raise
    except NotFound as missing:
        return "gone", str(missing)
    if 200 <= reply.status < 300:
        if before != await _containers(undo, cluster):
            raise ClusterError(f"{undo.ref} was replaced or restarted while it was put back")
        return "undone", describe(undo)
    message = str(reply.body.get("message") or f"HTTP {reply.status}")
    if reply.status == 404:
        return "gone", message
    if reply.status in (409, 422):
        return await _explained(undo, mark, ClusterError(message, reply.status), cluster)
    raise ClusterError(message, reply.status)


async def _containers(undo: Operation, cluster: Cluster) -> frozenset[str] | None:
    """What a pod's name stands for: its uid and its containers' ids. Looked at before and after what is addressed by name only."""
    if not isinstance(undo, Request | Exec):
        return None
    pod = await cluster.find(Ref(undo.ref.kind, undo.ref.name, undo.ref.namespace))
    if pod is None:
        return frozenset()
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return frozenset({pod["metadata"]["uid"], *(str(status.get("containerID", "")) for status in statuses)})


async def _explained(undo: Operation, mark: str, refused: ClusterError, cluster: Cluster) -> tuple[str, str]:
    """Why a conditional undo did not apply, read off the object. Raises the refusal when the object shows no reason: somebody on the way said no."""
    live = await cluster.find(undo.ref)
    if live is None or (undo.ref.uid and live["metadata"].get("uid") != undo.ref.uid):
        return "gone", f"{undo.ref} of that uid is no longer there"
    if isinstance(undo, Patch) and all(_is_now(live, change) for change in undo.changes):
        return "already", f"{undo.ref} has its old value"
    if _is_still_ours(undo, live, mark, refused.status):
        raise refused
    if isinstance(undo, Delete):
        return "superseded", f"{undo.ref} does not carry our mark: {refused}"
    return "superseded", f"{undo.ref} was changed by somebody else since; left alone ({refused})"


def _is_still_ours(undo: Operation, live: Obj, mark: str, status: int) -> bool:
    """Whether what is to be put back is as we left it, as far as the object tells. A switch that another run holds is answered with 409."""
    match undo:
        case Patch():
            return not mismatch(undo, live, mark, undoing=True)
        case Delete():
            return bool(undo.ref.uid) or mark_of(live) == mark
        case _:
            return status != 409


def _is_now(live: Obj, change: Field | Item) -> bool:
    value = value_at(live, change.path)
    if isinstance(change, Field):
        return same(value, change.after)
    return any(has(item, change.value) for item in (value if isinstance(value, list) else ())) == change.adding


def by_hand(undo: Operation) -> str:
    """A kubectl command that does what the undo would."""
    match undo:
        case Patch(ref, changes):
            if ref.kind == "Node" and [c.path for c in changes] == ["/spec/unschedulable"]:
                return f"kubectl uncordon {ref.name}"
            return f"kubectl edit {_kubectl(ref)}  ({describe(undo)})"
        case Delete(ref):
            return f"kubectl delete {_kubectl(ref)}"
        case _:
            return describe(undo)


def _kubectl(ref: Ref) -> str:
    place = f" -n {ref.namespace}" if ref.namespace else ""
    return f"{ref.kind.lower()} {ref.name}{place}"
