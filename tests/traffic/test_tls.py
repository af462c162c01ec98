"""Built-in traffic over TLS: it trusts whom it was told to, asks for the right name, and shows its own certificate."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from pathlib import Path

import pytest

from chaoskit.model.plan import Route
from chaoskit.model.requests import Request
from chaoskit.traffic.log import read_requests
from chaoskit.traffic.plan import RequestKind, Tls
from chaoskit.traffic.route import NoAnswer, choose
from chaoskit.traffic.supervisor import GeneratorError, TrafficPlan, generator
from tests.traffic.app import until
from tests.traffic.shop import Authority, Shop, authority, shop


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


async def sent(
    folder: Path, server: ssl.SSLContext, tls: Tls, count: int = 30, **plan: object
) -> tuple[Shop, list[Request]]:
    async with shop(tls=server) as running, generator(TrafficPlan(running.url, tls=tls, **plan), folder) as traffic:  # type: ignore[arg-type]
        await traffic.start()
        await until(lambda: traffic.health.completed >= count, 20, f"{count} requests, {traffic.health}")
        await traffic.stop()
    return running, list(read_requests(folder).ordered())


def test_a_server_of_a_trusted_name_is_used_by_new_and_by_kept_connections(tmp_path: Path, signed: Authority) -> None:
    running, requests = asyncio.run(sent(tmp_path, signed.server(), Tls(signed.ca, "shop.example")))
    assert {(r.status, r.error, r.pod) for r in requests} == {(200, "", "pod-a")}
    assert set(running.names) == {"shop.example"}
    assert {r.policy for r in requests} == {"fresh", "reuse"}
    assert max(r.uses for r in requests) > 1
    assert len(running.seen) == len(requests)


def test_large_bodies_pass_both_ways(tmp_path: Path, signed: Authority) -> None:
    kinds = (RequestKind("/up", "POST", body=b"x" * (2 << 20), chunked=True),)
    running, requests = asyncio.run(
        sent(tmp_path, signed.server(), Tls(signed.ca, "shop.example"), 5, requests=kinds, rate_per_s=10.0)
    )
    assert {(r.status, r.error) for r in requests} == {(200, "")}
    assert {body for _, _, _, body in running.seen} == {b"x" * (2 << 20)}


@pytest.mark.parametrize("tls", ["no authority", "another name"])
def test_a_server_that_is_not_trusted_gets_no_request(tmp_path: Path, signed: Authority, tls: str) -> None:
    untrusting = Tls() if tls == "no authority" else Tls(signed.ca, "other.example")
    running, requests = asyncio.run(sent(tmp_path, signed.server(), untrusting, 10))
    assert {(r.status, r.error) for r in requests} == {(0, "untrusted.tls")}
    assert running.seen == []


def test_anybody_is_trusted_when_that_was_said(tmp_path: Path, signed: Authority) -> None:
    _, requests = asyncio.run(sent(tmp_path, signed.server(), Tls(insecure_skip_verify=True)))
    assert {(r.status, r.error) for r in requests} == {(200, "")}


@pytest.mark.parametrize("names", [("client.pem", None), ("client.crt", "client.key")], ids=["one file", "two files"])
def test_a_client_certificate_is_shown(tmp_path: Path, signed: Authority, names: tuple[str, str | None]) -> None:
    certificate, key = names
    tls = Tls(signed.ca, "shop.example", signed.folder / certificate, signed.folder / key if key else None)
    _, requests = asyncio.run(sent(tmp_path, signed.server(asks_for_client=True), tls))
    assert {(r.status, r.error) for r in requests} == {(200, "")}


def test_without_a_client_certificate_a_server_that_asks_for_one_fails_each_request(
    tmp_path: Path, signed: Authority
) -> None:
    _, requests = asyncio.run(sent(tmp_path, signed.server(asks_for_client=True), Tls(signed.ca, "shop.example")))
    assert {r.status for r in requests} == {0}
    assert len(requests) >= 30


def test_plain_http_behind_an_https_url_is_a_failure_of_the_handshake(tmp_path: Path, signed: Authority) -> None:
    async def scenario() -> None:
        async with shop() as running:
            plan = TrafficPlan(running.url.replace("http:", "https:"), tls=Tls(signed.ca))
            async with generator(plan, tmp_path) as traffic:
                await traffic.start()
                await until(lambda: traffic.health.completed > 10, 5, "requests")
                await traffic.stop()

    asyncio.run(scenario())
    assert {r.error for r in read_requests(tmp_path)} == {"failed.tls"}


def test_a_file_that_is_no_certificate_is_refused_before_the_start(tmp_path: Path, signed: Authority) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")

    async def scenario() -> None:
        async with generator(TrafficPlan("https://127.0.0.1:1", tls=Tls(tmp_path / "ca.pem")), tmp_path):
            pass

    with pytest.raises(GeneratorError, match=r"tls\.caFile .*ca\.pem cannot be used"):
        asyncio.run(scenario())


def test_the_search_for_a_route_trusts_the_same(signed: Authority) -> None:
    async def scenario(tls: Tls) -> Route:
        async with shop(tls=signed.server()) as running:
            return await choose([Route("url", running.url, "given")], "/", 2.0, tls=tls)

    trusted = Tls(signed.ca, "shop.example")
    assert "answered 200" in asyncio.run(scenario(trusted)).why
    for untrusting in (Tls(), dataclasses.replace(trusted, server_name="other.example")):
        with pytest.raises(NoAnswer, match=r"certificate.*Give traffic\.tls the caFile"):
            asyncio.run(scenario(untrusting))
