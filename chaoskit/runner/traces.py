"""What runs left in a cluster, by run: marks on objects, records, leases. Looks and groups; puts nothing back.

The marks are those of `cluster/mark.py`: a note of the change on what was patched, the creator on what was created. What leaves no mark
(a switch in a pod, the scale of a workload) stands in the run's record (`record.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaoskit.cluster.mark import OWN_LABELS, RUN_LABEL, mark_of, undo_note
from chaoskit.model.errors import ClusterError
from chaoskit.model.operation import Delete, Operation, inverse, operation_from_json, ref_to_json
from chaoskit.model.resource import Json, Obj, Ref, ref_of, resource_of
from chaoskit.model.seams import View
from chaoskit.model.step import FieldIs, Step, Until
from chaoskit.runner.record import Entry, entries_of, is_record

MARKED_KINDS = ("Node", "Deployment", "Service", "ConfigMap", "Secret", "ServiceAccount", "Namespace")
"""The kinds that a fault or a setup may patch or create: where marks are looked for."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something a run left: whose it is, and the step that would undo it. `is_marked`: the object itself says so."""

    run: str
    id: str
    step: Step
    is_marked: bool = True


@dataclass(frozen=True, slots=True)
class Trace:
    """All that one run left. `leftovers` are newest first; what their objects no longer show is in `faded`."""

    run: str
    leftovers: tuple[Leftover, ...] = ()
    faded: tuple[Entry, ...] = ()
    records: tuple[Obj, ...] = ()
    leases: tuple[Obj, ...] = ()


async def find_traces(view: View, namespace: str = "", state_namespace: str = "") -> tuple[list[Trace], list[str]]:
    """What runs left, and what could not be looked into. `namespace` "" looks everywhere; else nodes, and the state namespace's books, too."""
    unseen: list[str] = []
    found: dict[str, list[Leftover]] = {}
    for kind in MARKED_KINDS:
        for obj in await _listed(view, kind, (namespace,), "", unseen):
            # The namespaces of other runs are none of the one that was asked for.
            if kind == "Namespace" and namespace not in ("", obj["metadata"]["name"]):
                continue
            for left in marked_leftovers(obj):
                found.setdefault(left.run, []).append(left)
    own = ",".join(f"{key}={value}" for key, value in OWN_LABELS.items())
    places = tuple(dict.fromkeys((namespace, state_namespace))) if namespace and state_namespace else (namespace,)
    records = _by_run(obj for obj in await _listed(view, "ConfigMap", places, own, unseen) if is_record(obj))
    leases = _by_run(await _listed(view, "Lease", places, own, unseen))
    traces = [
        await trace_of(view, run, found.get(run, []), records.get(run, []), leases.get(run, []), unseen)
        for run in dict.fromkeys([*found, *records, *leases])
    ]
    return traces, list(dict.fromkeys(unseen))


async def _listed(view: View, kind: str, places: Sequence[str], labels: str, unseen: list[str]) -> list[Obj]:
    is_namespaced, found = resource_of(kind).namespaced, list[Obj]()
    for place in places if is_namespaced else ("",):
        try:
            found += [{**obj, "kind": kind} for obj in await view.list(kind, place, labels=labels)]
        except ClusterError as error:
            # Who asks for one namespace need not be allowed to see beyond it.
            is_beyond = any(places) and place != places[0] if is_namespaced else any(places)
            if error.status != 403 or not is_beyond:
                unseen.append(f"{kind}: {error}")
    return found


def _by_run(objects: Iterable[Obj]) -> dict[str, list[Obj]]:
    found: dict[str, list[Obj]] = {}
    for obj in objects:
        run = str((obj["metadata"].get("labels") or {}).get(RUN_LABEL, ""))
        if run:
            found.setdefault(run, []).append(obj)
    return found


async def trace_of(
    view: View,
    run: str,
    marked: Sequence[Leftover],
    records: Sequence[Obj],
    leases: Sequence[Obj],
    unseen: list[str],
) -> Trace:
    """One run's trace: its marks that were found, and what its records say beyond them. Appends to `unseen` what it could not look into."""
    known = {left.id for left in marked}
    faded: list[Entry] = []
    left: list[Leftover] = list(marked)
    for entry in _recorded(records, unseen):
        if entry.id in known or entry.irreversible:
            continue
        if entry.undo is not None:
            left.append(Leftover(run, entry.id, closing(entry.undo), is_marked=False))
        elif (borne := await _borne(view, run, entry, unseen)) is not None:
            left.append(borne)
        else:
            faded.append(entry)
    newest_first = sorted(left, key=lambda each: _rank(each.id), reverse=True)
    return Trace(run, tuple(newest_first), tuple(faded), tuple(records), tuple(leases))


def _recorded(records: Iterable[Obj], unseen: list[str]) -> list[Entry]:
    found: list[Entry] = []
    for record in records:
        meta = record["metadata"]
        try:
            found += entries_of(record)
        except (ValueError, KeyError, TypeError) as error:
            unseen.append(f"the record {meta['namespace']}/{meta['name']} cannot be read: {error}")
    return found


async def _borne(view: View, run: str, entry: Entry, unseen: list[str]) -> Leftover | None:
    """A step whose object bears its undo but lies where we did not list: it is looked at by name."""
    try:
        live = await view.find(Ref(entry.ref.kind, entry.ref.name, entry.ref.namespace))
    except ClusterError as error:
        unseen.append(f"{entry.ref}: {error}")
        return None
    if live is None:
        return None
    return next(
        (left for left in marked_leftovers({**live, "kind": entry.ref.kind}) if (left.run, left.id) == (run, entry.id)),
        None,
    )


def marked_leftovers(obj: Obj) -> list[Leftover]:
    """What the marks on one object say. An object on its way out, or one that a controller made of a marked one, is nobody's leftover."""
    meta = obj["metadata"]
    if meta.get("deletionTimestamp") or meta.get("ownerReferences"):
        return []
    run, _, id_ = mark_of(obj).partition("/")
    created = (
        [Leftover(run, id_, closing(Delete(Ref(obj["kind"], meta["name"], meta.get("namespace", "")))))] if id_ else []
    )
    note = undo_note(obj)
    return created + [Leftover(note.run, step, closing(_undo(obj, changes))) for step, changes in note.steps.items()]


def _undo(obj: Obj, changes: Json) -> Operation:
    done = operation_from_json({"op": "patch", "ref": ref_to_json(ref_of(obj)), "changes": changes})
    undo = inverse(done)
    assert undo is not None, "a patch has an inverse"
    return undo


def closing(undo: Operation) -> Step:
    """A step that only undoes."""
    return Step(undo, Until(FieldIs(undo.ref, "/metadata/name", undo.ref.name), 5.0), undo)


def _rank(id_: str) -> tuple[int, ...]:
    """Steps in the order they were intended; what a setup created comes before them all."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", id_))
    return numbers if id_[:1].isdigit() else (-1, *numbers)
