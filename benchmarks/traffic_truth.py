"""Does the traffic tell the truth? Requests that a server drops, and a service that stands still, beside plain Locust in the same run.

    python benchmarks/traffic_truth.py [--rounds 1]

Drops: of 1,000 requests the server drops 100, by FIN and by RST, on new and on kept connections, GET and POST, with each client; each must be
told and none sent twice. Freeze: the server is stopped for 2 s of 10 s at 200/s; the share of requests over 500 ms is compared with the truth
of the server's own account: when it answered, against when the timetable had it due (its catching up is part of an outage). The timetable
alone is shown, too. About three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from chaoskit.model.requests import Requests
from chaoskit.traffic.log import read_requests
from chaoskit.traffic.plan import RequestKind
from chaoskit.traffic.supervisor import TrafficPlan, generator

REQUESTS, EVERY = 1_000, 10
SLOW_S, FROZEN_S, RUN_S, RATE = 0.5, 2.0, 10.0, 200
CLIENTS = ("built-in", "HttpUser", "FastHttpUser")
LOCUSTFILE = """
import json, os, time
from locust import {user}, constant_throughput, events, task

latencies = []

class Peer({user}):
    wait_time = constant_throughput({per_user})

    @task
    def send(self):
        self.client.{method}("/", headers={headers})

@events.request.add_listener
def heard(response_time, exception, **_):
    latencies.append((response_time, exception is not None))

@events.quitting.add_listener
def tell(**_):
    if "TOLD" in os.environ:
        json.dump(latencies, open(os.environ["TOLD"], "w"))
"""


class Server(asyncio.Protocol):
    """Answers at once. With a way to drop, every tenth of the first thousand requests gets no answer. /count tells how many came before."""

    count = 0
    drop = ""
    answered_ns: ClassVar[list[int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, _, self.rest = self.rest.partition(b"\r\n\r\n")
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith((b"GET /count", b"GET /answered")):
            body = json.dumps(Server.answered_ns if b"answered" in head else Server.count).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            return
        Server.count += 1
        if Server.drop and Server.count <= REQUESTS and Server.count % EVERY == 0:
            if Server.drop == "RST":
                linger = struct.pack("ii", 1, 0)
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.close()
            return
        closing = b"onnection: close" in head
        said = b"Connection: close\r\n" if closing else b""  # or a client would use it again, and race the end
        Server.answered_ns.append(time.monotonic_ns())
        self.transport.write(b"HTTP/1.1 200 OK\r\nX-Pod: a\r\n%sContent-Length: 2\r\n\r\nok" % said)
        if closing:
            self.transport.close()


async def serve(drop: str) -> None:
    """Print the port, serve until standard input ends."""
    Server.drop = drop
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


@contextmanager
def served(drop: str = "") -> Iterator[tuple[int, int]]:
    """Port and process id of a server."""
    command = [sys.executable, __file__, "--serve", "--drop", drop]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline()), process.pid
        process.stdin.close()


def count(port: int) -> int:
    return int(asked(port, "/count"))


def asked(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    return connection.getresponse().read()


def locustfile(folder: Path, user: str, per_user: float, method: str = "GET", fresh: bool = False) -> Path:
    path = folder / "locustfile.py"
    headers = {"Connection": "close"} if fresh else {}
    path.write_text(LOCUSTFILE.format(user=user, per_user=per_user, method=method.lower(), headers=headers))
    return path


@dataclass(frozen=True, slots=True)
class Told:
    """What arrived at the server, what the log has, and how many of it failed."""

    arrived: int
    logged: int
    failed: int


async def dropped(client: str, drop: str, policy: str, method: str) -> Told:
    with tempfile.TemporaryDirectory() as name, served(drop) as (port, _):
        folder, url = Path(name), f"http://127.0.0.1:{port}"
        if client == "built-in":
            kinds = (RequestKind("/", method),)
            plan = TrafficPlan(url, rate_per_s=600, policies={policy: 1.0}, requests=kinds)
        else:
            file = locustfile(folder, client, 20, method, policy == "fresh")
            plan = TrafficPlan(url, locustfile=file, users=20)
        async with generator(plan, folder / "run") as traffic:
            await traffic.start()
            while count(port) < REQUESTS:  # noqa: ASYNC110  # it is another process
                await asyncio.sleep(0.02)
            await traffic.stop()
        requests = read_requests(folder / "run")
        return Told(count(port), len(requests), sum(request.error != "" for request in requests))


async def frozen_traffic(arrivals: Literal["constant", "poisson"]) -> tuple[float, float, float, float]:
    """Ours: the share over 500 ms, the same by the server's account and by the timetable alone, p99 in ms."""
    with tempfile.TemporaryDirectory() as name, served() as (port, pid):
        folder, url = Path(name), f"http://127.0.0.1:{port}"
        plan = TrafficPlan(url, rate_per_s=RATE, timeout_s=5.0, arrivals=arrivals)
        async with generator(plan, folder / "run") as traffic:
            t0_ns = time.monotonic_ns() + 50_000_000
            await traffic.start(t0_ns)
            stopped_ns, went_on_ns = await freeze(pid, t0_ns)
            await asyncio.sleep(max(0.0, (t0_ns - time.monotonic_ns()) / 1e9 + RUN_S))
            await traffic.stop()
        requests, answered = read_requests(folder / "run").ordered(), sorted(json.loads(asked(port, "/answered")))
        assert len(requests) == len(answered)
        slow = sum(request.latency_s > SLOW_S for request in requests)
        # First come, first served: the n-th that was due is the n-th that was answered.
        pairs = zip(requests.intended_ns, answered, strict=True)
        account = sum(answer - due > SLOW_S * 1e9 for due, answer in pairs)
        alone = sum(stopped_ns <= due < went_on_ns - SLOW_S * 1e9 for due in requests.intended_ns)
        return slow / len(requests), account / len(requests), alone / len(requests), p99_ms(requests)


