"""Who watches over a run from the command line: its claim on the cluster, and its watchdog. Says what is there and what is not; undoes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from chaoskit.cli.options import Wanted
from chaoskit.cli.place import Place
from chaoskit.model.plan import Plan
from chaoskit.runner.claim import Claim, claiming
from chaoskit.runner.place import touches_nodes
from chaoskit.runner.watchdog import Order, leaves_state, watched


@asynccontextmanager
async def claimed(where: Place, run: str, state_namespace: str, say: Callable[[str], None]) -> AsyncIterator[Claim]:
    """The claim of a run, from before its setup until after it is removed."""
    async with claiming(where.cluster, run, state_namespace) as claim:
        if claim.unheld:
            say(f"without the lease of the cluster, another run may work elsewhere on it: {claim.unheld}")
        yield claim


def watchdog(
    plan: Plan, wanted: Wanted, folder: Path, state_namespace: str, say: Callable[[str], None]
) -> Callable[[Claim], AbstractAsyncContextManager[object]] | None:
    """What sets a watchdog over the run; None where nothing would be left, or the cluster ends with us."""
    if wanted.context is None or not leaves_state(plan):
        return None
    namespace = plan.aim.target.namespace or (state_namespace if touches_nodes(plan) else "")
    kubeconfig = str(wanted.kubeconfig.absolute()) if wanted.kubeconfig is not None else ""
    order = Order(wanted.context, plan.aim.run, namespace, kubeconfig, state_namespace)

    @asynccontextmanager
    async def over(claim: Claim) -> AsyncIterator[None]:
        async with watched(order, folder, claim) as pid:
            say(
                f"a watchdog (pid {pid}) puts back if this process dies or stands still; it dies with this machine: "
                "`chaoskit recover` does the same from anywhere"
            )
            yield

    return over
