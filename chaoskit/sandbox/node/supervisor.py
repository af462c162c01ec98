"""One node of the sandbox: registers itself, watches the pods bound to it and keeps a worker for each. A client of the API, as a kubelet is."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeAlias

from chaoskit.sandbox import janitor, outages
from chaoskit.sandbox.client import ApiFailure, Change, Client, Listed
from chaoskit.sandbox.node import images
from chaoskit.sandbox.node.addresses import Addresses
from chaoskit.sandbox.node.doors import Doors
from chaoskit.sandbox.node.events import Recorder
from chaoskit.sandbox.node.host import Host
from chaoskit.sandbox.node.logs import LogWatch
from chaoskit.sandbox.node.objects import ConfigObjects
from chaoskit.sandbox.node.pod import PodWorker
from chaoskit.sandbox.node.processes import Reaper, sweep_now
from chaoskit.sandbox.node.registration import Registration
from chaoskit.sandbox.outages import Outage
from chaoskit.sandbox.power import LOOK_AGAIN
from chaoskit.sandbox.settings import ClusterSettings

Obj: TypeAlias = dict[str, Any]
_log = logging.getLogger(__name__)
_MOST_PODS = 110


async def serve(settings: ClusterSettings, name: str, index: int, boots: int = 0) -> None:
    """Be node `index` (from 1), called `name`, until cancelled. Then every process of its pods is killed and its folder removed.

    `boots` is how often it was switched on before: its pods get other addresses each time. Runs in the main thread of a
    process of its own: it becomes the subreaper of all that its pods fork.
    """
    async with _host(settings, name, index, boots) as host:
        supervisor = Supervisor(host)
        _heed_the_cable(host)
        registration = Registration(host.client, settings, name, index)
        try:
            async with Doors(settings.state_dir / f"{name}.sock", supervisor), asyncio.TaskGroup() as tasks:
                await registration.register()
                host.recorder.node("Normal", "Starting", "Starting kubelet.")
                _warn_of_disks(host)
                tasks.create_task(host.recorder.run())
                tasks.create_task(registration.run())
                tasks.create_task(supervisor.run())
        finally:
            await supervisor.close()


def _warn_of_disks(host: Host) -> None:
    if host.memory.is_relative_to(host.settings.state_dir):
        message = (
            f"no file system in memory to write to: secrets and tokens of pods lie on the disk behind {host.memory}"
        )
        host.recorder.node("Warning", "SecretsOnDisk", message)


def _heed_the_cable(host: Host) -> None:
    """Lose the API server while the node is cut off, and find it again afterwards."""

    def look() -> None:
        if outages.holds(host.settings.state_dir, host.name, Outage.CUT):
            host.client.disconnect()
        else:
            host.client.reconnect()

    asyncio.get_running_loop().add_signal_handler(LOOK_AGAIN, look)
    look()


@asynccontextmanager
async def _host(settings: ClusterSettings, name: str, index: int, boots: int) -> AsyncIterator[Host]:
    folder = settings.state_dir / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    images.install_interpreter(folder / "bin")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(settings, f"kubelet/{name}"))
        reaper = await stack.enter_async_context(Reaper())
        objects, logs = ConfigObjects(client), LogWatch()
        stack.callback(logs.close)
        stack.push_async_callback(objects.close)
        addresses, recorder = Addresses(settings, index, boots), Recorder(client, name)
        memory = janitor.memory_dir(settings.id) / name
        memory.mkdir(parents=True, exist_ok=True, mode=0o700)
        host = Host(settings, name, index, client, recorder, objects, reaper, logs, addresses, folder, memory)
        sweep_now(host.marks)  # what an earlier life of this node may have left
        try:
            yield host
        finally:
            sweep_now(host.marks)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(memory, ignore_errors=True)


class Supervisor:
    """The workers of one node, by the pods' uids."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._rejections: set[asyncio.Task[None]] = set()

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of the pod of that name; of two, the later: the earlier is on its way out."""
        for worker in reversed(self._workers.values()):
            if (worker.place.namespace, worker.place.name) == (namespace, name):
                return worker
        return None

    async def run(self) -> None:
        """Follow the pods bound to this node, for ever."""
        async for seen in self._host.client.follow("/api/v1/pods", f"spec.nodeName={self._host.name}"):
            match seen:
                case Listed(items):
                    self._reconcile(items)
                case Change("DELETED", pod):
                    self._vanish(pod["metadata"]["uid"])
                case Change(_, pod):
                    self._admit(pod)

    def _reconcile(self, pods: tuple[Obj, ...]) -> None:
        present = {pod["metadata"]["uid"] for pod in pods}
        for uid in [uid for uid in self._workers if uid not in present]:
            self._vanish(uid)
        for pod in pods:
            self._admit(pod)

    def _vanish(self, uid: str) -> None:
        if uid in self._workers:
            self._workers[uid].vanish()

    def _admit(self, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._workers:
            self._workers[uid].update(pod)
            return
        if len(self._workers) >= _MOST_PODS:
            self._reject(pod)
            return
        worker = self._workers[uid] = PodWorker(self._host, pod)
        task = self._tasks[uid] = asyncio.create_task(worker.run())
        task.add_done_callback(lambda ended: self._forget(uid, ended))

    def _reject(self, pod: Obj) -> None:
        """Bound here past the scheduler to a node that is full (kubernetes.io: Node-pressure, OutOfpods)."""
        if (pod.get("status") or {}).get("phase") == "Failed":
            return
        message = f"Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: {_MOST_PODS}, capacity: {_MOST_PODS}"
        self._host.recorder.pod(pod, "Warning", "OutOfpods", message)
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
        status = {"phase": "Failed", "reason": "OutOfpods", "message": message}
        task = asyncio.create_task(self._say(path, status))
        self._rejections.add(task)
        task.add_done_callback(self._rejections.discard)

    async def _say(self, path: str, status: Obj) -> None:
        with suppress(ApiFailure):
            await self._host.client.merge(path, {"status": status})

    def _forget(self, uid: str, ended: asyncio.Task[None]) -> None:
        self._workers.pop(uid, None)
        self._tasks.pop(uid, None)
        if not ended.cancelled() and (error := ended.exception()):
            _log.error("the worker of pod %s failed", uid, exc_info=error)

    async def close(self) -> None:
        """Drop all workers at once, as a power cut would; the caller kills the processes."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