async def freeze(pid: int, t0_ns: int) -> tuple[int, int]:
    await asyncio.sleep((t0_ns - time.monotonic_ns()) / 1e9 + 4.0)
    os.kill(pid, signal.SIGSTOP)
    stopped_ns = time.monotonic_ns()
    await asyncio.sleep(FROZEN_S)
    os.kill(pid, signal.SIGCONT)
    return stopped_ns, time.monotonic_ns()


def p99_ms(requests: Requests) -> float:
    latencies = sorted(request.latency_s for request in requests)
    return latencies[int(0.99 * len(latencies))] * 1000


async def frozen_locust(users: int) -> tuple[float, float]:
    """Locust alone, with its own FastHttpUser at a constant throughput: the share over 500 ms, p99 in ms."""
    with tempfile.TemporaryDirectory() as name, served() as (port, pid):
        folder = Path(name)
        file = locustfile(folder, "FastHttpUser", RATE / users)
        command = [sys.executable, "-m", "locust", "-f", str(file), "--headless", "-u", str(users), "-r", str(users)]
        command += ["-H", f"http://127.0.0.1:{port}", "-t", f"{RUN_S:.0f}s", "--stop-timeout", "5"]
        environ = {**os.environ, "TOLD": str(folder / "told")}
        process = await asyncio.create_subprocess_exec(
            *command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while count(port) == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await freeze(pid, time.monotonic_ns())
        await process.wait()
        told = sorted(took for took, _ in json.loads((folder / "told").read_text()))
        return sum(took > SLOW_S * 1000 for took in told) / len(told), told[int(0.99 * len(told))]


async def run(rounds: int, drops: bool) -> None:
    if drops:
        await run_drops()
    await run_freezes(rounds)


async def run_drops() -> None:
    print(
        f"{'client':<14} {'drop':<4} {'connections':<11} {'method':<6} {'arrived':>7} {'logged':>7} {'dropped':>7} {'told':>5}"
    )
    for client in CLIENTS:
        for drop in ("FIN", "RST"):
            for policy in ("fresh", "reuse"):
                for method in ("GET", "POST"):
                    told = await dropped(client, drop, policy, method)
                    right = told.arrived == told.logged and told.failed == REQUESTS // EVERY
                    figures = f"{told.arrived:>7} {told.logged:>7} {REQUESTS // EVERY:>7} {told.failed:>5}"
                    print(
                        f"{client:<14} {drop:<4} {policy:<11} {method:<6} {figures}{'' if right else '  WRONG'}",
                        flush=True,
                    )


async def run_freezes(rounds: int) -> None:
    print(f"\nthe server stands still for {FROZEN_S:g} s of {RUN_S:g} s at {RATE}/s: share over {SLOW_S * 1000:g} ms")
    print(f"{'':40} {'told':>7} {'the server':>10} {'timetable':>10} {'p99 ms':>10}")
    for _ in range(rounds):
        kinds: tuple[Literal["constant", "poisson"], ...] = ("constant", "poisson")
        for arrivals in kinds:
            slow, truth, alone, p99 = await frozen_traffic(arrivals)
            by = f"{truth:10.2%} {alone:10.2%}"
            print(f"built-in, {arrivals:<30} {slow:7.2%} {by} {p99:10.1f}", flush=True)
        for users in (5, 20, 100):
            slow, p99 = await frozen_locust(users)
            print(f"Locust constant_throughput, {users:>3} users   {slow:7.2%} {'':21} {p99:10.1f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--freezes", action="store_true", help="the freezes only")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--drop", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.drop) if arguments.serve else run(arguments.rounds, not arguments.freezes))
