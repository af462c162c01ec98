"""The generator as a whole: real processes, real sockets; what it reports is what the server did."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.model.requests import DROPPED, Request
from chaoskit.traffic.log import read_requests
from chaoskit.traffic.supervisor import GeneratorError, TrafficPlan, generator
from chaoskit.traffic.timetable import timetable
from tests.traffic.app import FIN, OK, RST, SILENCE, App, run_until_seen, serving, until

FRESH, REUSE = {"fresh": 1.0}, {"reuse": 1.0}


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def served(
    folder: Path, respond: Callable[[int], bytes], count: int, **plan: object
) -> tuple[App, list[Request]]:
    """Run traffic until the server saw so many requests; what it saw, and the log by sequence."""
    async with serving(respond) as app:
        fields = {"rate_per_s": 200.0, "policies": FRESH, **plan}
        async with generator(TrafficPlan(app.url, **fields), folder) as traffic:  # type: ignore[arg-type]
            await run_until_seen(traffic, app, count)
    return app, sorted(read_requests(folder), key=lambda request: request.seq)


def test_each_request_is_recorded_with_who_answered(tmp_path: Path) -> None:
    app, requests = asyncio.run(served(tmp_path, lambda n: OK, 40, policies={"fresh": 0.5, "reuse": 0.5}))
    assert len(requests) == len(app.requests) >= 40
    assert {(r.status, r.error, r.pod, r.version, r.node, r.endpoint) for r in requests} == {
        (200, "", "pod-a", "v1", "node-1", "GET /")
    }
    assert all(r.intended_ns <= r.start_ns <= r.end_ns for r in requests)


def test_fresh_opens_a_connection_for_each_request_and_reuse_keeps_twelve(tmp_path: Path) -> None:
    fresh, requests = asyncio.run(served(tmp_path / "fresh", lambda n: OK, 60))
    assert fresh.connections == len(fresh.requests)
    assert {r.uses for r in requests} == {1}
    reuse, requests = asyncio.run(served(tmp_path / "reuse", lambda n: OK, 120, policies=REUSE))
    assert 12 <= reuse.connections <= 20  # a few more only while answers are late
    assert max(r.uses for r in requests) > 5
    assert sum(1 for r in requests if r.uses == 1) == reuse.connections


@pytest.mark.parametrize("drop", [FIN, RST], ids=["fin", "rst"])
@pytest.mark.parametrize("policies", [FRESH, REUSE], ids=["fresh", "reuse"])
def test_ten_dropped_requests_are_ten_failures_and_none_is_sent_twice(
    tmp_path: Path, policies: dict[str, float], drop: bytes
) -> None:
    app, requests = asyncio.run(
        served(tmp_path, lambda n: drop if n < 100 and n % 10 == 9 else OK, 100, policies=policies)
    )
    failed = [request for request in requests if request.error]
    assert len(failed) == 10
    assert {request.error for request in failed} == {"closed.first-byte" if drop == FIN else "reset.first-byte"}
    assert len(requests) == len(app.requests)


def test_a_kept_connection_closed_at_rest_is_replaced_and_is_no_failure(tmp_path: Path) -> None:
    """The server closes after each answer without saying so: the client sees the end before it sends again."""

    async def scenario() -> None:
        async with serving() as app:

            async def one_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                app.connections += 1
                await app._one(await reader.readuntil(b"\r\n\r\n"), writer)
                writer.close()

            server = await asyncio.start_server(one_only, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with generator(TrafficPlan(url, rate_per_s=50, policies=REUSE), tmp_path) as traffic:
                await run_until_seen(traffic, app, 40)
            server.close()
            assert {r.error for r in read_requests(tmp_path)} == {""}
            assert app.connections == len(app.requests) == len(read_requests(tmp_path))

    asyncio.run(scenario())


def test_the_phase_and_kind_of_each_failure_are_told(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    cases = {
        b"HTTP/1.1 204 No Content\r\n\r\n": (204, ""),
        chunked + b"4;x=y\r\nabcd\r\n1\r\ne\r\n0\r\nTrailer: x\r\n\r\n": (200, ""),
        chunked + b"zz\r\n": (0, "malformed.body"),
        chunked + b"40\r\nabcd" + b"connection: close": (0, "closed.body"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK: (200, ""),
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n": (503, ""),
        b"HTTP/1.0 200 OK\r\nX-Pod: b\r\n\r\nuntil the end, connection: close": (200, ""),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nconnection: close"[:-12]: (0, "timeout.body"),
        b"SSH-2.0-OpenSSH\r\n\r\n": (0, "malformed.body"),
        SILENCE: (0, "timeout.first-byte"),
    }
    plan = {"policies": REUSE, "rate_per_s": 20.0, "timeout_s": 0.5}
    _, requests = asyncio.run(served(tmp_path, lambda n: list(cases)[n] if n < len(cases) else OK, len(cases), **plan))
    assert [(r.status, r.error) for r in requests[: len(cases)]] == list(cases.values())


def test_the_request_is_what_the_plan_says(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving() as app:
            plan = TrafficPlan(
                app.url + "/api/", "/cart?id=1", "POST", 100.0, policies=REUSE, headers={"host": "shop", "X-Key": "ü"}
            )
            async with generator(plan, tmp_path) as traffic:
                await run_until_seen(traffic, app, 5)
            assert set(app.requests) == {
                "POST /api/cart?id=1 HTTP/1.1\r\nUser-Agent: chaoskit\r\nAccept: */*\r\nContent-Length: 0\r\n"
                "host: shop\r\nX-Key: ü\r\nConnection: keep-alive\r\n\r\n".encode()
            }

    asyncio.run(scenario())


def test_a_refused_connection_is_a_failure(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving() as app:
            pass  # closed again: nobody listens there
        async with generator(TrafficPlan(app.url, rate_per_s=100), tmp_path) as traffic:
            await traffic.start()
            await until(lambda: traffic.health.completed > 20, 5, "twenty requests ended")
            await traffic.stop()

    asyncio.run(scenario())
    assert {(r.status, r.error) for r in read_requests(tmp_path)} == {(0, "refused.connect")}


def test_the_rate_is_held_and_health_agrees_with_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving() as app, generator(TrafficPlan(app.url, rate_per_s=300.0), tmp_path) as traffic:
            t0_ns = time.monotonic_ns() + 20_000_000
            await traffic.start(t0_ns)
            await asyncio.sleep(2)
            health = await traffic.stop()
            requests = read_requests(tmp_path)
            assert (health.planned, health.sent, health.completed) == (len(requests),) * 3
            assert (health.dropped, health.in_flight, health.error) == (0, 0, "")
            first_second = [r for r in requests if r.intended_ns < t0_ns + 10**9]
            assert len(first_second) == 300
            table = itertools.islice(timetable(300.0, "constant", {"fresh": 0.5, "reuse": 0.5}, 0), len(requests))
            planned = [(a.seq, t0_ns + a.after_ns, a.policy) for a in table]
            assert [(r.seq, r.intended_ns, r.policy) for r in requests.ordered()] == planned

    asyncio.run(scenario())


def test_two_processes_keep_one_timetable(tmp_path: Path) -> None:
    _, requests = asyncio.run(served(tmp_path, lambda n: OK, 100, processes=2, arrivals="poisson"))
    assert [r.seq for r in requests][:90] == list(range(90))
    assert (tmp_path / "requests.1.bin").exists()


def test_an_outage_is_counted_in_full(tmp_path: Path) -> None:
    """One of three backends freezes for two seconds. Who waits for the answers before sending more sees a fraction of it."""
    frozen_ns = [0, 0]

    async def respond(n: int) -> bytes:
        left_s = (frozen_ns[1] - time.monotonic_ns()) / 1e9
        if n % 3 == 0 and left_s > 0 and time.monotonic_ns() >= frozen_ns[0]:
            await asyncio.sleep(left_s)
        return OK

    async def scenario() -> None:
        plan = {"rate_per_s": 200.0, "timeout_s": 3.0}
        async with serving(respond) as app, generator(TrafficPlan(app.url, **plan), tmp_path) as traffic:  # type: ignore[arg-type]
            t0_ns = time.monotonic_ns() + 20_000_000
            frozen_ns[:] = [t0_ns + 1_000_000_000, t0_ns + 3_000_000_000]
            await traffic.start(t0_ns)
            await asyncio.sleep(5)
            await traffic.stop()
            requests = read_requests(tmp_path)
            slow = sum(request.latency_s > 0.5 for request in requests) / len(requests)
            # From the timetable alone: a third of what was due while the freeze had more than 0.5 s to last.
            truth = (200 * 1.5 / 3) / len(requests)
            assert len(requests) == pytest.approx(1000, abs=20)
            assert slow == pytest.approx(truth, abs=0.02)
            assert max(request.latency_s for request in requests) == pytest.approx(2.0, abs=0.1)

    asyncio.run(scenario())


def test_new_requests_come_while_the_traffic_runs_and_together_are_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving() as app, generator(TrafficPlan(app.url), tmp_path) as traffic:
            await traffic.start()
            seen: list[Request] = []
            while len(seen) < 50:
                await asyncio.sleep(0.02)
                seen += traffic.new_requests()
            await traffic.stop()
            seen += traffic.new_requests()
            assert seen == list(read_requests(tmp_path))

    asyncio.run(scenario())


def test_what_is_in_flight_at_the_end_is_waited_for(tmp_path: Path) -> None:
    async def slowly(n: int) -> bytes:
        await asyncio.sleep(0.8)
        return OK

    async def scenario() -> None:
        async with serving(slowly) as app, generator(TrafficPlan(app.url), tmp_path) as traffic:
            await run_until_seen(traffic, app, 20)
            assert len(read_requests(tmp_path)) == len(app.requests)
            assert {r.status for r in read_requests(tmp_path)} == {200}

    asyncio.run(scenario())


def test_a_service_that_answers_nothing_leaves_no_arrival_unsent(tmp_path: Path) -> None:
    """Within the timeout all of them are in flight at once."""
    app, requests = asyncio.run(served(tmp_path, lambda n: SILENCE, 300, rate_per_s=200.0, timeout_s=1.0))
    assert Counter(r.error for r in requests) == {"timeout.first-byte": len(requests)}
    assert len(requests) == len(app.requests)
    assert all(0.99 < r.latency_s < 1.2 for r in requests)


FEW_FILES = """
import asyncio, resource, sys
from pathlib import Path
from chaoskit.traffic.supervisor import TrafficPlan, generator

