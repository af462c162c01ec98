"""Runs on a cluster whose API fails at one chosen call, in each way in which an API can fail. Arranges and checks; virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chaoskit.model.errors import ChaosError, ClusterError
from chaoskit.model.operation import Delete, Evict
from tests.fake_cluster import FakeCluster, Sent, Trouble, answering
from tests.live_runs import Story
from tests.safety.dying import FAULTS, labelled_shop, recovered, snapshot
from tests.virtual_time import run_virtual

WRITES: Mapping[str, Trouble] = {
    "401": answering(401),
    "409": answering(409),
    "410": answering(410),
    "422": answering(422),
    "429, Retry-After 1": answering(429, retry_after_s=1.0),
    "500": answering(500),
    "503": answering(503),
    "504, not done": Trouble(lost=True, lands_after_s=None),
    "504, done": Trouble(lost=True),
    "reset before it was sent": Trouble(unreachable=True),
    "reset before the effect": Trouble(lost=True, lands_after_s=None),
    "reset after the effect": Trouble(lost=True),
    "reset, the effect 4 s later": Trouble(lost=True, lands_after_s=4.0),
    "hangs, no effect": Trouble(hangs=True, lands_after_s=None),
    "hangs, the effect 4 s later": Trouble(hangs=True, lands_after_s=4.0),
}
READS: Mapping[str, ClusterError] = {
    "401": ClusterError("unauthorized", 401),
    "410": ClusterError("gone", 410),
    "429": ClusterError("too many", 429),
    "500": ClusterError("internal", 500),
    "503": ClusterError("unavailable", 503),
    "504": ClusterError("timeout", 504),
    "unreachable": ClusterError("cannot be reached"),
}


@dataclass
class Failing:
    """Lets the call of one number fail, for `times` calls in a row; counts them all."""

    number: int | None
    kind: str = ""
    times: int = 1
    calls: int = 0

    @property
    def is_due(self) -> bool:
        self.calls += 1
        return self.number is not None and self.number < self.calls <= self.number + self.times

    def possess(self, cluster: FakeCluster) -> None:
        cluster.trouble = cluster.book_trouble = self._of_write
        cluster.look_trouble = self._of_read

    def _of_write(self, sent: Sent) -> Trouble:
        return WRITES.get(self.kind, Trouble()) if self.is_due else Trouble()

    def _of_read(self) -> ClusterError | None:
        return READS.get(self.kind) if self.is_due else None


def calls_of(name: str) -> int:
    """How many calls a run of this fault makes."""
    failing = Failing(None)
    run_virtual(_played(name, failing))
    return failing.calls


async def _played(name: str, failing: Failing) -> tuple[FakeCluster, object, Story]:
    fault, target = FAULTS[name]
    cluster = labelled_shop()
    before = snapshot(cluster)
    story = Story(cluster, fault, target, traffic=None, slos=("replicasRestored",))
    failing.possess(cluster)
    with contextlib.suppress(ChaosError):  # it did not even begin
        await story.play()
    cluster.trouble = cluster.book_trouble = lambda sent: Trouble()
    cluster.look_trouble = lambda: None
    return cluster, before, story


@dataclass(frozen=True)
class Outcome:
    """One schedule: what was wrong in the end, and whether the run needed a recovery after it."""

    wrong: str = ""
    by_recovery: bool = False


def schedule(name: str, number: int, kind: str, times: int = 1) -> Outcome:
    """A run whose call of that number fails in that way."""

    async def story() -> Outcome:
        cluster, before, played = await _played(name, Failing(number, kind, times))
        here = f"{name}, call {number} {kind} x{times}"
        await asyncio.sleep(6.0)
        by_recovery = snapshot(cluster) != before
        if by_recovery and played.run is not None and played.run.restored == "yes" and _faulty(cluster, before):
            return Outcome(f"{here}: the run says that all was put back", True)
        if by_recovery:
            report = await recovered(cluster)
            if report is None or not report.is_clean or snapshot(cluster) != before:
                return Outcome(f"{here}: {report}", True)
        twice = doubled(cluster)
        return Outcome(f"{here}: done twice: {twice}" if twice else "", by_recovery)

    return run_virtual(story())


def _faulty(cluster: FakeCluster, before: object) -> bool:
    """Whether more than our own books is not as before."""

    def without_books(found: object) -> object:
        assert isinstance(found, tuple)
        return {key: obj for key, obj in found[0].items() if not key.startswith(("Lease", "ConfigMap"))}, found[1:]

    return without_books(snapshot(cluster)) != without_books(before)


def doubled(cluster: FakeCluster) -> list[str]:
    """The pods that were deleted or evicted more than once; a refusal that said so may be asked again."""
    landed = Counter(
        each.op.ref.uid
        for each in cluster.landed_ops
        if isinstance(each.op, Delete | Evict) and each.op.ref.kind == "Pod"
    )
    return [uid for uid, count in landed.items() if count > 1]


def schedules(names: Iterable[str] = tuple(FAULTS)) -> Iterator[tuple[str, int, str, int]]:
    """All of them: each fault, each call, each way, once and for a while."""
    for name in names:
        for number in range(calls_of(name)):
            for kind in dict.fromkeys((*WRITES, *READS)):
                yield name, number, kind, 1
                if kind in ("503", "401"):
                    yield name, number, kind, 5
