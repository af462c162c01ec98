"""The recovery behind `chaoskit recover`: look, put back, look again. Says each step; the undo itself is the runner's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from chaoskit.cli.place import Wanted, place
from chaoskit.model.operation import describe
from chaoskit.runner.recover import Leftover, Recovered, find_leftovers, leftovers_of_folder, recover
from chaoskit.runner.settled import settled
from chaoskit.runner.undo import CLOSED, by_hand


async def recovered(wanted: Wanted, namespace: str, check: bool, run_dir: Path | None) -> int:
    """Put back, or only look; the exit code."""
    async with place(wanted) as where:
        found, unseen = await find_leftovers(where.cluster, namespace)
        if run_dir is not None:
            found = _together(await leftovers_of_folder(run_dir), found)
        for why in unseen:
            click.echo(f"could not look: {why}", err=True)
        if check or not found:
            return _looked(found, unseen)
        # A signal must not end it half done: it waits for the undo, which has its own deadline.
        ended = await settled(recover(where.cluster, found))
        _tell(ended)
        left = [each for each in ended if each.how not in CLOSED]
        return 4 if left else 3 if unseen else 0


def _together(journalled: Sequence[Leftover], marked: Sequence[Leftover]) -> list[Leftover]:
    """The journal's leftovers, and the marks it does not know. Both may show the same one: then the journal's undo is used."""
    known = {(left.run, left.step.do.ref.kind, left.step.do.ref.name) for left in journalled}
    return [
        *journalled,
        *(left for left in marked if (left.run, left.step.do.ref.kind, left.step.do.ref.name) not in known),
    ]


def _looked(found: Sequence[Leftover], unseen: Sequence[str]) -> int:
    for left in found:
        click.echo(f"left by run {left.run}: step {left.id}; to put back: {_undo(left)}")
    if not found and not unseen:
        click.echo("clean: nothing is left of any run")
    return 4 if found else 3 if unseen else 0


def _tell(ended: Sequence[Recovered]) -> None:
    for each in ended:
        left = each.leftover
        click.echo(f"run {left.run}, step {left.id}: {each.how}: {_undo(left)}")
    for each in ended:
        if each.how not in CLOSED and each.leftover.step.undo is not None:
            click.secho(f"NOT RESTORED: do by hand: {by_hand(each.leftover.step.undo)}", err=True, fg="red", bold=True)


def _undo(left: Leftover) -> str:
    return "nothing undoes it" if left.step.undo is None else describe(left.step.undo)
