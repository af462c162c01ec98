"""A watch goes on through everything a server can do to it, and says where it was deaf."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import pytest
from aiohttp import web

from chaoskit.cluster import watch as watching
from chaoskit.cluster.live import LiveCluster
from chaoskit.model.errors import ClusterError
from chaoskit.model.seams import Gap, Listed, Sight
from tests.cluster.served_api import ServedApi, connected, line, status

PODS = "/api/v1/namespaces/shop/pods"
V = TypeVar("V")


def run(story: Callable[[ServedApi, LiveCluster], Awaitable[None]]) -> None:
    async def told() -> None:
        async with asyncio.timeout(20), connected() as (api, cluster):
            await story(api, cluster)

    asyncio.run(told())


async def take(stream: AsyncIterator[V], count: int) -> list[V]:
    """The next few, within five seconds."""
    async with asyncio.timeout(5):
        return [await anext(stream) for _ in range(count)]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})


def watched(cluster: LiveCluster, **options: Any) -> Any:
    return aclosing(watching.watch(cluster.transport, "Pod", "shop", **options))


def told(seen: Sight) -> tuple[str, str]:
    if isinstance(seen, Listed):
        return ("ALL", "listed")
    return ("GAP", seen.because) if isinstance(seen, Gap) else (seen.type, seen.obj["metadata"]["name"])


def watches(api: ServedApi) -> list[dict[str, str]]:
    return [asked.query for asked in api.asked if asked.query.get("watch")]


def test_what_is_there_comes_first_then_changes_and_bookmarks_only_move_the_place() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(PODS + "/a", {})

        async def script(out: web.StreamResponse) -> None:
            whole = line("ADDED", api.put(PODS + "/b", {})) + line("BOOKMARK", {"metadata": {"resourceVersion": "900"}})
            await out.write(whole[:20])
            await out.write(whole[20:])

        api.watches.append(script)
        async with watched(cluster) as stream:
            assert [told(s) for s in await take(stream, 3)] == [("LISTED", "a"), ("ALL", "listed"), ("ADDED", "b")]
            later = asyncio.create_task(take(stream, 1))
            await until(lambda: len(watches(api)) == 2)
            await cancelled(later)
        first, second = watches(api)
        assert (
            first["allowWatchBookmarks"] == "true"
            and first["resourceVersion"] == "101"
            and first["timeoutSeconds"] == "15"
        )
        assert second["resourceVersion"] == "900", "a clean end goes on where it was, without a list and without a gap"
        assert len([a for a in api.asked if a.path == PODS]) == 3

    run(story)


def _expired(api: ServedApi) -> Callable[[web.StreamResponse], Awaitable[None]]:
    async def script(out: web.StreamResponse) -> None:
        await out.write(line("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version: 5 (7602)"}))

    return script


def _cut(api: ServedApi) -> Callable[[web.StreamResponse], Awaitable[None]]:
    async def script(out: web.StreamResponse) -> None:
        await out.write(b'{"type":"ADD')
        assert out._req is not None and out._req.transport is not None
        out._req.transport.abort()

    return script


def _silence(api: ServedApi) -> Callable[[web.StreamResponse], Awaitable[None]]:
    async def script(out: web.StreamResponse) -> None:
        await asyncio.Event().wait()

    return script


@pytest.mark.parametrize("trouble", [_expired, _cut, _silence])
def test_expiry_a_broken_connection_and_silence_become_a_gap_and_the_differences(
    trouble: Callable[[ServedApi], Callable[[web.StreamResponse], Awaitable[None]]],
) -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        for name in "abc":
            api.put(f"{PODS}/{name}", {})
        script = trouble(api)

        async def then(out: web.StreamResponse) -> None:
            del api.objects[PODS + "/a"]
            api.put(PODS + "/b", {"metadata": {"labels": {"x": "y"}}})
            await script(out)

        api.watches.append(then)
        before = time.monotonic_ns()
        async with watched(cluster, silence_s=0.3) as stream:
            assert [told(s) for s in await take(stream, 4)] == [
                *(("LISTED", name) for name in "abc"),
                ("ALL", "listed"),
            ]
            gap, *changes = await take(stream, 3)
            assert isinstance(gap, Gap) and before < gap.start_ns < gap.end_ns < time.monotonic_ns()
            assert gap.feed == "pods" and gap.because
            assert [told(s) for s in changes] == [("DELETED", "a"), ("LISTED", "b")]

    run(story)


def test_a_server_that_ends_each_watch_at_once_is_not_asked_in_a_tight_loop() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        async def at_once(out: web.StreamResponse) -> None:
            return

        api.watches.extend([at_once] * 200)
        async with watched(cluster) as stream:
            reading = asyncio.create_task(take(stream, 100))
            await asyncio.sleep(1)
            await cancelled(reading)
        assert len(watches(api)) < 10

    run(story)


def test_a_watch_that_cannot_come_back_says_so_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "TOLD_EVERY_S", 0.1)

    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(PODS + "/a", {})

        async def down(request: web.Request) -> web.Response | None:
            return status(503, "ServiceUnavailable", "down") if request.path == PODS and len(watches(api)) else None

        api.watches.append(_expired(api))
        api.trouble = None
        async with watched(cluster) as stream:
            await take(stream, 2)
            api.trouble = down
            one, two = await take(stream, 2)
            assert (
                isinstance(one, Gap)
                and isinstance(two, Gap)
                and two.end_ns > one.end_ns
                and two.start_ns == one.start_ns
            )
            api.trouble = None
            while "not yet" in (last := await anext(stream)).because:
                assert isinstance(last, Gap)

    run(story)


def test_cancelling_many_watches_is_immediate() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        async def consume() -> None:
            async for _ in cluster.watch("Pod", "shop"):
                pass

        tasks = [asyncio.create_task(consume()) for _ in range(20)]
        await until(lambda: len(watches(api)) == 20)
        began = time.monotonic()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert time.monotonic() - began < 0.5

    run(story)


def test_a_watch_whose_first_list_is_refused_is_an_error() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        async def forbidden(request: web.Request) -> web.Response | None:
            return status(403, "Forbidden", "pods is forbidden")

        api.trouble = forbidden
        with pytest.raises(ClusterError, match="pods is forbidden"):
            await anext(cluster.watch("Pod", "shop"))

    run(story)


def test_a_long_list_is_read_page_by_page_and_from_the_start_when_its_token_expires() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        def page(names: str, token: str) -> web.Response:
            items = [{"metadata": {"name": name, "uid": name}} for name in names]
            return web.json_response({"metadata": {"resourceVersion": "7", "continue": token}, "items": items})

        answers = [page("ab", "t1"), status(410, "Expired", "too old"), page("ab", "t2"), page("c", "")]

        async def pages(request: web.Request) -> web.Response | None:
            return answers.pop(0) if request.path == PODS else None

        api.trouble = pages
        found = await cluster.list("Pod", "shop", labels="app=web")
        assert [pod["metadata"]["name"] for pod in found] == ["a", "b", "c"]
        assert {pod["kind"] for pod in found} == {"Pod"} and found[0]["apiVersion"] == "v1"
        assert [a.query.get("continue") for a in api.asked] == [None, "t1", None, "t2"]
        assert api.asked[0].query == {"limit": "500", "labelSelector": "app=web"}

    run(story)
