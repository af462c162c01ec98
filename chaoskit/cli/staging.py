"""Setting the stage: an experiment's own manifests before it, their removal after it. What is applied is decided here, how in the cluster package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from chaoskit.cli.files import ExperimentFile
from chaoskit.cli.place import Place
from chaoskit.cluster.setup import Applied, apply, remove, wait_until_available
from chaoskit.model.errors import ChaosError, NotRestored
from chaoskit.runner.settled import settled

AVAILABLE_WITHIN_S = 120.0
"""How long the Deployments of the manifests may take to be available, in seconds."""


@asynccontextmanager
async def staged(
    file: ExperimentFile, where: Place, run: str, setup: bool, say: Callable[[str], None]
) -> AsyncIterator[None]:
    """The experiment's manifests applied and available: always on a sandbox, elsewhere when `setup` says so, and then removed at the end.

    Raises NotRestored when something that was created could not be removed.
    """
    if not (where.is_sandbox or setup):
        yield
        return
    namespace = file.experiment.target.namespace or "default"
    setting_up = asyncio.create_task(apply(where.cluster, file.manifests, namespace, run))
    try:
        # asyncio.wait, unlike a bare await, leaves the task alone when we are cancelled: what it creates must be known.
        await asyncio.wait({setting_up})
        applied = setting_up.result()
        if file.manifests:
            say(await wait_until_available(where.cluster, applied, AVAILABLE_WITHIN_S))
        yield
    finally:
        if where.is_sandbox:
            setting_up.cancel()
        else:
            await settled(_taken_away(setting_up, where, run))


async def _taken_away(setting_up: asyncio.Task[Applied], where: Place, run: str) -> None:
    try:
        applied = await setting_up
    except ChaosError:
        return  # it has taken away what it had created, and its error is on its way
    left: Sequence[str] = await remove(where.cluster, applied, run)
    if left:
        raise NotRestored(f"the setup of this run could not be removed; delete by hand: {'; '.join(left)}")
