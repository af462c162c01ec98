"""The recovery behind `chaoskit recover`: look, put back, say. The undo itself, and whom to leave alone, is the runner's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from chaoskit.cli.options import Wanted
from chaoskit.cli.place import place
from chaoskit.cluster.live import LiveCluster
from chaoskit.model.operation import describe
from chaoskit.runner.recover import Recovered, Report, Scope, leftovers_of_folder, living, recover, recover_all
from chaoskit.runner.settled import settled
from chaoskit.runner.traces import Leftover, Trace
from chaoskit.runner.undo import CLOSED, by_hand


async def recovered(wanted: Wanted, scope: Scope, *, check: bool, force: bool, run_dir: Path | None) -> int:
    """Put back, or only look; the exit code."""
    async with place(wanted) as where:
        if check:
            return await _checked(where.cluster, scope)
        # A signal must not end it half done: it waits for the undo, which has its own deadline.
        return await settled(_put_back(where.cluster, scope, force, run_dir))


async def _checked(cluster: LiveCluster, scope: Scope) -> int:
    traces, unseen = await scope.traces(cluster)
    alive = await living(cluster, [trace for trace in traces if trace.leftovers])
    _tell_unseen(unseen)
    _tell_alive(alive)
    left = [left for trace in traces if trace.run not in alive for left in trace.leftovers]
    for each in left:
        click.echo(f"left by run {each.run}: step {each.id}; to put back: {_undo(each)}")
    if not left and not unseen:
        click.echo("clean: nothing is left of any run" if not alive else "clean but for the runs that are under way")
    return 4 if left else 3 if unseen else 0


async def _put_back(cluster: LiveCluster, scope: Scope, force: bool, run_dir: Path | None) -> int:
    traces, _ = await scope.traces(cluster)
    if traces and not force:
        click.echo("looking whether a run is under way; this takes up to 30 s", err=True)
    report = await recover_all(cluster, scope, force=force)
    ended = list(report.recovered)
    if run_dir is not None:
        ended += await recover(cluster, _unknown_to(traces, ended, report, await leftovers_of_folder(run_dir)))
    _tell_unseen(report.unseen)
    _tell_alive(report.alive)
    for run, because in report.unfenced.items():
        click.echo(f"run {run} could not be taken over: {because}", err=True)
    _tell(ended)
    if not ended and not report.unseen and not report.unfenced:
        click.echo("clean: nothing is left of any run" if not report.alive else "nothing else is left")
    left = [each for each in ended if each.how not in CLOSED]
    return 4 if left or report.unfenced else 3 if report.unseen else 0


def _unknown_to(
    traces: Sequence[Trace], ended: Sequence[Recovered], report: Report, journalled: Sequence[Leftover]
) -> list[Leftover]:
    """What only the journal knows: a run that made no record, or whose record was lost."""
    known = {(each.leftover.run, each.leftover.id) for each in ended}
    recorded = {trace.run for trace in traces if trace.records}
    return [
        left
        for left in journalled
        if (left.run, left.id) not in known and left.run not in recorded and left.run not in report.alive
    ]


def _tell_unseen(unseen: Sequence[str]) -> None:
    for why in unseen:
        click.echo(f"could not look: {why}", err=True)


def _tell_alive(alive: Mapping[str, str]) -> None:
    for run, who in alive.items():
        click.echo(f"run {run} is under way and is left alone: {who}; --force takes it for dead", err=True)


def _tell(ended: Sequence[Recovered]) -> None:
    for each in ended:
        left = each.leftover
        click.echo(f"run {left.run}, step {left.id}: {each.how}: {_undo(left)}")
    for each in ended:
        if each.how not in CLOSED and each.leftover.step.undo is not None:
            click.secho(f"NOT RESTORED: do by hand: {by_hand(each.leftover.step.undo)}", err=True, fg="red", bold=True)


def _undo(left: Leftover) -> str:
    return "nothing undoes it" if left.step.undo is None else describe(left.step.undo)