resource.setrlimit(resource.RLIMIT_NOFILE, (140, 140))

async def main():
    async with generator(TrafficPlan(sys.argv[1], rate_per_s=200, timeout_s=1.0), Path(sys.argv[2])) as traffic:
        await traffic.start()
        await asyncio.sleep(1)
        print((await traffic.stop()).dropped, flush=True)

asyncio.run(main())
"""


def test_arrivals_for_which_there_is_no_room_are_recorded_as_the_generators_fault(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(lambda n: SILENCE) as app:
            parent = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", FEW_FILES, app.url, str(tmp_path)), stdout=subprocess.PIPE
            )
            printed, _ = await asyncio.wait_for(parent.communicate(), 20)
            errors = Counter(request.error for request in read_requests(tmp_path))
            assert errors == {"timeout.first-byte": len(app.requests), DROPPED: int(printed)}
            assert errors[DROPPED] > 100

    asyncio.run(scenario())


def test_leaving_the_block_ends_the_processes_even_by_an_error(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        pids: list[int] = []
        with pytest.raises(KeyError):
            async with serving() as app, generator(TrafficPlan(app.url), tmp_path) as traffic:
                pids += traffic.pids
                await traffic.start()
                raise KeyError
        return pids

    assert all(map(gone, asyncio.run(scenario())))


def test_a_process_that_does_not_react_is_killed(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, ...]:
        async with serving() as app, generator(TrafficPlan(app.url), tmp_path) as traffic:
            os.kill(traffic.pids[0], signal.SIGSTOP)
            return traffic.pids

    began = time.monotonic()
    assert all(map(gone, asyncio.run(scenario())))
    assert time.monotonic() - began < 6


def test_a_process_that_dies_is_told_in_health(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving() as app, generator(TrafficPlan(app.url), tmp_path) as traffic:
            await traffic.start()
            await until(lambda: len(app.requests) > 10, 5, "traffic")
            os.kill(traffic.pids[0], signal.SIGKILL)
            await until(lambda: bool(traffic.health.error), 5, "an error in health")
            assert "ended by itself: killed by SIGKILL" in traffic.health.error
            assert not traffic.alive
            await traffic.stop()

    asyncio.run(scenario())


ORPHAN = """
import asyncio, sys
from pathlib import Path
from chaoskit.traffic.supervisor import TrafficPlan, generator

