"""The Service proxy through real sockets: who is refused, who is reset, who goes on, and where connections go."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from chaoskit.sandbox.client import Client
from chaoskit.sandbox.proxy.affinity import Affinity
from chaoskit.sandbox.proxy.balancer import Balancer
from chaoskit.sandbox.proxy.programmer import Mirror, Programmer, due_s
from chaoskit.sandbox.proxy.routing import Address, Candidate, Route, affinity_of, candidates, table_of, usable

from .controlled import run, settings, until

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 5.0


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def backend(handler: Handler) -> AsyncIterator[Address]:
    """A server on a free port; its open connections end with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()


def says(name: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name)
        await writer.drain()

    return handler


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def route(*endpoints: Address) -> Route:
    return Route("shop", "web", "uid", "", tuple(endpoints))


async def ask(frontend: Address) -> bytes:
    reader, writer = await asyncio.open_connection(frontend.host, frontend.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        writer.close()


@asynccontextmanager
async def balanced(*endpoints: Address) -> AsyncIterator[tuple[Balancer, Address]]:
    async with Balancer(random.Random(7)) as balancer:
        frontend = Address("127.0.0.1", free_port())
        assert await balancer.apply({frontend: route(*endpoints)}) == {}
        yield balancer, frontend


def test_connections_are_spread_uniformly_over_the_endpoints_and_counted() -> None:
    async def main() -> None:
        async with (
            backend(says(b"a")) as a,
            backend(says(b"b")) as b,
            backend(says(b"c")) as c,
            balanced(a, b, c) as (balancer, frontend),
        ):
            answers = Counter([await ask(frontend) for _ in range(300)])
            assert set(answers) == {b"a", b"b", b"c"}
            assert all(60 <= count <= 140 for count in answers.values()), answers
            assert balancer.made == Counter({a: answers[b"a"], b: answers[b"b"], c: answers[b"c"]})

    run(main())


def test_a_service_without_endpoints_refuses_and_answers_again_when_it_has_some() -> None:
    async def main() -> None:
        async with backend(says(b"here")) as server, balanced(server) as (balancer, frontend):
            assert await ask(frontend) == b"here"
            await balancer.apply({frontend: route()})
            with pytest.raises(ConnectionRefusedError):
                await ask(frontend)
            await balancer.apply({frontend: route(server)})
            assert await ask(frontend) == b"here"
            await balancer.apply({})
            with pytest.raises(ConnectionRefusedError):
                await ask(frontend)

    run(main())


def test_a_backend_that_refuses_is_a_reset_and_no_other_endpoint_is_tried() -> None:
    async def main() -> None:
        dead = Address("127.0.0.1", free_port())
        async with backend(says(b"alive")) as alive, balanced(dead, alive) as (balancer, frontend):
            outcomes: Counter[str] = Counter()
            for _ in range(60):
                try:
                    outcomes[(await ask(frontend)).decode()] += 1
                except ConnectionResetError:
                    outcomes["reset"] += 1
            assert set(outcomes) == {"alive", "reset"}
            assert outcomes["reset"] == balancer.made[dead] and outcomes["alive"] == balancer.made[alive]

    run(main())


def test_a_reset_of_the_backend_reaches_the_client() -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        hard_close(writer)

    async def main() -> None:
        async with backend(resets) as server, balanced(server) as (_, frontend):
            reader, writer = await asyncio.open_connection(frontend.host, frontend.port)
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(PATIENCE_S):
                    await reader.read()
            writer.close()

    run(main())


def test_a_reset_of_the_client_reaches_the_backend() -> None:
    seen: list[str] = []

    async def watches(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(100):
                pass
            seen.append("end")
        except ConnectionResetError:
            seen.append("reset")

    async def main() -> None:
        async with backend(watches) as server, balanced(server) as (_, frontend):
            _, writer = await asyncio.open_connection(frontend.host, frontend.port)
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)
            hard_close(writer)
            await until(lambda: seen, "the backend notices")
            assert seen == ["reset"]

    run(main())


def hard_close(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def test_a_half_close_of_the_client_lets_the_answer_through() -> None:
    async def sums(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        writer.write(str(len(everything)).encode())
        await writer.drain()

    async def main() -> None:
        async with backend(sums) as server, balanced(server) as (_, frontend):
            reader, writer = await asyncio.open_connection(frontend.host, frontend.port)
            writer.write(b"x" * 1000)
            writer.write_eof()
            async with asyncio.timeout(PATIENCE_S):
                assert await reader.read() == b"1000"
            writer.close()

    run(main())


def test_a_half_close_of_the_backend_lets_the_client_go_on() -> None:
    received = bytearray()

    async def closes_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        received.extend(await reader.read())

    async def main() -> None:
        async with backend(closes_first) as server, balanced(server) as (_, frontend):
            reader, writer = await asyncio.open_connection(frontend.host, frontend.port)
            async with asyncio.timeout(PATIENCE_S):
                assert await reader.read() == b"bye"
            writer.write(b"still here")
            writer.write_eof()
            await until(lambda: bytes(received) == b"still here", "the backend hears the rest")
            writer.close()

    run(main())


def test_an_established_connection_survives_the_removal_of_its_endpoint() -> None:
    async def main() -> None:
        async with backend(echo) as server, balanced(server) as (balancer, frontend):
            reader, writer = await asyncio.open_connection(frontend.host, frontend.port)
            writer.write(b"one")
            assert await reader.readexactly(3) == b"one"
            await balancer.apply({})
            writer.write(b"two")
            async with asyncio.timeout(PATIENCE_S):
                assert await reader.readexactly(3) == b"two"
            writer.close()

    run(main())


def test_large_transfers_arrive_whole_although_the_reader_is_slow() -> None:
    size = 20_000_000

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"z" * size)
        await writer.drain()

    async def main() -> None:
        async with backend(floods) as server, balanced(server) as (_, frontend):
            reader, writer = await asyncio.open_connection(frontend.host, frontend.port)
            await asyncio.sleep(0.1)
            async with asyncio.timeout(PATIENCE_S * 2):
                assert len(await reader.read()) == size
            writer.close()

    run(main())


def test_nothing_is_left_open_when_the_balancer_ends() -> None:
    async def main() -> None:
        async with backend(echo) as server:
            async with balanced(server) as (balancer, frontend):
                reader, writer = await asyncio.open_connection(frontend.host, frontend.port)
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
            with pytest.raises(ConnectionResetError):
                await reader.read()
            assert balancer.listening() == set()
            with pytest.raises(ConnectionRefusedError):
                await ask(frontend)
            writer.close()

    run(main())


def test_a_taken_port_is_reported_and_opened_once_it_is_free() -> None:
    async def main() -> None:
        async with backend(says(b"late")) as server, Balancer() as balancer:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                frontend = Address("127.0.0.1", taken.getsockname()[1])
                failures = await balancer.apply({frontend: route(server)})
                assert list(failures) == [frontend]
            assert await balancer.apply({frontend: route(server)}) == {}
            assert await ask(frontend) == b"late"

    run(main())


def test_three_hundred_connections_at_once_are_served() -> None:
    async def main() -> None:
        async with backend(says(b"ok")) as server, balanced(server) as (_, frontend):
            answers = await asyncio.gather(*(ask(frontend) for _ in range(300)))
            assert set(answers) == {b"ok"}

    run(main())


# -- the table


def service(**spec: Any) -> Mapping[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "metadata": {"namespace": "shop", "name": "web", "uid": "u"},
        "spec": {"clusterIP": "127.64.128.1", "ports": ports, **spec},
    }


def endpointslice(*endpoints: Mapping[str, Any], ports: Any = ({"name": "http", "port": 8080},)) -> Mapping[str, Any]:
    metadata = {"namespace": "shop", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}}
    return {"metadata": metadata, "ports": ports, "endpoints": list(endpoints)}


def endpoint(host: str, ready: bool = True, serving: bool = True, terminating: bool = False) -> Mapping[str, Any]:
    return {"addresses": [host], "conditions": {"ready": ready, "serving": serving, "terminating": terminating}}


def test_ready_endpoints_are_used_and_the_others_only_when_none_is_ready() -> None:
    a, b, c = Address("a", 1), Address("b", 1), Address("c", 1)
    leaving, unready = Candidate(b, False, True, True), Candidate(c, False, False, False)
    assert usable([Candidate(a, True, True, False), leaving, unready]) == (a,)
    assert usable([leaving, unready]) == (b,)
    assert usable([unready, Candidate(a, False, False, True)]) == ()


def test_absent_conditions_mean_ready() -> None:
    (found,) = candidates(endpointslice({"addresses": ["10.0.0.1"]}), "http")
    assert found == Candidate(Address("10.0.0.1", 8080), ready=True, serving=True, terminating=False)


def test_the_table_has_cluster_address_and_node_ports() -> None:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    table = table_of(
        [service(type="NodePort", ports=ports)], [endpointslice(endpoint("10.0.0.1"))], ["127.64.0.1", "127.64.0.2"]
    )
    assert set(table) == {Address("127.64.128.1", 80), Address("127.64.0.1", 30080), Address("127.64.0.2", 30080)}
    assert {each.endpoints for each in table.values()} == {(Address("10.0.0.1", 8080),)}


def test_slices_are_joined_and_a_port_is_found_by_its_name() -> None:
    slices = [
        endpointslice(endpoint("10.0.0.1")),
        endpointslice(endpoint("10.0.0.2"), ports=[{"name": "http", "port": 9090}]),
    ]
    slices += [
        endpointslice(endpoint("10.0.0.3"), ports=[{"name": "admin", "port": 1}]),
        endpointslice(endpoint("10.0.0.4"), ports=None),
    ]
    (found,) = table_of([service()], slices, []).values()
    assert found.endpoints == (Address("10.0.0.1", 8080), Address("10.0.0.2", 9090))


def test_headless_and_external_services_have_no_frontend() -> None:
    assert table_of([service(clusterIP="None", clusterIPs=["None"]), service(type="ExternalName")], [], []) == {}


def test_a_lone_change_waits_for_programming_and_a_second_one_for_the_min_sync() -> None:
    assert due_s(now_s=100.0, last_s=0.0, min_sync_s=1.0) == pytest.approx(100.05)
    assert due_s(now_s=100.0, last_s=99.9, min_sync_s=1.0) == pytest.approx(100.9)
    assert due_s(now_s=100.0, last_s=99.9, min_sync_s=0.05) == pytest.approx(100.05)
    assert due_s(now_s=100.0, last_s=100.0, min_sync_s=0.0) == 100.0


def test_session_affinity_lasts_three_hours_unless_told_otherwise() -> None:
    assert affinity_of(service()) == 0.0
    assert affinity_of(service(sessionAffinity="ClientIP")) == 10800.0
    told = service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 3}})
    (found,) = table_of([told], [endpointslice(endpoint("10.0.0.1"))], []).values()
    assert found.affinity_s == 3.0


