"""Traffic processes that are started before their plan is known."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from chaoskit.traffic.log import read_requests
from chaoskit.traffic.supervisor import GeneratorError, TrafficPlan, crew, generator
from tests.traffic.app import run_until_seen, serving, until
from tests.traffic.test_generator import gone


def test_a_crew_that_has_loaded_is_ready_at_once_and_its_output_is_where_it_belongs(tmp_path: Path) -> None:
    async def scenario() -> tuple[float, tuple[int, ...]]:
        async with serving() as app, crew(1) as early:
            await until(lambda: _rests(early.pids[0]), 10, "the process has loaded and waits")
            began = time.monotonic()
            async with generator(TrafficPlan(app.url), tmp_path, crew=early) as traffic:
                ready = time.monotonic() - began
                await run_until_seen(traffic, app, 30)
                assert len(read_requests(tmp_path)) == len(app.requests)
                assert (tmp_path / "traffic.log").exists()
                return ready, traffic.pids

    ready, pids = asyncio.run(scenario())
    assert ready < 0.5  # the self-test; loading Locust alone takes as long
    assert all(map(gone, pids))


def _rests(pid: int) -> bool:
    """Whether it waits for its plan: in epoll, which nothing does before all is loaded."""
    return "epoll" in Path(f"/proc/{pid}/wchan").read_text()


def test_several_processes_of_a_crew_share_one_timetable(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            serving() as app,
            crew(2) as early,
            generator(TrafficPlan(app.url, processes=2), tmp_path, crew=early) as traffic,
        ):
            await run_until_seen(traffic, app, 50)
        assert [r.seq for r in read_requests(tmp_path).ordered()][:40] == list(range(40))

    asyncio.run(scenario())


def test_a_crew_that_is_not_needed_ends(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, ...]:
        async with crew(2) as early:
            return early.pids

    assert all(map(gone, asyncio.run(scenario())))


def test_a_crew_of_another_size_than_planned_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with crew(1) as early, generator(TrafficPlan("http://127.0.0.1:1", processes=2), tmp_path, crew=early):
            pass

    with pytest.raises(GeneratorError, match="2 processes cannot be made by a crew of 1"):
        asyncio.run(scenario())


def test_one_that_died_meanwhile_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with crew(1) as early:
            os.kill(early.pids[0], signal.SIGKILL)
            await until(lambda: gone(early.pids[0]), 5, "the process is dead")
            async with generator(TrafficPlan("http://127.0.0.1:1"), tmp_path, crew=early):
                pass

    with pytest.raises(GeneratorError, match="died before it was ready: killed by SIGKILL"):
        asyncio.run(scenario())