async def main():
    async with generator(TrafficPlan(sys.argv[1], rate_per_s=200), Path(sys.argv[2])) as traffic:
        await traffic.start()
        heavy = sorted(name for name in sys.modules if name.split(".")[0] in ("gevent", "locust", "greenlet", "kubernetes"))
        print(*traffic.pids, *heavy, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_traffic_dies_with_its_parent_which_never_imports_locust(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving() as app:
            parent = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", ORPHAN, app.url, str(tmp_path)), stdout=subprocess.PIPE
            )
            assert parent.stdout is not None
            printed = (await asyncio.wait_for(parent.stdout.readline(), 20)).split()
            await until(lambda: len(app.requests) > 20, 5, "traffic")
            parent.kill()
            await parent.wait()
            assert len(printed) == 1, f"the parent has imported {printed[1:]}"
            await until(lambda: gone(int(printed[0])), 2, "the traffic process ended")

    asyncio.run(scenario())


def test_a_host_without_an_address_is_refused_with_a_word(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with generator(TrafficPlan("http://no-such-host.invalid:80"), tmp_path):
            pass

    with pytest.raises(GeneratorError, match=r"no-such-host\.invalid.* has no address"):
        asyncio.run(scenario())


def test_the_first_request_comes_soon_after_the_start(tmp_path: Path) -> None:
    async def scenario() -> float:
        began = time.monotonic()
        async with serving() as app, generator(TrafficPlan(app.url), tmp_path) as traffic:
            assert all("17 arrived" in report for report in traffic.selftest)
            await traffic.start()
            await until(lambda: bool(app.requests), 5, "the first request")
            return app.arrived_ns[0] / 1e9 - began

    assert asyncio.run(scenario()) < 2.0  # about 0.5 s; the machine that tests is busy
