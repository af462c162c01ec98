"""One node supervisor in a process of its own, on a tiny API, for the tests of the node; and the pods they put on it."""

from __future__ import annotations

import asyncio
import inspect
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
from aiohttp import web

from chaoskit.sandbox import janitor
from chaoskit.sandbox.node.processes import marked
from chaoskit.sandbox.settings import MARK, SLOTS, ClusterSettings, Timings, fast
from tests.sandbox.tiny_api import TinyApi, pod_path

Obj: TypeAlias = dict[str, Any]
NODE = "node-1"


@dataclass(frozen=True)
class OneNode:
    """A running node. `process` may be killed by a test."""

    api: TinyApi
    settings: ClusterSettings
    process: subprocess.Popen[bytes]
    http: aiohttp.ClientSession

    def run(self, name: str, command: list[str], **spec: Any) -> Obj:
        """Bind a pod with one container `app`; keywords of the container go in `container`, others in the pod's spec."""
        container = {"name": "app", "image": "python:3.11-slim", "command": command, **spec.pop("container", {})}
        body = {
            "nodeName": NODE,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "containers": [container],
            **spec,
        }
        return self.bind(name, body)

    def bind(self, name: str, spec: Obj) -> Obj:
        pod = {
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
            "spec": {"nodeName": NODE, **spec},
        }
        return self.api.put(pod_path(name), {**pod, "status": {"phase": "Pending"}})

    def marks(self) -> dict[str, str]:
        return {MARK: self.settings.id}

    async def ready(self, name: str, within_s: float = 8.0) -> Obj:
        pod: Obj = await self.api.until(
            lambda: is_ready(self.api.pod(name)) and self.api.pod(name), within_s, f"{name} ready"
        )
        return pod

    async def status(self, name: str, holds: Any, within_s: float = 8.0) -> Obj:
        """The pod, once its first container's status satisfies `holds`."""
        pod: Obj = await self.api.until(lambda: holds(first(self.api.pod(name))) and self.api.pod(name), within_s, name)
        return pod

    async def log(self, name: str, **query: str) -> str:
        async with self.http.get(f"http://node/logs/shop/{name}/app", params=query) as response:
            return await response.text()


def first(pod: Obj | None) -> Obj:
    """The status of the first container; an empty one before there is any."""
    statuses = (pod or {}).get("status", {}).get("containerStatuses")
    return statuses[0] if statuses else {"state": {}, "lastState": {}, "restartCount": 0, "ready": False}


def condition(pod: Obj | None, kind: str) -> Obj:
    found = [each for each in (pod or {}).get("status", {}).get("conditions") or [] if each["type"] == kind]
    return found[0] if found else {}


def is_ready(pod: Obj | None) -> bool:
    return condition(pod, "Ready").get("status") == "True"


async def until(holds: Callable[[], Any], within_s: float = 8.0) -> Any:
    """Ask again and again until `holds` is true, for facts that nobody announces; its value. It may be a coroutine function."""
    async with asyncio.timeout(within_s):
        while True:
            value = holds()
            if value := await value if inspect.isawaitable(value) else value:
                return value
            await asyncio.sleep(0.02)


@contextmanager
def claimed_slot() -> Iterator[int]:
    """A free slot of addresses, claimed as a launcher claims it."""
    with ExitStack() as stack:
        for slot in reversed(SLOTS):
            claim = stack.enter_context(socket.socket(socket.AF_UNIX))
            try:
                claim.bind(f"\0chaoskit-sandbox-{slot}")
            except OSError:
                continue
            yield slot
            return
        raise AssertionError("all slots are taken")


@asynccontextmanager
async def one_node(**timings: Any) -> AsyncIterator[OneNode]:
    """A registered node. At the end nothing marked may be left, whatever the test did."""
    api = TinyApi()
    runner = web.AppRunner(api.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    with tempfile.TemporaryDirectory() as folder, claimed_slot() as slot:
        settings = _settings(Path(folder), slot, port, replace(fast(), **timings))
        process = start_node(settings)
        connector = aiohttp.UnixConnector(str(settings.state_dir / f"{NODE}.sock"))
        try:
            async with aiohttp.ClientSession(connector=connector) as http:
                await api.until(
                    lambda: api.objects.get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"),
                    15,
                )
                yield OneNode(api, settings, process, http)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 10)
            await runner.cleanup()
            shutil.rmtree(janitor.memory_dir(settings.id), ignore_errors=True)  # after a SIGKILL the janitor's
        assert marked({MARK: settings.id}) == []


def _settings(folder: Path, slot: int, port: int, timings: Timings) -> ClusterSettings:
    name = secrets.token_hex(6)
    return ClusterSettings(
        name, slot, f"http://127.0.0.1:{port}", "token", folder / "ca", folder, timings, "fast", (NODE,)
    )


def start_node(settings: ClusterSettings) -> subprocess.Popen[bytes]:
    file = settings.state_dir / "settings.json"
    file.write_bytes(settings.to_json())
    env = {**os.environ, MARK: settings.id}
    return subprocess.Popen([sys.executable, "-m", "tests.sandbox.node_child", str(file), NODE, "1"], env=env)
