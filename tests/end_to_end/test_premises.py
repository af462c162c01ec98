"""Without its premises a run proves nothing: no fault, no traffic, no sound baseline. On a real sandbox, with the part in question taken away."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import LiveCluster, connect
from chaoskit.cluster.setup import apply, wait_until_available
from chaoskit.model.history import History
from chaoskit.model.operation import Operation, Request
from chaoskit.model.resource import ref_of
from chaoskit.model.seams import Cluster, Reply
from chaoskit.model.verdict import Grade, Verdict
from chaoskit.runner import session
from chaoskit.runner.folder import create_folder
from chaoskit.runner.load import load
from chaoskit.runner.plan import plan
from chaoskit.sandbox.cluster import sandbox
from tests.end_to_end.running import EXPERIMENTS

FILE = EXPERIMENTS / "checkout-survives-a-killed-pod.yaml"


class Feigned:
    """A cluster whose mutations are answered and do nothing."""

    def __init__(self, live: LiveCluster) -> None:
        self._live = live

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live, name)

    async def perform(self, op: Operation, mark: str, *, undoing: bool = False) -> Reply:
        return Reply(200, {})


@dataclass
class Stage:
    """What a test may reach into while the run lasts."""

    live: LiveCluster
    folder: Path


async def run_file(
    folder: Path,
    seen_as: Callable[[LiveCluster], Cluster] = lambda live: live,
    at: Callable[[str, Stage], Any] = lambda name, stage: None,
) -> tuple[History, Verdict]:
    """The killed pod on a sandbox of its own. `at` is called when a phase begins."""
    experiment = load(FILE)
    assert experiment.setup is not None
    manifests = [
        doc
        for path in sorted(experiment.setup.manifests.glob("*.yaml"))
        for doc in yaml.safe_load_all(path.read_text())
    ]
    async with sandbox() as info, connect(read_access(info.context, info.kubeconfig)) as live:
        applied = await apply(live, manifests, "shop", "setup")
        await wait_until_available(live, applied, 60)
        route = await session.find_route(experiment, live)
        planned = await plan(experiment, live, run="testrun", seed=1, route=route)
        stage = Stage(live, create_folder(folder / "run"))
        scene = session.Scene(info.server, info.context, info.profile)
        return await session.conduct(
            experiment,
            FILE.read_text(),
            planned,
            seen_as(live),
            stage.folder,
            scene,
            on_phase=lambda name: at(name, stage),
        )


def test_a_fault_that_does_nothing_is_not_injected(tmp_path: Path) -> None:
    _, verdict = asyncio.run(run_file(tmp_path, seen_as=Feigned))
    assert verdict.grade is Grade.INCONCLUSIVE
    assert "not injected" in verdict.because


def test_traffic_that_has_stopped_is_no_traffic(tmp_path: Path) -> None:
    def stop(name: str, stage: Stage) -> None:
        if name == "inject":
            for pid in children(b"chaoskit.traffic.child"):
                os.kill(pid, signal.SIGKILL)

    _, verdict = asyncio.run(run_file(tmp_path, at=stop))
    assert verdict.grade is Grade.INCONCLUSIVE
    assert any("no traffic" in finding.because for finding in verdict.findings)


def test_a_sick_baseline_is_inconclusive_and_nothing_is_injected(tmp_path: Path) -> None:
    spoiling: list[asyncio.Task[None]] = []

    def spoil(name: str, stage: Stage) -> None:
        if name == "baseline":
            spoiling.append(asyncio.ensure_future(fail_requests(stage.live)))

    history, verdict = asyncio.run(run_file(tmp_path, at=spoil))
    assert verdict.grade is Grade.INCONCLUSIVE
    assert "baseline" in verdict.because
    assert history.of("stage.intended") == []


async def fail_requests(live: LiveCluster) -> None:
    """The application's own switch: every pod answers 500 from now on."""
    for pod in await live.list("Pod", "shop", labels="app.kubernetes.io/name=checkout"):
        body = '{"run": "spoil", "ttlSeconds": 60}'
        await live.perform(Request(ref_of(pod, "Pod"), 9090, "PUT", "/switches/requests", body), "spoil/0")


def children(command: bytes) -> list[int]:
    """Our own children of that command."""
    ours = f"PPid:\t{os.getpid()}\n".encode()
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [
        int(each.name) for each in processes if command in _read(each / "cmdline") and ours in _read(each / "status")
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
