"""Undo what a run that died left behind, from the cluster alone or, where it is at hand, from its journal. Undoes data; runs no fault.

A run whose holder lives is left alone. The others are fenced first: their leases are taken, with a new epoch, so that a runner that only
slept finds itself replaced. What may still land from a request of the dead is waited out before anything is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.model.errors import ClusterError
from chaoskit.model.event import Event
from chaoskit.model.resource import Json, Obj, Ref
from chaoskit.model.seams import Cluster, View
from chaoskit.model.step import Step
from chaoskit.runner import lease
from chaoskit.runner.flight import DOUBT_S
from chaoskit.runner.folder import read_events
from chaoskit.runner.holder import Holder, this_process
from chaoskit.runner.place import STATE_NAMESPACE
from chaoskit.runner.traces import Leftover, Trace, find_traces, trace_of
from chaoskit.runner.undo import CLOSED, open_steps, put_back


@dataclass(frozen=True, slots=True)
class Recovered:
    """How one leftover ended: undone, already, gone, superseded, blocked."""

    leftover: Leftover
    how: str
    because: str = ""


async def find_leftovers(
    view: View, namespace: str = "", state_namespace: str = ""
) -> tuple[list[Leftover], list[str]]:
    """The leftovers in the cluster, and what could not be looked into. `namespace` "" looks everywhere."""
    traces, unseen = await find_traces(view, namespace, state_namespace)
    return [left for trace in traces for left in trace.leftovers], unseen


async def living(view: View, traces: Sequence[Trace]) -> Mapping[str, str]:
    """The runs whose holder lives, and who that is. Takes as long as it takes to see a lease renewed, at most its time to live."""

    async def of_trace(trace: Trace) -> str:
        seen = await asyncio.gather(*(lease.is_alive(view, held) for held in trace.leases))
        return next((lease.holder_of(held) for held, is_alive in zip(trace.leases, seen, strict=True) if is_alive), "")

    found = await asyncio.gather(*(of_trace(trace) for trace in traces))
    return {trace.run: who for trace, who in zip(traces, found, strict=True) if who}


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look: one namespace and nodes, or everywhere; and where the books of node faults are. `run` "" means all runs."""

    namespace: str = ""
    state_namespace: str = STATE_NAMESPACE
    run: str = ""

    async def traces(self, view: View) -> tuple[list[Trace], list[str]]:
        found, unseen = await find_traces(view, self.namespace, self.state_namespace)
        return [trace for trace in found if self.run in ("", trace.run)], unseen


@dataclass(frozen=True, slots=True)
class Report:
    """What a recovery came to. `alive`: the runs left alone, and who runs them; `unfenced`: those that could not be taken over, and why."""

    recovered: tuple[Recovered, ...] = ()
    alive: Mapping[str, str] = field(default_factory=dict)
    unfenced: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()
    """Runs of which nothing had to be undone: only their books went."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left that anybody would have to put back."""
        return not self.unfenced and all(each.how in CLOSED for each in self.recovered)


async def recover_all(cluster: Cluster, scope: Scope, *, force: bool = False) -> Report:
    """Put back what dead runs left. `force` takes the living for dead. Raises nothing that the cluster caused: it is in the report."""
    doubt_ends_s = asyncio.get_running_loop().time() + DOUBT_S
    traces, unseen = await scope.traces(cluster)
    alive = {} if force else await living(cluster, traces)
    recovered: list[Recovered] = []
    unfenced: dict[str, str] = {}
    forgotten: list[str] = []
    for trace in traces:
        if trace.run in alive:
            continue
        try:
            ended = await _recover_run(cluster, scope, trace, doubt_ends_s)
        except ClusterError as error:
            unfenced[trace.run] = str(error)
            continue
        recovered += ended
        forgotten += [] if ended else [trace.run]
    return Report(tuple(recovered), alive, unfenced, tuple(unseen), tuple(forgotten))


async def _recover_run(cluster: Cluster, scope: Scope, seen: Trace, doubt_ends_s: float) -> list[Recovered]:
    """Fence one run, then put back what it left. Raises ClusterError when it cannot be fenced or looked at."""
    async with _fenced(cluster, seen) as held:
        trace = seen
        if seen.leases:
            # Until it was fenced it may have gone on: only what is there from now on counts.
            trace = await _looked_at(cluster, scope, seen.run)
            if not trace.records:
                # The making of its record may itself be under way still.
                await asyncio.sleep(max(0.0, doubt_ends_s - asyncio.get_running_loop().time()))
                trace = await _looked_at(cluster, scope, seen.run)
        ended = await _put_back_all(cluster, trace, doubt_ends_s)
        if all(each.how in CLOSED for each in ended):
            await _forget(cluster, trace, held)
    return ended


