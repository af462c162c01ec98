"""Undo what a run that died left behind, from its marks in the cluster and, where it is at hand, from its journal. Undoes data; runs no fault.

The marks are those of `cluster/mark.py`: a note of the change on what was patched, the creator on what was created. A switch inside a pod
leaves no mark in the cluster: it ends by its own time-to-live, or at once from the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaoskit.cluster.mark import mark_of, undo_note
from chaoskit.model.errors import ClusterError
from chaoskit.model.event import Event
from chaoskit.model.operation import Delete, Operation, inverse, operation_from_json, ref_to_json
from chaoskit.model.resource import Json, Obj, Ref, ref_of, resource_of
from chaoskit.model.seams import Cluster, View
from chaoskit.model.step import FieldIs, Step, Until
from chaoskit.runner.folder import read_events
from chaoskit.runner.undo import open_steps, put_back

MARKED_KINDS = ("Node", "Deployment", "Service", "ConfigMap", "Secret", "ServiceAccount", "Namespace")
"""The kinds that a fault or a setup may patch or create: where leftovers are looked for."""

DOUBT_S = 5.0
"""A request of a killed run may still land for so long; nothing is closed without its answer before. In seconds."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something a run left: whose it is, and the step that would undo it."""

    run: str
    id: str
    step: Step


@dataclass(frozen=True, slots=True)
class Recovered:
    """How one leftover ended: undone, already, gone, superseded, blocked."""

    leftover: Leftover
    how: str


async def find_leftovers(view: View, namespace: str = "") -> tuple[list[Leftover], list[str]]:
    """The leftovers marked in the cluster, and what could not be looked into. `namespace` "" looks everywhere."""
    found: list[Leftover] = []
    unseen: list[str] = []
    for kind in MARKED_KINDS:
        try:
            objects = await view.list(kind, namespace if resource_of(kind).namespaced else "")
        except ClusterError as error:
            unseen.append(f"{kind}: {error}")
            continue
        for obj in objects:
            found += _marked({**obj, "kind": kind})
    return found, unseen


def _marked(obj: Obj) -> list[Leftover]:
    """What the marks on one object say. An object on its way out, or one that a controller made of a marked one, is nobody's leftover."""
    meta = obj["metadata"]
    if meta.get("deletionTimestamp") or meta.get("ownerReferences"):
        return []
    run, _, id_ = mark_of(obj).partition("/")
    created = (
        [Leftover(run, id_, _closing(Delete(Ref(obj["kind"], meta["name"], meta.get("namespace", "")))))] if id_ else []
    )
    note = undo_note(obj)
    return created + [Leftover(note.run, step, _closing(_undo(obj, changes))) for step, changes in note.steps.items()]


def _undo(obj: Obj, changes: Json) -> Operation:
    done = operation_from_json({"op": "patch", "ref": ref_to_json(ref_of(obj)), "changes": changes})
    undo = inverse(done)
    assert undo is not None, "a patch has an inverse"
    return undo


def _closing(undo: Operation) -> Step:
    return Step(undo, Until(FieldIs(undo.ref, "/metadata/name", undo.ref.name), 5.0), undo)


async def recover(cluster: Cluster, leftovers: Sequence[Leftover]) -> list[Recovered]:
    """Undo the leftovers, run by run, newest step first."""
    ended: list[Recovered] = []
    for run in dict.fromkeys(leftover.run for leftover in leftovers):
        mine = [leftover for leftover in leftovers if leftover.run == run]
        how = await put_back([(left.id, left.step) for left in mine], run, cluster, _Unkept())
        ended += [Recovered(left, how[left.id]) for left in mine]
    return ended


async def leftovers_of_folder(folder: Path) -> list[Leftover]:
    """What the journal of a killed run says is still open. Waits out the doubt of a request that may still land."""
    events = read_events(folder)
    run = next((str(event.data["run"]) for event in events if event.kind == "run.began"), "")
    steps = [(id_, step) for id_, step in open_steps(events) if step.undo is not None]
    answered = {event.data["id"] for event in events if event.kind == "step.done"}
    if any(id_ not in answered for id_, _ in steps):
        await asyncio.sleep(DOUBT_S)
    return [Leftover(run, id_, step) for id_, step in steps]


class _Unkept:
    """The journal of a recovery: its evidence is the cluster itself, and its report what it returns."""

    def note(self, kind: str, *, at_ns: int | None = None, **data: Json) -> Event:
        return Event(0, at_ns or 0, kind, data)

    async def commit(self, kind: str, **data: Json) -> Event:
        return self.note(kind, **data)
