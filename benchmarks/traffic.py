"""What a request of traffic costs, how late it leaves and whether its record arrives; beside Locust's own clients and wrk in the same run.

    python benchmarks/traffic.py [--seconds 3] [--rounds 3]

Rounds are interleaved and medians are printed, because machines drift. The server is a process of its own, on another core where there is
one. CPU is that of the traffic process, by the kernel's account, self-test and start not included. wrk knows no rate: it sends as fast as it
can, which is the cheapest way to send.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import http.client
import ipaddress
import os
import resource
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chaoskit.model.requests import DROPPED
from chaoskit.traffic.log import read_requests
from chaoskit.traffic.plan import Tls
from chaoskit.traffic.supervisor import Generator, TrafficPlan, crew, generator

RATES = (500, 2000)
LADDER = (2000, 3000, 4000, 6000, 8000)
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
    tls: bool = False


KINDS = (
    Kind("built-in, reuse", 0.0),
    Kind("built-in, fresh and reuse", 0.5),
    Kind("built-in, fresh", 1.0),
    Kind("FastHttpUser", user="FastHttpUser"),
    Kind("HttpUser", user="HttpUser"),
)


SEALED = (
    Kind("http, reuse", 0.0),
    Kind("https, reuse", 0.0, tls=True),
    Kind("http, fresh", 1.0),
    Kind("https, fresh", 1.0, tls=True),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: requests per second got, CPU of each, lateness of their start, and how many found no room or failed."""

    rate_per_s: float
    cpu_us: float
    late_p50_ms: float
    late_p99_ms: float
    dropped: int = 0
    failed: int = 0


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


async def serve(certificate: Path) -> None:
    """Print the ports, of http and of https, serve until standard input ends."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    plain = await loop.create_server(Server, "127.0.0.1", 0, backlog=4096)
    sealed = await loop.create_server(Server, "127.0.0.1", 0, ssl=context, backlog=4096)
    print(*(server.sockets[0].getsockname()[1] for server in (plain, sealed)), flush=True)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server is, and the certificate it shows."""

    port: int
    sealed: int
    certificate: Path

    def url(self, kind: Kind) -> str:
        return f"https://127.0.0.1:{self.sealed}" if kind.tls else f"http://127.0.0.1:{self.port}"


