"""Runners that die at any durable write and any request, on a cluster in memory and virtual time. Arranges; asserts nothing.

A death is told apart from a cancellation: from then on the dead runner's every write and every request fails, so that none of its own
cleaning-up helps. What had been sent lands all the same, and in the `late` mode long after.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.experiments.bad_canary import BadCanary, CanaryPatch
from chaoskit.experiments.drain_node import DrainNode
from chaoskit.experiments.fail_liveness import FailLiveness
from chaoskit.experiments.fail_readiness import FailReadiness
from chaoskit.experiments.kill_pod import KillPod
from chaoskit.experiments.switches import ExecSwitch
from chaoskit.model.event import Event
from chaoskit.model.experiment import Guards
from chaoskit.model.operation import Field, Patch
from chaoskit.model.resource import Ref, ref_of
from chaoskit.model.seams import SLO, Fault, View
from chaoskit.model.step import Aim, FieldIs, Outcome, Stage, Until, step
from chaoskit.model.subject import Subject
from chaoskit.model.target import Target
from chaoskit.runner.recover import Report, Scope, recover_all
from tests.fake_cluster import FakeCluster, Sent, Trouble, shop
from tests.live_runs import MemoryJournal, Story

LATE_S = 4.5
"""How long after it was sent the last request of a dead runner lands in the `late` mode, in seconds."""

CHECKOUT = Target(namespace="shop", deployment="checkout")
KINDS = ("Node", "Deployment", "Service", "Lease", "ConfigMap", "Secret")


@dataclass(frozen=True)
class ScaleTo:
    """Changes the scale of the target, then a label of it: two stages, of which the first cannot leave a note on its object."""

    kind: ClassVar[str] = "scaleTo"
    replicas: int = 2

    async def stages(self, view: View, aim: Aim) -> AsyncGenerator[Stage, tuple[Outcome, ...]]:
        live = await view.get(Ref("Deployment", "checkout", "shop"))
        ref, before = ref_of(live), live["spec"]["replicas"]
        scale = Patch(ref, (Field("/spec/replicas", before, self.replicas),), "scale")
        yield Stage((step(scale, Until(FieldIs(ref, "/spec/replicas", self.replicas), 5.0)),))
        told = Patch(ref, (Field("/metadata/labels/tier", "front", "back"),))
        yield Stage((step(told, Until(FieldIs(ref, "/metadata/labels/tier", "back"), 5.0)),))

    def promises(self, subject: Subject) -> tuple[SLO, ...]:
        return ()


FAULTS: Mapping[str, tuple[Fault, Target]] = {
    "killPod": (KillPod(), CHECKOUT),
    "drainNode": (DrainNode(), Target(namespace="shop", node_of="checkout")),
    "badCanary": (BadCanary(patch=CanaryPatch(env={"BROKEN": "requests"})), CHECKOUT),
    "failReadiness": (FailReadiness(), Target(namespace="shop", deployment="checkout", pick=2)),
    "failLiveness": (FailLiveness(), CHECKOUT),
    "failReadinessByExec": (
        FailReadiness(
            exec=ExecSwitch(set=("touch", "/sick"), clear=("rm", "-f", "/sick"), check=("test", "-e", "/sick"))
        ),
        CHECKOUT,
    ),
    "scaleTo": (ScaleTo(), CHECKOUT),
}
"""Every fault, and two ways of reaching a target that only some of them take."""

LEAVES_NOTHING = frozenset({"killPod"})


class Died(BaseException):
    """The process is gone."""


class Mortal:
    """Counts the points at which a runner could die, and lets it die at one of them. Once dead it stays dead."""

    def __init__(self, dies_at: int | None, *, late: bool = False) -> None:
        self.dies_at = dies_at
        self.late = late
        self.points = 0
        self.dead = False

    def trouble(self, sent: Sent) -> Trouble:
        """A point before each request; the dead send nothing any more."""
        self.pass_point()
        is_its_last = self.points == self.dies_at
        return Trouble(lands_after_s=LATE_S) if self.late and is_its_last else Trouble()

    def pass_point(self) -> None:
        if self.dead:
            raise Died
        if self.points == self.dies_at:
            self.dead = True
            raise Died
        self.points += 1

    def possess(self, cluster: FakeCluster) -> None:
        """From now on whoever uses the cluster is this mortal."""

        def hook(where: str, op: object) -> None:
            if where != "land":
                self.pass_point()

        cluster.at = cluster.at_book = hook
        cluster.trouble = cluster.book_trouble = self.trouble


def freed(cluster: FakeCluster) -> None:
    """Whoever uses the cluster from now on lives."""
    cluster.at = cluster.at_book = lambda where, op: None
    cluster.trouble = cluster.book_trouble = lambda sent: Trouble()


@dataclass(frozen=True)
class Left:
    """A cluster after a death, and how it was before the run."""

    cluster: FakeCluster
    events: list[Event]
    before: object

    @property
    def is_as_before(self) -> bool:
        return snapshot(self.cluster) == self.before


def snapshot(cluster: FakeCluster) -> object:
    """All that must be as before: the desired state of what no controller owns, what is ours, and what is switched in pods."""
    sick = {uid for uid, files in cluster.world.files.items() if files and cluster.store.living(uid)}
    switched = {uid for uid, _ in cluster.world.switches if cluster.store.living(uid)}
    return cluster.store.snapshot(*KINDS), sick, switched


def labelled_shop() -> FakeCluster:
    """The shop, its Deployment with one label more."""
    cluster = shop()
    live = cluster.store.named(Ref("Deployment", "checkout", "shop"))
    assert live is not None
    cluster.store.change(live, metadata={"labels": {**live["metadata"]["labels"], "tier": "front"}})
    return cluster


async def lived(name: str, mortal: Mortal, *, after_s: float = 1.0) -> Left:
    """Play a run until its end or its death, and some time after it."""
    fault, target = FAULTS[name]
    cluster = labelled_shop()
    before = snapshot(cluster)
    mortal.possess(cluster)
    journal = MemoryJournal(lambda kind: mortal.pass_point())
    story = Story(
        cluster, fault, target, traffic=None, slos=("replicasRestored",), journal=journal, guards=Guards(min_ready=0)
    )
    with contextlib.suppress(Died, BaseExceptionGroup):
        await story.play()
    freed(cluster)
    await asyncio.sleep(after_s)
    return Left(cluster, journal.events, before)


async def recovered(cluster: FakeCluster, mortal: Mortal | None = None, *, force: bool = False) -> Report | None:
    """A recovery with nothing but the cluster; None when it died."""
    if mortal is None:
        return await recover_all(cluster, Scope("shop"), force=force)
    mortal.possess(cluster)
    try:
        return await recover_all(cluster, Scope("shop"), force=force)
    except (Died, BaseExceptionGroup):
        return None
    finally:
        freed(cluster)
