"""A sandbox with the sample application, victims that are killed on it, and what they leave there. Arranges; asserts nothing."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import LiveCluster, connect
from chaoskit.cluster.mark import mark_of
from chaoskit.cluster.setup import Applied, apply, wait_until_available
from chaoskit.model.errors import ClusterError
from chaoskit.model.resource import ref_of
from chaoskit.model.step import Answers, Condition, Exits
from chaoskit.runner.recover import Report, Scope, recover_all
from tests.safety.victim import SICK, Job

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "sample-app" / "manifests" / "sturdy"
SPACE = "shop"
_VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
_OF_OTHERS = ("deployment.kubernetes.io/revision",)


@dataclass
class Scene:
    """A cluster to kill runners on."""

    live: LiveCluster
    kubeconfig: Path
    context: str
    applied: Applied
    zygote: subprocess.Popen[str]
    folder: Path
    before: object = None
    said: list[Mapping[str, Any]] = field(default_factory=list)

    def job(self, fault: str, **more: Any) -> Job:
        return Job(
            str(self.kubeconfig), self.context, SPACE, fault, f"k{secrets.token_hex(3)}", str(self.folder), **more
        )

    def order(self, job: Job) -> None:
        assert self.zygote.stdin is not None
        self.zygote.stdin.write(json.dumps(asdict(job)) + "\n")
        self.zygote.stdin.flush()

    async def hear(self, what: str) -> Mapping[str, Any]:
        """The next thing of that kind that the zygote or its child says; of any kind when none is named."""
        assert self.zygote.stdout is not None
        while True:
            line = await asyncio.to_thread(self.zygote.stdout.readline)
            if not line:
                raise RuntimeError("the zygote has ended")
            said: Mapping[str, Any] = json.loads(line)
            self.said.append(said)
            if not what or what in said:
                return said

    async def held(self, job: Job) -> int:
        """Carry out a job until its fault is held; its pid."""
        self.order(job)
        while True:
            said = await self.hear("")
            if said.get("phase") == "hold":
                return int(said["pid"])
            if "ended" in said:
                raise RuntimeError(f"{job.fault} was never held: {self.said[-6:]}")

    async def ended(self, job: Job) -> int:
        """Carry out a job; its exit code, negative for a signal."""
        self.order(job)
        return int((await self.hear("ended"))["ended"])

    async def settled(self) -> None:
        """Wait until the application is there in full again."""
        await wait_until_available(self.live, self.applied, 60.0)

    async def is_as_before(self, within_s: float) -> bool:
        """Whether all becomes as it was, in time: pods that were switched may need a moment to be asked."""
        give_up = time.monotonic() + within_s
        while await snapshot(self.live) != self.before:
            if time.monotonic() >= give_up:
                return False
            await asyncio.sleep(0.2)
        return True

    def kill(self, pid: int) -> None:
        """End a child of the zygote as the kernel ends a process that uses too much memory."""
        os.kill(pid, signal.SIGKILL)

    async def recovered(self) -> Report:
        """A recovery with nothing but the cluster."""
        return await recover_all(self.live, Scope(SPACE))


async def snapshot(live: LiveCluster) -> object:
    """The desired state of what no controller owns, what is ours, and what is switched in pods."""
    found: dict[str, object] = {}
    for kind in ("Node", "Deployment", "Service", "ConfigMap", "Lease"):
        for place in (SPACE, "chaoskit") if kind != "Node" else ("",):
            for obj in await live.list(kind, place):
                found[f"{kind}/{place}/{obj['metadata']['name']}"] = _desired(obj)
    switched = []
    for pod in await live.list("Pod", SPACE, labels="app=checkout"):
        if pod["metadata"].get("deletionTimestamp") or (pod.get("status") or {}).get("phase") != "Running":
            continue
        switched += await _switched(live, pod)
    return found, switched


def _desired(obj: Mapping[str, Any]) -> object:
    meta = {key: value for key, value in obj["metadata"].items() if key not in _VOLATILE and value}
    annotations = {key: value for key, value in (meta.pop("annotations", None) or {}).items() if key not in _OF_OTHERS}
    taints = {"taints": None} if obj["kind"] == "Node" else {}  # follow from unschedulable, a little later
    return meta, annotations, {**(obj.get("spec") or {}), **taints}, obj.get("data")


async def _switched(live: LiveCluster, pod: Mapping[str, Any]) -> list[str]:
    ref = ref_of(pod, "Pod")
    looks: list[Condition] = [Answers(ref, 9090, f"/switches/{name}", 200) for name in ("readiness", "liveness")]
    found = []
    looks.append(Exits(ref, pod["spec"]["containers"][0]["name"], ("test", "-e", SICK), 0))
    for look in looks:
        try:
            if await live.holds(look):
                found.append(f"{ref}: {look}")
        except ClusterError:
            continue  # it is starting or ending: nothing is switched in it
    return found


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """A sandbox with the application on it, and a zygote."""
    from chaoskit.sandbox.cluster import sandbox

    manifests = [doc for path in sorted(MANIFESTS.glob("*.yaml")) for doc in yaml.safe_load_all(path.read_text())]
    async with sandbox() as info, connect(read_access(info.context, info.kubeconfig)) as live:
        applied = await apply(live, manifests, SPACE, "scene")
        with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryDirectory(prefix="chaoskit-kills-") as folder:
            zygote = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond, and is talked to in threads
                [sys.executable, "-m", "tests.safety.victim"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            made = Scene(live, info.kubeconfig, info.context, applied, zygote, Path(folder))
            try:
                await made.settled()
                await _unmark(live)
                # The first run makes the state namespace, which stays.
                assert await made.ended(made.job("killPod")) == 0, made.said
                await made.settled()
                made.before = await snapshot(live)
                yield made
            finally:
                assert zygote.stdin is not None and zygote.stdout is not None
                zygote.stdin.close()
                zygote.stdout.close()
                zygote.kill()
                zygote.wait()


async def _unmark(live: LiveCluster) -> None:
    """The application is to look like anybody's, not like a setup that a recovery would take away."""
    for kind in ("Namespace", "Deployment", "Service", "ConfigMap"):
        for obj in await live.list(kind, "" if kind == "Namespace" else SPACE):
            if mark_of(obj):
                await live.keep(_plain(obj))


def _plain(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    meta["annotations"] = {
        k: v for k, v in (meta.get("annotations") or {}).items() if not k.startswith("chaoskit.dev/mark")
    }
    meta["labels"] = {k: v for k, v in (meta.get("labels") or {}).items() if k != "chaoskit.dev/run"}
    return {**obj, "metadata": meta}
