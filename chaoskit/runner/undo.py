"""Put back what was changed: one function for revert, abort and recover. Conditional and idempotent; never overwrites what somebody else changed since.

How a step ends: undone; already (the value was the old one); gone (the object no longer exists); superseded (the value is somebody
else's now: left alone); blocked (could not be done in time: a person must); irreversible (nothing to undo).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from chaoskit.cluster.patch import has, same, value_at
from chaoskit.model.errors import AnswerLost, ChaosError, ClusterError, NotFound
from chaoskit.model.event import Event, Journal
from chaoskit.model.operation import Delete, Field, Item, Operation, Patch, describe
from chaoskit.model.resource import Obj, Ref
from chaoskit.model.seams import Cluster
from chaoskit.model.step import Step, step_from_json

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
    steps: Sequence[tuple[str, Step]], run: str, cluster: Cluster, journal: Journal
) -> Mapping[str, str]:
    """Undo each step, newest first, going on after failures. Returns how each ended; `blocked` is what a person must look at."""
    ended: dict[str, str] = {}
    for id_, step in steps:
        if step.undo is None:
            how, because = "irreversible", f"nothing undoes: {describe(step.do)}"
        else:
            how, because = await _undone(step.undo, f"{run}/{id_}", cluster)
        ended[id_] = how
        await journal.commit("step.undone", id=id_, how=how, because=because)
    return ended


async def _undone(undo: Operation, mark: str, cluster: Cluster) -> tuple[str, str]:
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
    try:
        reply = await cluster.perform(undo, mark, undoing=True)
    except AnswerLost:
        if await cluster.landed(undo, mark):
            return "undone", f"{describe(undo)} (answer lost, read back)"
        raise
    except NotFound as missing:
        return "gone", str(missing)
    if 200 <= reply.status < 300:
        return "undone", describe(undo)
    message = str(reply.body.get("message") or f"HTTP {reply.status}")
    if reply.status == 404:
        return "gone", message
    if reply.status in (409, 422):
        return await _explained(undo, message, cluster)
    raise ClusterError(message, reply.status)


async def _explained(undo: Operation, message: str, cluster: Cluster) -> tuple[str, str]:
    """Why a conditional undo did not apply, read off the object."""
    live = await cluster.find(undo.ref)
    if live is None or (undo.ref.uid and live["metadata"].get("uid") != undo.ref.uid):
        return "gone", f"{undo.ref} of that uid is no longer there"
    if isinstance(undo, Patch) and all(_is_now(live, change) for change in undo.changes):
        return "already", f"{undo.ref} has its old value"
    if isinstance(undo, Delete):
        return "superseded", f"{undo.ref} does not carry our mark: {message}"
    return "superseded", f"{undo.ref} was changed by somebody else since; left alone ({message})"


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
