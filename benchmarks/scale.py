"""How the sandbox grows: simulated pods on simulated nodes, from creation to Ready, as lists, as memory, as watch events.

Run by hand: `python benchmarks/scale.py [--nodes 100] [--pods 100 1000 5000]`. Prints one table. Each size gets a cluster of its own.
The watchers run in this process: what it needs to read their events is in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from chaoskit.sandbox.cluster import SandboxInfo, sandbox

WATCHERS = 50
PATCHES = 200
PATCHES_PER_S = 50.0
DEADLINE_S = 900.0
MARK = "bench/sent-ns"
AIMS = "aims: 1,000 Ready in 20 s; list of 5,000 in 1.5 s; 60 KB a pod"


@dataclass(frozen=True, slots=True)
class Row:
    """One size.

    The CPU is what the API server's process used until all were Ready. Memory is private to the API server's process, and
    to all processes, per pod; it includes the remembered changes.
    """

    pods: int
    up_s: float
    ready_s: float
    api_cpu_s: float
    list_s: float
    list_bytes: int
    api_bytes: float
    all_bytes: float
    watch_p50_ms: float
    watch_p99_ms: float

    def cells(self) -> list[str]:
        return [
            f"{self.pods:,}",
            f"{self.up_s:.1f} s",
            f"{self.ready_s:.1f} s",
            f"{self.api_cpu_s:.1f} s",
            f"{self.list_s:.3f} s",
            f"{self.list_bytes / 1e6:.1f} MB",
            f"{self.api_bytes / 1e3:.0f} KB",
            f"{self.all_bytes / 1e3:.0f} KB",
            f"{self.watch_p50_ms:.1f} ms",
            f"{self.watch_p99_ms:.1f} ms",
        ]


HEAD = [
    "pods",
    "up",
    "all Ready",
    "api's CPU",
    "list",
    "list size",
    "api per pod",
    "all per pod",
    "watch p50",
    "watch p99",
]


async def measure(nodes: int, pods: int) -> Row:
    began = time.monotonic()
    async with sandbox(nodes, simulated=True) as info, session(info) as http:
        up_s = time.monotonic() - began
        api, every = memory(info)
        began, cpu_s = time.monotonic(), api_cpu_s(info)
        await create(http, pods)
        await all_ready(http, pods)
        ready_s, cpu_s = time.monotonic() - began, api_cpu_s(info) - cpu_s
        await asyncio.sleep(3.0)  # the last events and endpoints
        grown_api, grown_every = memory(info)
        list_s, size = await best_list(http)
        delays = await watch_delays(http)
    return Row(
        pods,
        up_s,
        ready_s,
        cpu_s,
        list_s,
        size,
        (grown_api - api) / pods,
        (grown_every - every) / pods,
        delays[len(delays) // 2] * 1e3,
        delays[int(len(delays) * 0.99)] * 1e3,
    )


@asynccontextmanager
async def session(info: SandboxInfo) -> AsyncIterator[aiohttp.ClientSession]:
    config = yaml.safe_load(info.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority), limit=0)
    headers = {"Authorization": f"Bearer {user['token']}"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(info.server, connector=connector, headers=headers, timeout=timeout) as http:
        yield http


async def create(http: aiohttp.ClientSession, pods: int) -> None:
    """Deployments of at most 500 replicas behind one Service each."""
    for number, start in enumerate(range(0, pods, 500)):
        name, labels = f"web-{number}", {"app": f"web-{number}"}
        container = {"name": "app", "image": "python:3.11-slim", "ports": [{"containerPort": 8080}]}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        replicas = min(500, pods - start)
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        service = {"selector": labels, "ports": [{"port": 8080}]}
        await post(http, "/api/v1/namespaces/default/services", {"metadata": {"name": name}, "spec": service})
        await post(http, "/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": name}, "spec": spec})


async def post(http: aiohttp.ClientSession, path: str, body: Any) -> None:
    async with http.post(path, json=body) as response:
        assert response.status == 201, await response.text()


async def all_ready(http: aiohttp.ClientSession, pods: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async with http.get("/apis/apps/v1/namespaces/default/deployments") as response:
                listed = (await response.json())["items"]
            if sum(each.get("status", {}).get("readyReplicas", 0) for each in listed) == pods:
                return
            await asyncio.sleep(0.2)


async def best_list(http: aiohttp.ClientSession) -> tuple[float, int]:
    times, size = [], 0
    for _ in range(3):
        began = time.monotonic()
        async with http.get("/api/v1/pods") as response:
            size = len(await response.read())
        times.append(time.monotonic() - began)
    return min(times), size


async def watch_delays(http: aiohttp.ClientSession) -> list[float]:
    """Seconds from sending a patch of a pod to its arrival, over all watchers, sorted."""
    async with http.get("/api/v1/namespaces/default/pods?limit=1") as response:
        listing = await response.json()
    path = f"/api/v1/namespaces/default/pods/{listing['items'][0]['metadata']['name']}"
    since = listing["metadata"]["resourceVersion"]
    delays: list[float] = []
    watchers = [asyncio.create_task(watch(http, since, delays)) for _ in range(WATCHERS)]
    await asyncio.sleep(1.0)
    for _ in range(PATCHES):
        body = {"metadata": {"annotations": {MARK: str(time.monotonic_ns())}}}
        headers = {"Content-Type": "application/merge-patch+json"}
        async with http.patch(path, json=body, headers=headers) as response:
            await response.read()
        await asyncio.sleep(1 / PATCHES_PER_S)
    async with asyncio.timeout(30):
        await asyncio.gather(*watchers)
    return sorted(delays)


async def watch(http: aiohttp.ClientSession, since: str, delays: list[float]) -> None:
    seen, last = 0, 0
    async with http.get("/api/v1/pods", params={"watch": "true", "resourceVersion": since}) as response:
        async for line in response.content:
            at = line.find(MARK.encode())
            if at < 0:
                continue
            sent = int(line[at + len(MARK) + 3 :].partition(b'"')[0])
            if sent != last:
                delays.append((time.monotonic_ns() - sent) / 1e9)
                seen, last = seen + 1, sent
            if seen == PATCHES:
                return


def memory(info: SandboxInfo) -> tuple[int, int]:
    """Private bytes of the API server, and of all processes of the cluster together."""
    sizes = [private_bytes(pid) for pid in children(info)]
    return sizes[0], sum(sizes)


def api_cpu_s(info: SandboxInfo) -> float:
    fields = Path(f"/proc/{children(info)[0]}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(info: SandboxInfo) -> list[int]:
    """The cluster's processes, the API server first."""
    return [int(pid) for pid in Path(f"/proc/{info.pid}/task/{info.pid}/children").read_text().split()]


def private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def print_row(cells: list[str]) -> None:
    print(" | ".join(cell.rjust(len(head) + 2) for cell, head in zip(cells, HEAD, strict=True)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--pods", type=int, nargs="+", default=[100, 1000, 5000])
    asked = parser.parse_args()
    print_row(HEAD)
    for pods in asked.pods:
        print_row(asyncio.run(measure(asked.nodes, pods)).cells())
    print(AIMS)


if __name__ == "__main__":
    main()
