"""Is the time to recover the truth? Pods crash behind the sandbox's own balancer, which goes on sending connections to them until a second later.

    python benchmarks/recovery_truth.py [--crashes 30] [--rate 200]

Three pods on loopback, the balancer that the sandbox runs (connection by connection, at random), real traffic on new connections. A crash closes
the pod's listener and resets its connections; what notices takes `PROPAGATION_S`, then the balancer's table changes: that moment, by the
balancer's own account, is the truth. The runs are judged by `recoveredWithin`, from the request log, one round for each crash. Wanted: the
median of the errors at most 50 ms, the worst at most 300 ms. About three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.model.event import Event
from chaoskit.model.history import History
from chaoskit.sandbox.proxy.balancer import Balancer
from chaoskit.sandbox.proxy.routing import Address, Route
from chaoskit.slos import parse_slo
from chaoskit.slos.judging import judged
from chaoskit.traffic.log import read_requests
from chaoskit.traffic.supervisor import TrafficPlan, generator
from tests.histories import Told, kill

PROPAGATION_S, AWAY_S, QUIET_S = 1.0, 0.5, 3.0
SLO = parse_slo("recoveredWithin 5s sustained 2s")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Pod: %s\r\nConnection: close\r\n\r\nok"


@dataclass
class Pod:
    """One application; `crash` is that of a process: nothing is answered any more."""

    name: str
    address: Address
    server: asyncio.Server | None = None
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._answer, self.address.host, self.address.port, backlog=512)

    def crash(self) -> None:
        assert self.server is not None
        self.server.close()
        for writer in list(self.open):
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER % self.name.encode())
            await writer.drain()
            writer.close()
        self.open.discard(writer)


def free(host: str) -> Address:
    with socket.socket() as sock:
        sock.bind((host, 0))
        return Address(host, sock.getsockname()[1])


@dataclass
class Shop:
    """The pods and the balancer before them; `removed_ns` is the balancer's own account of when a table without the crashed pod was in force."""

    balancer: Balancer
    front: Address
    pods: list[Pod]
    removed_ns: list[int] = field(default_factory=list)

    async def program(self, *without: Pod) -> int:
        endpoints = tuple(pod.address for pod in self.pods if pod not in without)
        await self.balancer.apply({self.front: Route("shop", "shop", "u", "80", endpoints)})
        return time.monotonic_ns()

    async def crash(self, pod: Pod) -> int:
        began = time.monotonic_ns()
        pod.crash()
        await asyncio.sleep(PROPAGATION_S)
        self.removed_ns.append(await self.program(pod))
        await asyncio.sleep(AWAY_S)
        await pod.start()
        await self.program()
        return began


async def crashes(count: int, rate: float, folder: Path) -> tuple[list[int], list[int], int]:
    """(when each pod crashed, when the balancer stopped sending to it, when all was over), in ns."""
    pods = [Pod(name, free("127.0.0.1")) for name in "abc"]
    plan = TrafficPlan(
        f"http://127.0.0.1:{(front := free('127.0.0.1')).port}", rate_per_s=rate, policies={"fresh": 1.0, "reuse": 0.0}
    )
    async with Balancer() as balancer, generator(plan, folder) as traffic:
        for pod in pods:
            await pod.start()
        place = Shop(balancer, front, pods)
        await place.program()
        await traffic.start()
        await asyncio.sleep(2.0)
        began = []
        for i in range(count):
            began.append(await place.crash(pods[i % 3]))
            await asyncio.sleep(QUIET_S)
        ended = time.monotonic_ns()
        await traffic.stop()
        for pod in pods:
            pod.crash()
    return began, place.removed_ns, ended


def history_of(began: list[int], ended: int, folder: Path) -> History:
    """The run as the runner would have written it: one round for each crash."""
    told, zero = Told(rate=None), began[0] - 1_500_000_000
    told.phases(baseline=0.0)
    for number, at_ns in enumerate(began):
        at = (at_ns - zero) / 1e9
        for name, later in (("inject", -0.001), ("revert", PROPAGATION_S + AWAY_S)):
            told.health(at + later, "phase", name=name, round=number)
        told.intend(at, kill("a"), f"{number}.0")
        told.events[-1][2]["round"] = number
        told.done(at, f"{number}.0").seen(at, f"{number}.0")
    told.health((ended - zero) / 1e9, "phase", name="ended", round=len(began) - 1)
    history = History()
    for seq, (at, kind, data) in enumerate(sorted(told.events, key=lambda event: event[0])):
        history.add(Event(seq, zero + round(at * 1e9), kind, data))
    history.requests = read_requests(folder).ordered()
    return history


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crashes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=200.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        began, removed, ended = asyncio.run(crashes(options.crashes, options.rate, folder))
        finding = judged(SLO, history_of(began, ended, folder))
    truth = [(after - before) / 1e9 for before, after in zip(began, removed, strict=True)]
    errors = [abs((found or 0.0) - true) * 1000 for found, true in zip(finding.rounds, truth, strict=True)]
    print(finding.grade.name, finding.because)
    print(
        f"{len(errors)} crashes at {options.rate:g}/s on {os.cpu_count()} cores, truth {min(truth):.3f} to {max(truth):.3f} s"
    )
    print(
        f"error of the time to recover: median {statistics.median(errors):.1f} ms, worst {max(errors):.1f} ms; wanted 50 and 300"
    )
    sys.exit(0 if statistics.median(errors) <= 50 and max(errors) <= 300 else 1)


if __name__ == "__main__":
    main()