@contextmanager
def served() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        certificate = self_signed(Path(folder))
        command = [sys.executable, __file__, "--serve", str(certificate)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            pin(process.pid, 0)
            port, sealed = map(int, process.stdout.readline().split())
            yield Place(port, sealed, certificate)
            assert process.stdin is not None
            process.stdin.close()


def self_signed(folder: Path) -> Path:
    """A certificate of its own making for 127.0.0.1, with its key (P-256)."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = builder.add_extension(here, critical=False).sign(key, hashes.SHA256())
    path = folder / "server.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return path


def pin(pid: int, core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {cores[core % len(cores)]})


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def plan_of(kind: Kind, place: Place, rate: int, folder: Path) -> TrafficPlan:
    if kind.fresh is not None:
        policies = {"fresh": kind.fresh, "reuse": 1 - kind.fresh}
        return TrafficPlan(place.url(kind), rate_per_s=rate, policies=policies, tls=Tls(place.certificate))
    locustfile = folder / "locustfile.py"
    locustfile.write_text(LOCUSTFILE.format(user=kind.user, per_user=PER_USER))
    return TrafficPlan(place.url(kind), locustfile=locustfile, users=rate // PER_USER)


async def measure(kind: Kind, place: Place, rate: int, seconds: float) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with generator(plan_of(kind, place, rate, folder), folder) as traffic:
            pin(traffic.pids[0], 1)
            await traffic.start()
            await asyncio.sleep(3 if kind.user else 1)  # Locust starts users over some seconds
            began, cpu = time.monotonic_ns(), cpu_s(traffic.pids[0])
            await asyncio.sleep(seconds)
            ended, cpu = time.monotonic_ns(), cpu_s(traffic.pids[0]) - cpu
            health = await traffic.stop()
        requests = read_requests(folder)
    window = [r for r in requests if began <= r.end_ns < ended and r.error != DROPPED]
    late = sorted((r.start_ns - r.intended_ns) / 1e6 for r in window)
    failed = sum(r.error != "" for r in window)
    got, cost = len(window) / (ended - began) * 1e9, cpu / len(window) * 1e6
    return Measured(got, cost, at(late, 0.5), at(late, 0.99), health.dropped, failed)


async def wrk(place: Place, seconds: float) -> Measured | None:
    """The same of wrk with 16 connections on one thread, as fast as it can; None where there is none."""
    if shutil.which("wrk") is None:
        return None
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["wrk", "-t1", "-c16", f"-d{seconds:.0f}s", f"http://127.0.0.1:{place.port}/"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    pin(process.pid, 1)
    printed = (await process.communicate())[0].decode()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    count = int(printed.partition(" requests in ")[0].split()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(count / seconds, cpu / count * 1e6, 0.0, 0.0)


def at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def lost_with_a_paused_reader(port: int, rate: int) -> tuple[int, int]:
    """Requests that were sent and the log lacks, when nobody reads for 2.5 s; and how many were sent, as the server counts them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with generator(TrafficPlan(f"http://127.0.0.1:{port}", rate_per_s=rate), folder) as traffic:
            before = count(port)
            await traffic.start()
            await asyncio.sleep(0.5)
            time.sleep(2.5)  # noqa: ASYNC251  # the pause
            await traffic.stop()
            seen = count(port) - before - 1  # /count itself
            return seen - sum(request.error != DROPPED for request in read_requests(folder)), seen


def count(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/count")
    return int(connection.getresponse().read())


async def first_request_s(port: int, *, early: bool) -> float:
    """From the call to the start of the first request, self-test included; `early`: by a process that has loaded already."""
    with tempfile.TemporaryDirectory() as name:
        async with crew(1) as ready:
            if early:
                await asyncio.sleep(1.5)
            began = time.monotonic()
            given = ready if early else None
            async with generator(TrafficPlan(f"http://127.0.0.1:{port}"), Path(name), crew=given) as traffic:
                await traffic.start()
                return await first(traffic) / 1e9 - began


async def first(traffic: Generator) -> int:
    while not (requests := traffic.new_requests()):  # noqa: ASYNC110  # the log is a file
        await asyncio.sleep(0.005)
    return min(requests.start_ns)


async def run(seconds: float, rounds: int) -> None:
    found: dict[tuple[int, Kind], list[Measured]] = {}
    closed: list[Measured] = []
    with served() as place:
        for _ in range(rounds):
            if (peer := await wrk(place, seconds)) is not None:
                closed.append(peer)
            for rate in RATES:
                for kind in KINDS:
                    found.setdefault((rate, kind), []).append(await measure(kind, place, rate, seconds))
            for kind in SEALED:
                found.setdefault((500, kind), []).append(await measure(kind, place, 500, seconds))
            for rate in LADDER:
                kind = Kind("rate of one core, reuse", 0.0)
                found.setdefault((rate, kind), []).append(await measure(kind, place, rate, seconds))
        lost, seen = await lost_with_a_paused_reader(place.port, 3000)
        starts = [await first_request_s(place.port, early=False) for _ in range(5)]
        early = [await first_request_s(place.port, early=True) for _ in range(5)]
    print(HEAD)
    for (rate, kind), runs in found.items():
        print(row(rate, kind, runs))
    if closed:
        print(row(0, Kind("wrk -t1 -c16, unpaced", user="wrk"), closed))
    else:
        print("wrk is not installed: no row of it")
    print(f"records lost with the reader paused for 2.5 s at 3000/s: {lost} of {seen}")
    print(f"call to first request, self-test included: {statistics.median(starts):.2f} s")
    print(f"the same with processes that were started early: {statistics.median(early):.2f} s")


HEAD = f"{'asked':>6}  {'traffic':<26} {'got/s':>7} {'CPU us/request':>15} {'late p50 ms':>12} {'late p99 ms':>12} {'dropped':>8} {'failed':>7}"


def row(rate: int, kind: Kind, runs: list[Measured]) -> str:
    got, cpu, p50, p99 = (
        statistics.median(getattr(run, name) for run in runs)
        for name in ("rate_per_s", "cpu_us", "late_p50_ms", "late_p99_ms")
    )
    late = f"{p50:12.2f} {p99:12.2f}" if not kind.user else f"{'closed':>12} {'model':>12}"
    worst = f"{max(run.dropped for run in runs):>8} {max(run.failed for run in runs):>7}"
    return f"{rate or 'max':>6}  {kind.name:<26} {got:7.0f} {cpu:15.0f} {late} {worst}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.serve) if arguments.serve else run(arguments.seconds, arguments.rounds))