def test_affinity_slides_runs_out_and_ends_with_the_endpoint() -> None:
    now = [0.0]
    affinity = Affinity(lambda: now[0])
    a, b = Address("a", 1), Address("b", 1)
    both, only_b = Route("shop", "web", "u", "", (a, b), 3.0), Route("shop", "web", "u", "", (b,), 3.0)
    affinity.keep(both, "client", a)
    now[0] = 2.0
    assert affinity.recall(both, "client") == a and affinity.recall(both, "other") is None
    affinity.keep(both, "client", a)
    now[0] = 4.0
    assert affinity.recall(both, "client") == a, "the limit slides"
    assert affinity.recall(only_b, "client") is None, "its endpoint is gone"
    affinity.keep(only_b, "client", b)
    assert affinity.recall(both, "client") == b, "it does not move back"
    now[0] = 8.0
    assert affinity.recall(both, "client") is None, "its time is over"


def test_a_client_stays_with_its_pod_until_that_leaves() -> None:
    async def main() -> None:
        async with backend(says(b"a")) as a, backend(says(b"b")) as b, balanced(a, b) as (balancer, frontend):
            sticky = dataclasses.replace(route(a, b), affinity_s=60.0)
            await balancer.apply({frontend: sticky})
            (first,) = {await ask(frontend) for _ in range(30)}
            other = b if first == b"a" else a
            await balancer.apply({frontend: dataclasses.replace(sticky, endpoints=(other,))})
            (second,) = {await ask(frontend) for _ in range(5)}
            await balancer.apply({frontend: sticky})
            assert {await ask(frontend) for _ in range(30)} == {second} != {first}

    run(main())


