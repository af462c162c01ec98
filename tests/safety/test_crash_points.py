"""The runner dies at every durable write and at every request of every fault; then recovery puts back. Enumerated, in virtual time.

A death is told apart from a cancellation: from then on the dead runner's every write and every request fails, so that none of its own
cleaning-up helps. What had been sent lands all the same.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from chaoskit.experiments.bad_canary import BadCanary, CanaryPatch
from chaoskit.experiments.drain_node import DrainNode
from chaoskit.experiments.fail_liveness import FailLiveness
from chaoskit.experiments.fail_readiness import FailReadiness
from chaoskit.model.event import Event
from chaoskit.model.seams import Fault
from chaoskit.model.target import Target
from chaoskit.runner.recover import Leftover, find_leftovers, recover
from chaoskit.runner.undo import open_steps
from tests.fake_cluster import FakeCluster, Sent, Trouble, shop
from tests.live_runs import RUN, MemoryJournal, Story
from tests.virtual_time import run_virtual

LONGEST_TTL_S = 120.0

CHECKOUT = Target(namespace="shop", deployment="checkout")
FAULTS: dict[str, tuple[Fault, Target]] = {
    "drainNode": (DrainNode(), Target(namespace="shop", node_of="checkout")),
    "badCanary": (BadCanary(patch=CanaryPatch(env={"BROKEN": "requests"})), CHECKOUT),
    "failReadiness": (FailReadiness(), CHECKOUT),
    "failLiveness": (FailLiveness(), CHECKOUT),
}


class Died(BaseException):
    """The process is gone."""


class Mortal:
    """Counts the points at which a runner could die, and lets it die at one of them. Once dead it stays dead."""

    def __init__(self, dies_at: int | None) -> None:
        self.dies_at = dies_at
        self.points = 0
        self.dead = False

    def trouble(self, sent: Sent) -> Trouble:
        """None, but for the dead: they send nothing any more."""
        if self.dead:
            raise Died
        return Trouble()

    def pass_point(self) -> None:
        if self.dead:
            raise Died
        if self.points == self.dies_at:
            self.dead = True
            raise Died
        self.points += 1


async def lived(name: str, mortal: Mortal) -> tuple[FakeCluster, list[Event], object]:
    """Play a run until its end or its death; what it had sent has landed then."""
    fault, target = FAULTS[name]
    cluster = shop()
    before = cluster.store.snapshot("Node", "Deployment", "Service")
    cluster.at = lambda where, op: mortal.pass_point() if where != "land" else None
    cluster.trouble = mortal.trouble
    journal = MemoryJournal(lambda kind: mortal.pass_point())
    story = Story(cluster, fault, target, traffic=None, slos=("replicasRestored",), journal=journal)
    with contextlib.suppress(Died, BaseExceptionGroup):
        await story.play()
    cluster.at, cluster.trouble = lambda where, op: None, lambda sent: Trouble()
    await asyncio.sleep(1.0)
    return cluster, journal.events, before


def points_of(name: str) -> int:
    mortal = Mortal(None)
    run_virtual(lived(name, mortal))
    return mortal.points


def every_point() -> list[tuple[str, int]]:
    return [(name, point) for name in FAULTS for point in range(points_of(name))]


@pytest.mark.parametrize(("name", "point"), every_point())
def test_recovery_from_the_cluster_alone_puts_back(name: str, point: int) -> None:
    async def story() -> None:
        cluster, _, before = await lived(name, Mortal(point))
        leftovers, unseen = await find_leftovers(cluster)
        ended = await recover(cluster, leftovers)
        assert {recovered.how for recovered in ended} <= {"undone", "already", "gone"}
        await asyncio.sleep(LONGEST_TTL_S)  # a switch leaves no mark in the cluster: its time-to-live ends it
        assert (await find_leftovers(cluster)) == ([], unseen)
        assert cluster.store.snapshot("Node", "Deployment", "Service") == before
        assert cluster.world.switches == {}

    run_virtual(story())


@pytest.mark.parametrize(("name", "point"), every_point())
def test_recovery_from_the_journal_puts_back_at_once_and_a_second_time_does_nothing(name: str, point: int) -> None:
    async def story() -> None:
        cluster, events, before = await lived(name, Mortal(point))
        leftovers = [Leftover(RUN, id_, step) for id_, step in open_steps(events) if step.undo is not None]
        await recover(cluster, leftovers)
        assert cluster.world.switches == {}
        assert cluster.store.snapshot("Node", "Deployment", "Service") == before
        landed = len(cluster.landed_ops)
        again = await recover(cluster, leftovers)
        assert {recovered.how for recovered in again} <= {"undone", "already", "gone"}
        assert cluster.store.snapshot("Node", "Deployment", "Service") == before
        assert all(sent.undoing for sent in cluster.landed_ops[landed:])

    run_virtual(story())


@pytest.mark.parametrize("name", FAULTS)
def test_without_recovery_a_death_leaves_something_at_some_point(name: str) -> None:
    """The sabotage: were nothing ever left, the tests above would prove nothing."""

    def left(point: int) -> bool:
        async def story() -> bool:
            cluster, _, before = await lived(name, Mortal(point))
            return bool(cluster.world.switches) or cluster.store.snapshot("Node", "Deployment", "Service") != before

        return run_virtual(story())

    assert any(left(point) for point in range(points_of(name)))
