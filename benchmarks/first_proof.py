"""How fast the embedded cluster and the command line are: one table, medians of several runs, with the least and the greatest beside them.

    python benchmarks/first_proof.py [--runs 5] [--no-experiment]

A ratio to a named peer where there is one (a bare interpreter), else figures as seen. Machines are noisy: compare within one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from chaoskit.sandbox.cluster import SandboxInfo, sandbox

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "checkout-survives-a-killed-pod.yaml"
PODS = 100
LISTS = 200
WATCHERS = 10
EVENTS = 200


def client_of(info: SandboxInfo) -> httpx.AsyncClient:
    """A plain client with the sandbox's admin token, read off its kubeconfig."""
    config = yaml.safe_load(info.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    trust = ssl.create_default_context()
    if "certificate-authority" in cluster:
        trust.load_verify_locations(cluster["certificate-authority"])
    else:
        import base64

        trust.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    headers = {"Authorization": f"Bearer {user['token']}"}
    limits = httpx.Limits(max_connections=WATCHERS + 5)
    return httpx.AsyncClient(base_url=cluster["server"], headers=headers, verify=trust, timeout=30, limits=limits)


async def up_s() -> float:
    """Seconds from the call to three Ready nodes."""
    began = time.monotonic()
    async with sandbox(nodes=3):
        return time.monotonic() - began


def pending_pod(number: int) -> dict[str, Any]:
    """A pod that nobody schedules, with the fields that a real one has."""
    container = {
        "name": "app",
        "image": "python:3.12-slim",
        "env": [{"name": f"V{i}", "value": "x" * 20} for i in range(10)],
    }
    spec = {"schedulerName": "nobody", "containers": [container]}
    return {"metadata": {"name": f"p{number}", "labels": {"app": "bench"}}, "spec": spec}


async def lists_per_second(client: httpx.AsyncClient) -> float:
    """Lists of 100 pods, one after the other on one connection."""
    began = time.monotonic()
    for _ in range(LISTS):
        answer = await client.get("/api/v1/namespaces/default/pods")
        assert len(answer.json()["items"]) == PODS
    return LISTS / (time.monotonic() - began)


async def watch_p99_ms(client: httpx.AsyncClient) -> float:
    """From sending a change to its event at each of ten watchers, the 99th percentile."""
    delays: list[float] = []
    path = "/api/v1/namespaces/default/configmaps"
    await client.post(path, json={"metadata": {"name": "tick"}, "data": {"sent": "0"}})
    version = (await client.get(path)).json()["metadata"]["resourceVersion"]

    async def follow() -> None:
        heard = 0
        async with client.stream("GET", path, params={"watch": "true", "resourceVersion": version}) as stream:
            async for line in stream.aiter_lines():
                delays.append(time.monotonic() - float(json.loads(line)["object"]["data"]["sent"]))
                heard += 1
                if heard == EVENTS:
                    return

    async with asyncio.TaskGroup() as group:
        for _ in range(WATCHERS):
            group.create_task(follow())
        await asyncio.sleep(0.3)  # the watches are open by then; an event before that would count as slow
        for _ in range(EVENTS):
            body = {"data": {"sent": repr(time.monotonic())}}
            await client.patch(f"{path}/tick", json=body, headers={"Content-Type": "application/merge-patch+json"})
            await asyncio.sleep(0.005)
    await client.delete(f"{path}/tick")
    return sorted(delays)[int(0.99 * len(delays))] * 1000


async def on_a_sandbox(measure: Callable[[httpx.AsyncClient], Awaitable[float]], runs: int) -> list[float]:
    async with sandbox(nodes=1) as info, client_of(info) as client:
        for number in range(PODS):
            (await client.post("/api/v1/namespaces/default/pods", json=pending_pod(number))).raise_for_status()
        return [await measure(client) for _ in range(runs)]


def help_ratio() -> float:
    """`chaoskit --help` in multiples of a bare interpreter, both as whole processes."""
    return wall_s("-m", "chaoskit", "--help") / wall_s("-c", "pass")


def wall_s(*arguments: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def harness_s() -> float:
    """The README experiment's wall time beyond its configured phases and the recovery it measured."""
    spec = yaml.safe_load(EXPERIMENT.read_text())["spec"]["phases"]
    configured = sum(float(spec[name].removesuffix("s")) for name in ("baseline", "hold")) + 5.0  # sustain
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "chaoskit",
            "run",
            str(EXPERIMENT),
            "--sandbox",
            "-o",
            "json",
            "--run-dir",
            f"{folder}/run",
        ]
        began = time.monotonic()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        wall = time.monotonic() - began
    findings = {finding["slo"].split()[0]: finding for finding in json.loads(done.stdout)["findings"]}
    return wall - configured - float(findings["replicasRestored"]["measured"])


def row(what: str, figures: Sequence[float], unit: str, aim: str) -> str:
    middle, low, high = statistics.median(figures), min(figures), max(figures)
    return f"{what:<58} {middle:>9.2f} {low:>9.2f} {high:>9.2f}  {unit:<4} {aim}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--no-experiment", action="store_true", help="leave out the whole experiment (half a minute a run)"
    )
    options = parser.parse_args()
    runs = options.runs
    print(f"{'':<58} {'median':>9} {'least':>9} {'most':>9}  unit aim")
    print(row("sandbox up, to three Ready nodes", [asyncio.run(up_s()) for _ in range(runs)], "s", "1.5"))
    print(row("lists of 100 pods", asyncio.run(on_a_sandbox(lists_per_second, runs)), "/s", "100"))
    print(row("watch event to client, p99 of 10 watchers", asyncio.run(on_a_sandbox(watch_p99_ms, runs)), "ms", "20"))
    print(row("chaoskit --help, in bare interpreters", [help_ratio() for _ in range(runs)], "x", "8"))
    if not options.no_experiment:
        print(
            row("README experiment beyond phases and measured recovery", [harness_s() for _ in range(runs)], "s", "3")
        )


if __name__ == "__main__":
    main()