async def _looked_at(view: View, scope: Scope, run: str) -> Trace:
    traces, _ = await dataclasses.replace(scope, run=run).traces(view)
    return next(iter(traces), Trace(run))


async def _put_back_all(cluster: Cluster, trace: Trace, doubt_ends_s: float) -> list[Recovered]:
    first = await recover(cluster, trace.leftovers)
    doubtful = [each for each in first if not (each.leftover.is_marked and each.how == "undone")]
    if not doubtful and not trace.faded:
        return first
    await asyncio.sleep(max(0.0, doubt_ends_s - asyncio.get_running_loop().time()))
    return await _again(cluster, trace, first)


async def _again(cluster: Cluster, trace: Trace, first: Sequence[Recovered]) -> list[Recovered]:
    """A second look, once nothing can land any more: what leaves no mark is undone again, what had not landed before is found now."""
    late = await _landed_late(cluster, trace)
    unmarked = [each.leftover for each in first if not each.leftover.is_marked]
    again = await recover(cluster, [*unmarked, *late])
    by_id = {each.leftover.id: each for each in again}
    kept = [by_id.pop(each.leftover.id, each) for each in first]
    return [*kept, *by_id.values()]


async def _landed_late(cluster: Cluster, trace: Trace) -> list[Leftover]:
    known = {left.id for left in trace.leftovers}
    again = await trace_of(cluster, trace.run, [], trace.records, trace.leases, [])
    return [left for left in again.leftovers if left.is_marked and left.id not in known]


@asynccontextmanager
async def _fenced(cluster: Cluster, trace: Trace) -> AsyncIterator[list[Obj]]:
    """The run's leases, ours while the block lasts and renewed meanwhile. Raises ClusterError when they cannot be taken."""
    holder = this_process(trace.run)
    holder = Holder(trace.run, f"recovery {secrets.token_hex(4)} by {holder.name}", holder.process)
    held: list[Obj] = []
    for found in trace.leases:
        meta = found["metadata"]
        what = str((meta.get("annotations") or {}).get(lease.TARGET, meta["name"]))
        held.append(await lease.take(cluster, Ref("Lease", meta["name"], meta["namespace"]), what, holder, forced=True))
    renewing = asyncio.create_task(_renewing(cluster, held))
    try:
        yield held
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


async def _renewing(cluster: Cluster, held: list[Obj]) -> None:
    while True:
        await asyncio.sleep(lease.RENEW_S)
        for number, each in enumerate(held):
            with contextlib.suppress(ClusterError):
                held[number] = await lease.renew(cluster, each, lease.RENEW_S)


async def _forget(cluster: Cluster, trace: Trace, held: Sequence[Obj]) -> None:
    """All is closed: the records go, then the leases, so that a crash between them is found again."""
    for record in trace.records:
        meta = record["metadata"]
        await cluster.drop(Ref("ConfigMap", meta["name"], meta["namespace"], meta["uid"]))
    for each in held:
        await lease.release(cluster, each)


async def recover(cluster: Cluster, leftovers: Sequence[Leftover]) -> list[Recovered]:
    """Undo the leftovers, run by run, newest step first."""
    ended: list[Recovered] = []
    for run in dict.fromkeys(leftover.run for leftover in leftovers):
        mine = [leftover for leftover in leftovers if leftover.run == run]
        told = _Told()
        how = await put_back([(left.id, left.step) for left in mine], run, cluster, told)
        ended += [Recovered(left, how[left.id], told.because.get(left.id, "")) for left in mine]
    return ended


async def leftovers_of_folder(folder: Path) -> list[Leftover]:
    """What the journal of a killed run says is still open. Waits out the doubt of a request that may still land."""
    events = read_events(folder)
    run = next((str(event.data["run"]) for event in events if event.kind == "run.began"), "")
    steps: list[tuple[str, Step]] = [(id_, step) for id_, step in open_steps(events) if step.undo is not None]
    answered = {event.data["id"] for event in events if event.kind == "step.done"}
    if any(id_ not in answered for id_, _ in steps):
        await asyncio.sleep(DOUBT_S)
    return [Leftover(run, id_, step) for id_, step in steps]


class _Told:
    """The journal of a recovery: its evidence is the cluster itself, and its report what it returns."""

    def __init__(self) -> None:
        self.because: dict[str, str] = {}

    def note(self, kind: str, *, at_ns: int | None = None, **data: Json) -> Event:
        self.because[str(data.get("id", ""))] = str(data.get("because", ""))
        return Event(0, at_ns or 0, kind, data)

    async def commit(self, kind: str, **data: Json) -> Event:
        return self.note(kind, **data)