# -- from the mirror to the sockets


class Events:
    """Stands for the API client: keeps the events that are posted."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []

    async def create(self, path: str, obj: dict[str, Any]) -> dict[str, Any]:
        assert path == "/api/v1/namespaces/shop/events"
        self.posted.append(obj)
        return obj


@asynccontextmanager
async def programmed(events: Events) -> AsyncIterator[tuple[Mirror, Balancer]]:
    mirror = Mirror()
    async with Balancer() as balancer:
        task = asyncio.create_task(Programmer(cast("Client", events), settings(nodes=0), mirror, balancer).run())
        try:
            yield mirror, balancer
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_nothing_is_programmed_before_services_and_slices_are_known_and_changes_follow() -> None:
    async def main() -> None:
        async with backend(says(b"hi")) as server, programmed(Events()) as (mirror, balancer):
            frontend = Address("127.0.0.1", free_port())
            made = dict(service(clusterIP="127.0.0.1", ports=[{"port": frontend.port}]))
            listed = dict(endpointslice(endpoint("127.0.0.1"), ports=[{"port": server.port}]))
            mirror.replace("services", (made,))
            await asyncio.sleep(0.1)
            assert balancer.listening() == set()
            mirror.replace("endpointslices", (listed,))
            await until(lambda: balancer.listening() == {frontend}, "the service listens")
            assert await ask(frontend) == b"hi"
            mirror.note(
                "endpointslices",
                "MODIFIED",
                {**listed, "endpoints": [endpoint("127.0.0.1", ready=False, serving=False)]},
            )
            await until(lambda: not balancer.listening(), "no endpoint is left")
            mirror.note("endpointslices", "MODIFIED", listed)
            await until(lambda: balancer.listening() == {frontend}, "the service listens again")
            mirror.note("services", "DELETED", made)
            await until(lambda: not balancer.listening(), "the service is gone")

    run(main())


def test_a_port_that_cannot_be_opened_is_told_once_and_tried_again() -> None:
    async def main() -> None:
        events = Events()
        async with backend(says(b"hi")) as server, programmed(events) as (mirror, balancer):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                mirror.replace("services", (dict(service(clusterIP="127.0.0.1", ports=[{"port": port}])),))
                mirror.replace(
                    "endpointslices", (dict(endpointslice(endpoint("127.0.0.1"), ports=[{"port": server.port}])),)
                )
                await until(lambda: events.posted, "the event")
                mirror.changed.set()
                await asyncio.sleep(0.2)
            (event,) = events.posted
            assert event["involvedObject"]["name"] == "web" and f"cannot listen on 127.0.0.1:{port}" in event["message"]
            await until(lambda: balancer.listening(), "opened once it is free")

    run(main())


with contextlib.suppress(ImportError):
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
