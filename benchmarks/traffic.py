"""What a request of traffic costs, how late it leaves and whether its record arrives; beside Locust's own clients in the same run.

    python benchmarks/traffic.py [--seconds 3] [--rounds 3]

Rounds are interleaved and medians are printed, because machines drift. The server is a process of its own, on another core where there is
one. CPU is that of the traffic process, by the kernel's account, self-test and start not included.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaoskit.traffic.log import read_requests
from chaoskit.traffic.supervisor import Generator, TrafficPlan, generator

RATES = (500, 2000)
PER_USER = 10  # a Locust user's requests a second
LOCUSTFILE = """
from locust import {user}, constant_throughput, task

class Peer({user}):
    wait_time = constant_throughput({per_user})

    @task
    def get(self):
        self.client.get("/")
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to make traffic: built-in with this share of fresh connections, or a Locust user class."""

    name: str
    fresh: float | None = None
    user: str = ""


KINDS = (
    Kind("built-in, reuse", 0.0),
    Kind("built-in, fresh and reuse", 0.5),
    Kind("FastHttpUser", user="FastHttpUser"),
    Kind("HttpUser", user="HttpUser"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: requests per second got, CPU of each, lateness of their start."""

    rate_per_s: float
    cpu_us: float
    late_p50_ms: float
    late_p99_ms: float


class Server(asyncio.Protocol):
    """Answers everything at once; /count tells how many requests came before."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        body = str(Server.count).encode() if data.startswith(b"GET /count") else b"ok"
        Server.count += 1
        self.transport.write(b"HTTP/1.1 200 OK\r\nX-Pod: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        if b"onnection: close" in data:
            self.transport.close()


async def serve() -> None:
    """Print the port, serve until standard input ends."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


@contextmanager
def served() -> Iterator[int]:
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pin(process.pid, 0)
        yield int(process.stdout.readline())
        assert process.stdin is not None
        process.stdin.close()


def pin(pid: int, core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {cores[core % len(cores)]})


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def plan_of(kind: Kind, port: int, rate: int, folder: Path) -> TrafficPlan:
    url = f"http://127.0.0.1:{port}"
    if kind.fresh is not None:
        return TrafficPlan(url, rate_per_s=rate, policies={"fresh": kind.fresh, "reuse": 1 - kind.fresh})
    locustfile = folder / "locustfile.py"
    locustfile.write_text(LOCUSTFILE.format(user=kind.user, per_user=PER_USER))
    return TrafficPlan(url, locustfile=locustfile, users=rate // PER_USER)


async def measure(kind: Kind, port: int, rate: int, seconds: float) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with generator(plan_of(kind, port, rate, folder), folder) as traffic:
            pin(traffic.pids[0], 1)
            await traffic.start()
            await asyncio.sleep(3 if kind.user else 1)  # Locust starts users over some seconds
            began, cpu = time.monotonic_ns(), cpu_s(traffic.pids[0])
            await asyncio.sleep(seconds)
            ended, cpu = time.monotonic_ns(), cpu_s(traffic.pids[0]) - cpu
            await traffic.stop()
        window = [r for r in read_requests(folder) if began <= r.end_ns < ended]
    late = sorted((r.start_ns - r.intended_ns) / 1e6 for r in window)
    return Measured(len(window) / (ended - began) * 1e9, cpu / len(window) * 1e6, at(late, 0.5), at(late, 0.99))


def at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def lost_with_a_paused_reader(port: int, rate: int) -> tuple[int, int]:
    """Requests that the server saw and the log lacks, when nobody reads for 2.5 s; and how many it saw."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with generator(TrafficPlan(f"http://127.0.0.1:{port}", rate_per_s=rate), folder) as traffic:
            before = count(port)
            await traffic.start()
            await asyncio.sleep(0.5)
            time.sleep(2.5)  # noqa: ASYNC251  # the pause
            await traffic.stop()
            seen = count(port) - before - 1  # /count itself
            return seen - len(read_requests(folder)), seen


def count(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/count")
    return int(connection.getresponse().read())


async def first_request_s(port: int) -> float:
    """From the call to the start of the first request, self-test included."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        async with generator(TrafficPlan(f"http://127.0.0.1:{port}"), Path(name)) as traffic:
            await traffic.start()
            return await first(traffic) / 1e9 - began


async def first(traffic: Generator) -> int:
    while not (requests := traffic.new_requests()):  # noqa: ASYNC110  # the log is a file
        await asyncio.sleep(0.005)
    return min(requests.start_ns)


async def run(seconds: float, rounds: int) -> None:
    found: dict[tuple[int, Kind], list[Measured]] = {}
    with served() as port:
        for _ in range(rounds):
            for rate in RATES:
                for kind in KINDS:
                    found.setdefault((rate, kind), []).append(await measure(kind, port, rate, seconds))
        lost, seen = await lost_with_a_paused_reader(port, 3000)
        starts = [await first_request_s(port) for _ in range(5)]
    print(f"{'asked':>6}  {'traffic':<26} {'got/s':>7} {'CPU us/request':>15} {'late p50 ms':>12} {'late p99 ms':>12}")
    for (rate, kind), runs in found.items():
        print(row(rate, kind, runs))
    print(f"records lost with the reader paused for 2.5 s at 3000/s: {lost} of {seen}")
    print(f"spawn to first request, self-test included: {statistics.median(starts):.2f} s")


def row(rate: int, kind: Kind, runs: list[Measured]) -> str:
    got, cpu, p50, p99 = (
        statistics.median(getattr(run, name) for run in runs)
        for name in ("rate_per_s", "cpu_us", "late_p50_ms", "late_p99_ms")
    )
    late = f"{p50:12.2f} {p99:12.2f}" if not kind.user else f"{'closed':>12} {'model':>12}"
    return f"{rate:>6}  {kind.name:<26} {got:7.0f} {cpu:15.0f} {late}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    asyncio.run(serve() if arguments.serve else run(arguments.seconds, arguments.rounds))
