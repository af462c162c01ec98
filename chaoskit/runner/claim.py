"""A run's claim on its targets: the leases it holds, the record it keeps, and whether it may still act. Performs and undoes nothing.

Before each mutation the halt switch, the leases and the epoch are looked at, and the time since the last renewal on a clock that goes on
while the machine sleeps. A claim that was lost stays lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from chaoskit.model.errors import ClusterError, CouldNotRun
from chaoskit.model.plan import Plan
from chaoskit.model.resource import Json, Obj, Ref
from chaoskit.model.seams import Cluster
from chaoskit.model.step import Step
from chaoskit.runner import lease
from chaoskit.runner.halt import halted, refuse_halted
from chaoskit.runner.holder import Holder, boot_s, this_process
from chaoskit.runner.place import STATE_NAMESPACE, home_of, provided, targets_of, touches_nodes
from chaoskit.runner.record import Record, entry_of, record_ref

TICK_S = 0.5
"""How often the halt switch is looked at, in seconds."""

CLUSTER = "this cluster"
"""What the lease of the whole cluster is for: by default one run at a time."""


class Fenced(CouldNotRun):
    """This run may not act any more: it was halted, or somebody else has taken over."""


class Claim:
    """What a run holds. `lost` says why it may not act any more, "" while it may."""

    def __init__(self, cluster: Cluster, holder: Holder, state_namespace: str, now_s: Callable[[], float]) -> None:
        self.lost = ""
        self.unheld = ""
        self.on_lost: Callable[[str], None] = lambda because: None
        self.before_first: list[Callable[[], Awaitable[None]]] = []
        """What must be in place before the first mutation; may raise CouldNotRun."""
        self.holder = holder
        self.state_namespace = state_namespace
        self.home = state_namespace
        self._cluster = cluster
        self._now_s = now_s
        self._held: dict[str, Obj] = {}
        self._renewed_s = now_s()
        self._record: Record | None = None

    @property
    def leases(self) -> Sequence[Obj]:
        return list(self._held.values())

    async def take_cluster(self) -> None:
        """Take the lease of the whole cluster. Whoever may not write it goes without: `unheld` says why. Raises Busy."""
        try:
            await provided(self._cluster, self.state_namespace)
            await self._take(CLUSTER, self.state_namespace)
        except lease.Busy:
            raise
        except CouldNotRun as error:
            if isinstance(error, ClusterError) and error.status not in (403, 404):
                raise
            self.unheld = str(error)

    async def take_targets(self, plan: Plan, about: Mapping[str, Json] | None = None) -> None:
        """Take the leases of what the plan touches. Raises Busy with who holds one, CouldNotRun when state can be kept nowhere."""
        await refuse_halted(self._cluster, self.state_namespace)
        if touches_nodes(plan):
            await provided(self._cluster, self.state_namespace)
        self.home = home_of(plan, self.state_namespace)
        for what, namespace in targets_of(plan, self.state_namespace).items():
            await self._take(what, namespace)
        told = {"v": 1, "by": self.holder.name, "target": str(plan.aim.target), **(about or {})}
        told["leases"] = [f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" for obj in self.leases]
        self._record = Record(self._cluster, self.holder.run, self.home, told)

    async def _take(self, what: str, namespace: str) -> None:
        ref = lease.lease_ref(namespace, what)
        before = await self._cluster.find(ref)
        if before is not None:
            await self._refuse_unrecovered(before)
        held = await lease.take(self._cluster, ref, what, self.holder)
        self._renewed_s = self._now_s() if not self._held else self._renewed_s
        self._held[what] = held

    async def _refuse_unrecovered(self, found: Obj) -> None:
        """The lease of a dead run may be taken over only when nothing of that run is left to put back."""
        run = lease.run_of(found)
        if run == self.holder.run:
            return
        for namespace in {found["metadata"]["namespace"], self.state_namespace}:
            record = await _seen(self._cluster, record_ref(run, namespace))
            if record is not None and not await lease.is_alive(self._cluster, found):
                raise CouldNotRun(
                    f"run {run} died and its record {namespace}/{record['metadata']['name']} is still here; "
                    "put back first what it left: chaoskit recover"
                )

    async def check(self) -> None:
        """Whether a mutation may be sent now. Raises Fenced when it may not, ClusterError when that cannot be found out: then it must not either."""
        self._fence_myself()
        stopped, live = await asyncio.gather(
            halted(self._cluster, self.state_namespace),
            asyncio.gather(*(self._cluster.find(_name(held)) for held in self._held.values())),
        )
        if stopped:
            self._lose(stopped)
        for what, found in zip(tuple(self._held), live, strict=True):
            if found is None or not lease.is_holders(found, self._held[what]):
                by = "nobody" if found is None else lease.holder_of(found) or "nobody"
                self._lose(f"the lease of {what} is not ours any more: held by {by}")
        self._fence_myself()

    def _fence_myself(self) -> None:
        if self._held and self._now_s() - self._renewed_s > lease.FENCE_S:
            self._lose(f"the leases were not renewed for {self._now_s() - self._renewed_s:.0f} s")
        if self.lost:
            raise Fenced(self.lost)

    def lose(self, because: str) -> None:
        """From now on this run may not act any more."""
        first, self.lost = not self.lost, self.lost or because
        if first:
            self.on_lost(because)

    def _lose(self, because: str) -> None:
        self.lose(because)
        raise Fenced(self.lost)

    async def intend(self, steps: Sequence[tuple[str, Step]]) -> None:
        """Write down a stage where the cluster keeps it, before any of its requests. Raises CouldNotRun when that fails."""
        while self.before_first:
            await self.before_first[0]()
            self.before_first.pop(0)
        if self._record is not None:
            await self._record.intend([entry_of(id_, step) for id_, step in steps])

    async def close(self) -> None:
        """Everything is put back: the record goes. That it cannot be removed now harms nobody; a recovery removes it."""
        if self._record is not None:
            with contextlib.suppress(ClusterError):
                await self._record.erase()

    async def keep_renewing(self) -> None:
        """Renew every few seconds until cancelled; tells `on_lost` once when the claim is lost."""
        while True:
            await asyncio.sleep(lease.RENEW_S)
            with contextlib.suppress(Fenced):
                self._fence_myself()
                await self._renew()

    async def _renew(self) -> None:
        began = self._now_s()
        for what, held in list(self._held.items()):
            try:
                self._held[what] = await lease.renew(self._cluster, held, lease.RENEW_S)
            except ClusterError as error:
                if error.status == 409:
                    self._lose(f"the lease of {what} was taken over")
                return
        self._renewed_s = began

    async def keep_looking(self) -> None:
        """Look at the halt switch until cancelled, and at the time since the last renewal."""
        while True:
            await asyncio.sleep(TICK_S)
            with contextlib.suppress(ClusterError, Fenced):
                self._fence_myself()
                stopped = await halted(self._cluster, self.state_namespace)
                if stopped:
                    self._lose(stopped)

    async def release(self) -> None:
        """Give the leases back. One that cannot be runs out by itself."""
        for held in reversed(list(self._held.values())):
            with contextlib.suppress(ClusterError):
                await lease.release(self._cluster, held)


@asynccontextmanager
async def claiming(
    cluster: Cluster,
    run: str,
    state_namespace: str = STATE_NAMESPACE,
    *,
    holder: Holder | None = None,
    now_s: Callable[[], float] = boot_s,
) -> AsyncIterator[Claim]:
    """The claim of a run, with the lease of the cluster where it may be had; renewed meanwhile, given back at the end. Raises Busy."""
    claim = Claim(cluster, holder or this_process(run), state_namespace, now_s)
    await claim.take_cluster()
    tasks = [asyncio.create_task(claim.keep_renewing()), asyncio.create_task(claim.keep_looking())]
    try:
        yield claim
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.shield(claim.release())


def _name(held: Obj) -> Ref:
    return Ref("Lease", held["metadata"]["name"], held["metadata"]["namespace"])


async def _seen(cluster: Cluster, ref: Ref) -> Obj | None:
    """The object, or None also where it may not be read."""
    try:
        return await cluster.find(ref)
    except ClusterError as error:
        if error.status == 403:
            return None
        raise
