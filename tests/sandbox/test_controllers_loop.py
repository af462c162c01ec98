"""The loop under the controllers: keys wait once, failures wait longer, and a settled cluster is quiet."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from chaoskit.sandbox.controllers import loop
from chaoskit.sandbox.controllers.loop import Controller, Key, RetryLater, WorkQueue, drive, itself
from chaoskit.sandbox.registry import Registry

from .controlled import run, settings, until, workload, world


def test_a_key_waits_once_and_the_earliest_timer_wins() -> None:
    async def main() -> None:
        queue = WorkQueue()
        for _ in range(3):
            queue.add(("a",))
        queue.add(("b",))
        assert [await queue.get(), await queue.get()] == [("a",), ("b",)]
        queue.add_after(("c",), 60.0)
        queue.add_after(("c",), 0.01)
        queue.add_after(("c",), 60.0)
        async with asyncio.timeout(5):
            assert await queue.get() == ("c",)
        queue.close()

    run(main())


def test_back_off_doubles_and_is_forgotten_after_success() -> None:
    async def main() -> None:
        queue = WorkQueue()
        waited = []
        for _ in range(6):
            began = asyncio.get_running_loop().time()
            queue.retry(("a",))
            await queue.get()
            waited.append(asyncio.get_running_loop().time() - began)
        assert waited[5] > 0.15
        queue.forget(("a",))
        began = asyncio.get_running_loop().time()
        queue.retry(("a",))
        await queue.get()
        assert asyncio.get_running_loop().time() - began < 0.15

    run(main())


def test_a_crashing_key_is_counted_and_tried_again_while_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Key] = []

    def reconcile(_registry: Registry, key: Key) -> float | None:
        seen.append(key)
        if key[1] == "bad" and seen.count(key) < 3:
            raise RuntimeError("boom")
        if key[1] == "shy" and seen.count(key) < 2:
            raise RetryLater("not yet")
        return None

    async def main() -> None:
        registry = Registry(settings())
        for name in ("bad", "good", "shy"):
            registry.create("namespaces", "", {"metadata": {"name": name}}, actor="test")
        task = asyncio.create_task(drive(Controller("test", {"namespaces": itself}, reconcile), registry))
        wanted = {("", "bad"): 3, ("", "good"): 1, ("", "shy"): 2}
        await until(lambda: {key: seen.count(key) for key in wanted} == wanted, f"each is settled: {seen}")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    loop.crashes.clear()
    with caplog.at_level(logging.CRITICAL, logger=loop.__name__):
        run(main())
    assert loop.crashes == {"test": 2}
    loop.crashes.clear()


def test_a_settled_cluster_writes_nothing() -> None:
    async def main() -> None:
        async with world() as here:
            body: Any = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
            here.apply("services", body)
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            await asyncio.sleep(0.05)
            before = here.registry.store.revision
            await asyncio.sleep(0.3)
            assert here.registry.store.revision == before

    run(main())
