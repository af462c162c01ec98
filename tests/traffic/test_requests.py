"""Several kinds of requests, their headers and bodies: a server that is not ours receives what the plan says, and is understood."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from chaoskit.model.requests import Request
from chaoskit.traffic.log import read_requests
from chaoskit.traffic.plan import RequestKind
from chaoskit.traffic.supervisor import TrafficPlan, generator
from tests.traffic.app import until
from tests.traffic.shop import Answer, Shop, ok, shop

MIB = 1 << 20


async def sent(
    folder: Path, kinds: tuple[RequestKind, ...], count: int, answer: Answer = ok, limit: int = 1 << 30, **plan: object
) -> tuple[Shop, list[Request]]:
    async with shop(answer, limit=limit) as running:
        fields = TrafficPlan(running.url, requests=kinds, **{"rate_per_s": 200.0, **plan})  # type: ignore[arg-type]
        async with generator(fields, folder) as traffic:
            await traffic.start()
            await until(lambda: len(running.seen) >= count, 20, f"{count} requests, {traffic.health}")
            await traffic.stop()
    return running, list(read_requests(folder).ordered())


def test_kinds_come_by_their_weights_and_are_logged_by_name(tmp_path: Path) -> None:
    kinds = (
        RequestKind("/cart?id=1", weight=3.0),
        RequestKind("/buy", "POST", {"X-Key": "mine"}, b'{"a": 1}', name="buying"),
    )
    running, requests = asyncio.run(
        sent(tmp_path, kinds, 400, headers={"X-Key": "all", "X-Other": "o"}, rate_per_s=400.0)
    )
    seen = Counter(
        (method, path, headers["X-Key"], headers["X-Other"], body) for method, path, headers, body in running.seen
    )
    assert set(seen) == {("GET", "/cart?id=1", "all", "o", b""), ("POST", "/buy", "mine", "o", b'{"a": 1}')}
    assert seen[("POST", "/buy", "mine", "o", b'{"a": 1}')] == pytest.approx(0.25 * len(running.seen), rel=0.4)
    assert Counter(r.endpoint for r in requests) == {
        "GET /cart?id=1": seen[("GET", "/cart?id=1", "all", "o", b"")],
        "buying": seen[("POST", "/buy", "mine", "o", b'{"a": 1}')],
    }


def test_both_policies_carry_each_kind(tmp_path: Path) -> None:
    _, requests = asyncio.run(sent(tmp_path, (RequestKind("/a"), RequestKind("/b")), 100))
    assert {(r.endpoint, r.policy) for r in requests} == {
        (e, p) for e in ("GET /a", "GET /b") for p in ("fresh", "reuse")
    }


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
@pytest.mark.parametrize("policy", ["fresh", "reuse"])
def test_large_bodies_are_sent_whole(tmp_path: Path, policy: str, chunked: bool) -> None:
    (tmp_path / "body").write_bytes(os.urandom(3 * MIB))
    kind = RequestKind("/up", "PUT", body=tmp_path / "body", chunked=chunked)
    running, requests = asyncio.run(sent(tmp_path, (kind,), 5, policies={policy: 1.0}, rate_per_s=10.0))
    assert {(r.status, r.error) for r in requests} == {(200, "")}
    assert {body for _, _, _, body in running.seen} == {(tmp_path / "body").read_bytes()}
    assert all(("Transfer-Encoding" in headers) is chunked for _, _, headers, _ in running.seen)


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
def test_large_bodies_are_read_whole_before_a_request_has_ended(tmp_path: Path, chunked: bool) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = 3 * MIB
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"x" * MIB)
            await asyncio.sleep(0.05)
        await response.write_eof()
        return response

    _, requests = asyncio.run(sent(tmp_path, (RequestKind(),), 6, large, policies={"reuse": 1.0}, rate_per_s=10.0))
    assert {(r.status, r.error) for r in requests} == {(200, "")}
    assert all(r.latency_s > 0.1 for r in requests)
    assert len(requests) > 5


def test_an_answer_before_the_end_of_a_body_is_heard(tmp_path: Path) -> None:
    """Who refuses an upload says so at once; a client that insists on sending all would call it a broken connection."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(status=413, headers={"Connection": "close"})

    kind = RequestKind("/up", "POST", body=b"x" * (16 * MIB))
    _, requests = asyncio.run(sent(tmp_path, (kind,), 5, refuse, limit=0, rate_per_s=5.0, policies={"reuse": 1.0}))
    assert {(r.status, r.error) for r in requests} == {(413, "")}


def test_redirects_are_statuses_and_are_not_followed(tmp_path: Path) -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/elsewhere")

    running, requests = asyncio.run(sent(tmp_path, (RequestKind("/here"),), 20, elsewhere))
    assert {path for _, path, _, _ in running.seen} == {"/here"}
    assert Counter(r.status for r in requests) == {302: len(running.seen)}
