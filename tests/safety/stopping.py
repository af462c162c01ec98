"""Runs that are stopped at some moment, while all goes well or while an operation blocks; and how long it takes until the undo is sent. Virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaoskit.model.experiment import Guards
from chaoskit.runner.run import Run
from tests.fake_cluster import FakeCluster, Sent, Trouble
from tests.live_runs import FakeTraffic, Story, at
from tests.safety.dying import FAULTS, LEAVES_NOTHING, labelled_shop, snapshot
from tests.virtual_time import START_S, run_virtual

WITHIN_S = 5.0
"""All undo writes have left so long after a signal, in seconds."""

BLOCKS: Mapping[str, Trouble] = {
    "nothing blocks": Trouble(),
    "the answer hangs, it was done at once": Trouble(hangs=True),
    "the answer hangs, it is done 4 s later": Trouble(hangs=True, lands_after_s=4.0),
    "the answer hangs, it is never done": Trouble(hangs=True, lands_after_s=None),
}
MOMENTS = (0.5, 3.0, 5.01, 5.03, 5.06, 5.2, 6.5, 9.0, 14.0, 16.0, 18.0)
"""Seconds after the begin: in warm-up, baseline, inject, hold, revert and settle."""


@dataclass(frozen=True)
class Stopped:
    """One stop. `first_s` and `last_s`: from the stop to the first and the last undo write, None when there was none; `wrong` says what is not as before."""

    first_s: float | None
    last_s: float | None
    wrong: str


def _blocking(cluster: FakeCluster, how: str) -> None:
    """The first mutation of a step blocks in this way; the others and the undo do not."""
    blocked: list[str] = []

    def trouble(sent: Sent) -> Trouble:
        if sent.undoing or blocked:
            return Trouble()
        blocked.append(sent.mark)
        return BLOCKS[how]

    cluster.trouble = trouble


def stopped(name: str, moment_s: float, how: str) -> Stopped:
    """A run that is told to stop at a moment, twice, as by an impatient Ctrl-C."""

    async def story() -> Stopped:
        cluster = labelled_shop()
        before = snapshot(cluster)
        _blocking(cluster, how)
        fault, target = FAULTS[name]
        played = Story(cluster, fault, target, traffic=None, slos=("replicasRestored",))

        def stop(run: Run) -> None:
            at(moment_s, lambda: run.abort("SIGINT"))
            at(moment_s + 0.2, lambda: run.abort("SIGINT"))

        await played.play(stop)
        told_s = START_S + moment_s
        undone = [sent.at_s - told_s for sent in cluster.sent if sent.undoing]
        await asyncio.sleep(6.0)
        wrong = "" if snapshot(cluster) == before else f"{name} at {moment_s} s, {how}: not as before"
        after = [since for since in undone if since >= 0]
        return Stopped(min(after, default=None), max(after, default=None), wrong)

    return run_virtual(story())


def stops() -> Iterator[tuple[str, float, str]]:
    return ((name, moment, how) for name in FAULTS for moment in MOMENTS for how in BLOCKS)


def abort_latency_s(name: str, how: str, breach_at_s: float) -> float | None:
    """From the moment a ceiling is crossed until an undo is sent, in seconds; None when nothing had to be undone."""

    async def story() -> float | None:
        cluster = labelled_shop()
        _blocking(cluster, how)
        fault, target = FAULTS[name]
        bad_s = START_S + breach_at_s
        traffic = FakeTraffic(status_at=lambda t_s: 503 if t_s >= bad_s else 200)
        guards = Guards(keep=("availability >= 50% over 2s",), min_ready=0)
        played = Story(cluster, fault, target, slos=("replicasRestored",), guards=guards, traffic=traffic)
        await played.play()
        # Half of the window of 2 s is bad one second after the first bad answer.
        crossed_s = bad_s + 1.0
        undone = [sent.at_s for sent in cluster.sent if sent.undoing]
        return min(undone) - crossed_s if undone else None

    return run_virtual(story())


def latencies() -> Iterator[tuple[str, str, float]]:
    names = [name for name in FAULTS if name not in LEAVES_NOTHING]
    return ((name, how, breach) for name in names for how in BLOCKS for breach in (6.3, 6.8, 7.15, 7.9, 9.0, 11.4))
