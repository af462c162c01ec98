"""Real processes, real SIGKILL, a real API server: a handful of kills on a sandbox. `tests.safety.report --only real` spreads many over every fault."""

from __future__ import annotations

import asyncio

from tests.safety.killing import Scene, scene
from tests.safety.report import killed_at_points, watched_over


async def everything_left(here: Scene) -> bool:
    """The sabotage: without a recovery a killed run leaves its cordon, its record and its lease."""
    here.kill(await here.held(here.job("drainNode", hold_s=30.0)))
    await here.hear("ended")
    left = not await here.is_as_before(0.5)
    report = await here.recovered()
    return left and report.is_clean and await here.is_as_before(10.0)


def test_what_killed_runs_leave_is_put_back_by_a_recovery_or_by_the_watchdog() -> None:
    async def story() -> None:
        async with scene() as here:
            assert await everything_left(here)
            await here.settled()
            for name in ("badCanary", "failReadinessByExec"):
                row = await killed_at_points(here, name, 2)
                assert row.wrong == []
            row = await watched_over(here, 1)
            assert row.wrong == []

    asyncio.run(story())
