"""All nodes of a simulated cluster in one process: their pods run nothing, their statuses are written as if they did.

For tests of scale and of recovery. Registers, renews leases, starts, restarts and ends pods by the clock, and falls silent
where the power switches say so. Not simulated: probes, exit codes, logs, exec, events, back-off; nobody listens on a pod's address.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chaoskit.sandbox import outages
from chaoskit.sandbox.client import ApiFailure, Change, Client, Listed
from chaoskit.sandbox.node.addresses import Addresses
from chaoskit.sandbox.node.registration import Registration
from chaoskit.sandbox.node.states import Running, State, Terminated, Waiting
from chaoskit.sandbox.node.status import Facts, render_status
from chaoskit.sandbox.power import LOOK_AGAIN, MACHINES
from chaoskit.sandbox.settings import ClusterSettings

Obj: TypeAlias = dict[str, Any]
_log = logging.getLogger(__name__)
_WRITERS = 16
"""Requests under way at once: enough to keep the API server busy, few enough to leave it to others in between."""
_BEATS_PER_S = 50.0
_RETRY_S = 0.2


@dataclass(slots=True)
class Paper:
    """A container that runs nothing, as far as its status goes."""

    spec: Obj
    state: State
    restarts: int
    last: Terminated | None
    ready: bool

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def image_id(self) -> str:
        return f"simulated://{self.spec['image']}"

    @property
    def started(self) -> bool:
        return isinstance(self.state, Running)


@dataclass(slots=True)
class Pod:
    """What the fleet knows of one pod. `stage`: waiting, started, ready, over, gone."""

    obj: Obj
    ip: str
    began: float
    restarts: int = 0
    last: Terminated | None = None
    stage: str = "waiting"
    ending: bool = False
    writing: bool = False
    stale: bool = False
    timer: asyncio.TimerHandle | None = None
    id: str = field(default_factory=lambda: f"simulated://{secrets.token_hex(8)}")

    @property
    def path(self) -> str:
        metadata = self.obj["metadata"]
        return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


class Machine:
    """One simulated node."""

    def __init__(self, client: Client, settings: ClusterSettings, name: str, index: int) -> None:
        self.name = name
        self.host_ip = settings.node_address(index)
        self.boots = 0
        self.silent = True
        self.unsure = True  # whether the cluster may think otherwise of it
        self.pods: dict[str, Pod] = {}
        self.addresses = Addresses(settings, index)
        self.registration = Registration(client, settings, name, index)


async def serve(settings: ClusterSettings) -> None:
    """Be all nodes of the cluster until cancelled."""
    async with Client(settings, "kubelet/simulated") as client:
        fleet = Fleet(settings, client)
        asyncio.get_running_loop().add_signal_handler(LOOK_AGAIN, fleet.look)
        fleet.look()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fleet.beat())
            tasks.create_task(fleet.follow())


class Fleet:
    """The machines, and the pods on them."""

    def __init__(self, settings: ClusterSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._machines: dict[str, Machine] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: dict[str, Obj] = {}  # bound pods by uid, so that a machine that returns finds its own
        self._writers = asyncio.Semaphore(_WRITERS)

    # Machines

    def look(self) -> None:
        """Read afresh which machines there are, and what is the matter with them."""
        try:
            listed: dict[str, Obj] = json.loads((self._settings.state_dir / MACHINES).read_bytes())
        except FileNotFoundError:
            return  # told again when there are some
        for name in self._machines.keys() - listed.keys():
            self._drop_pods(self._machines.pop(name))
        for name, facts in listed.items():
            if name not in self._machines:
                self._machines[name] = Machine(self._client, self._settings, name, facts["index"])
            self._apply(self._machines[name], facts["index"], facts["boots"])

    def _apply(self, machine: Machine, index: int, boots: int) -> None:
        matter = outages.of(self._settings.state_dir, machine.name)
        if outages.Outage.OFF in matter or boots != machine.boots:
            self._drop_pods(machine)
        if boots != machine.boots:
            machine.boots = boots
            machine.addresses = Addresses(self._settings, index, boots - 1)
        was_silent, machine.silent = machine.silent, bool(matter)
        if was_silent and not machine.silent:
            machine.unsure = True
            self._spawn(self._return(machine))

    async def _return(self, machine: Machine) -> None:
        await machine.registration.register()
        for pod in [pod for pod in self._seen.values() if pod["spec"]["nodeName"] == machine.name]:
            self._admit(pod)

    def _drop_pods(self, machine: Machine) -> None:
        for pod in machine.pods.values():
            self._forget(pod)
        machine.pods.clear()

    async def beat(self) -> None:
        """Renew the lease of each machine that is not silent; the fewer times the more there are, but in time."""
        timings, loop = self._settings.timings, asyncio.get_running_loop()
        while True:
            began = loop.time()
            # Together, for the API server may be slow to answer: a lease must not wait for the answers about all the others.
            await asyncio.gather(*(self._beat_once(each) for each in self._machines.values() if not each.silent))
            wanted = max(timings.node_status_update_frequency_s, len(self._machines) / _BEATS_PER_S)
            await asyncio.sleep(began + min(wanted, timings.node_monitor_grace_period_s / 3) - loop.time())

    async def _beat_once(self, machine: Machine) -> None:
        try:
            await machine.registration.beat(look=machine.unsure)
            machine.unsure = False
        except ApiFailure:
            machine.unsure = True

    # Pods

    async def follow(self) -> None:
        """Follow all pods, for ever."""
        async for seen in self._client.follow("/api/v1/pods"):
            match seen:
                case Listed(items):
                    self._reconcile(items)
                case Change("DELETED", pod):
                    self._vanish(pod)
                case Change(_, pod):
                    self._note(pod)

    def _reconcile(self, pods: tuple[Obj, ...]) -> None:
        present = {pod["metadata"]["uid"] for pod in pods}
        for uid in [uid for uid in self._seen if uid not in present]:
            self._vanish(self._seen[uid])
        for pod in pods:
            self._note(pod)

    def _note(self, pod: Obj) -> None:
        if pod["spec"].get("nodeName"):
            self._seen[pod["metadata"]["uid"]] = pod
            self._admit(pod)

    def _vanish(self, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        self._seen.pop(uid, None)
        machine = self._machines.get(pod["spec"].get("nodeName", ""))
        known = None if machine is None else machine.pods.pop(uid, None)
        if machine is not None and known is not None:
            machine.addresses.release(known.ip)
            self._forget(known)

    def _forget(self, pod: Pod) -> None:
        pod.stage = "gone"
        if pod.timer is not None:
            pod.timer.cancel()

    def _admit(self, obj: Obj) -> None:
        machine = self._machines.get(obj["spec"]["nodeName"])
        if machine is None or machine.silent:
            return
        uid = obj["metadata"]["uid"]
        pod = machine.pods.get(uid)
        if pod is None:
            pod = machine.pods[uid] = _new_pod(machine, obj)
            self._after(self._settings.timings.simulated_start_s, self._start, machine, pod)
        elif int(obj["metadata"]["resourceVersion"]) > int(pod.obj["metadata"]["resourceVersion"]):
            pod.obj = obj
            self._publish(machine, pod)
        if "deletionTimestamp" in obj["metadata"] and not pod.ending:
            pod.ending = True
            self._after(self._settings.timings.simulated_stop_s, self._end, machine, pod)

    def _after(self, delay_s: float, act: Any, machine: Machine, pod: Pod) -> None:
        if pod.timer is not None:
            pod.timer.cancel()
        pod.timer = asyncio.get_running_loop().call_later(delay_s, act, machine, pod)

    def _start(self, machine: Machine, pod: Pod) -> None:
        ready_s = self._settings.timings.simulated_ready_s
        pod.stage = "started" if ready_s > 0 else "ready"
        if ready_s > 0:
            self._after(ready_s, self._ready, machine, pod)
        self._publish(machine, pod)

    def _ready(self, machine: Machine, pod: Pod) -> None:
        pod.stage = "ready"
        self._publish(machine, pod)

    def _end(self, machine: Machine, pod: Pod) -> None:
        pod.stage = "over"
        self._publish(machine, pod)

    def _publish(self, machine: Machine, pod: Pod) -> None:
        pod.stale = True
        if not pod.writing and pod.stage != "waiting":
            pod.writing = True
            self._spawn(self._write(machine, pod))

    async def _write(self, machine: Machine, pod: Pod) -> None:
        try:
            while pod.stale and pod.stage != "gone" and not machine.silent:
                pod.stale = False
                async with self._writers:
                    await self._write_once(machine, pod)
            if pod.stage == "over" and not machine.silent:
                await self._delete(pod)
        finally:
            pod.writing = False

    async def _write_once(self, machine: Machine, pod: Pod) -> None:
        status = render_status(_facts(machine, pod), pod.obj)
        current = pod.obj.get("status") or {}
        if all(current.get(key) == value for key, value in status.items()):
            return
        metadata = {key: pod.obj["metadata"][key] for key in ("uid", "resourceVersion")}
        try:
            pod.obj = await self._client.merge(f"{pod.path}/status", {"metadata": metadata, "status": status})
        except ApiFailure as failure:
            if failure.code == 404:
                pod.stage = "gone"
                return
            pod.stale = True
            await self._look_again(pod, failure)

    async def _look_again(self, pod: Pod, failure: ApiFailure) -> None:
        if failure.code != 409:
            await asyncio.sleep(_RETRY_S)
            return
        try:
            now = await self._client.get(pod.path)
        except ApiFailure:
            return
        if now["metadata"]["uid"] == pod.obj["metadata"]["uid"]:
            pod.obj = now
        else:
            pod.stage = "gone"

    async def _delete(self, pod: Pod) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.obj["metadata"]["uid"]}}
        while pod.stage != "gone":
            try:
                await self._client.delete(pod.path, {"apiVersion": "v1", "kind": "DeleteOptions", **options})
                return
            except ApiFailure as failure:
                if failure.code in (404, 409):
                    return
                await asyncio.sleep(_RETRY_S)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("a simulated node failed", exc_info=error)


def _new_pod(machine: Machine, obj: Obj) -> Pod:
    """A pod that has just come here, or one that ran here before the power went: then its containers were restarted."""
    status = obj.get("status") or {}
    now = time.time()
    pod = Pod(obj, machine.addresses.take(status.get("podIP", "")), now)
    before = next((each for each in status.get("containerStatuses") or () if each.get("containerID")), None)
    if before is not None:
        pod.restarts = before["restartCount"] + 1
        pod.last = Terminated(before["containerID"], 255, "Unknown", now, now)
    return pod


def _facts(machine: Machine, pod: Pod) -> Facts:
    spec, over = pod.obj["spec"], pod.stage == "over"
    inits = spec.get("initContainers") or ()
    sidecars = frozenset(each["name"] for each in inits if each.get("restartPolicy") == "Always")
    mains = [_paper(each, pod, ended=over) for each in spec["containers"]]
    befores = [_paper(each, pod, ended=over or each["name"] not in sidecars) for each in inits]
    return Facts(mains, befores, sidecars, machine.host_ip, pod.ip, pod.began, networked=True, terminal=over)


def _paper(spec: Obj, pod: Pod, *, ended: bool) -> Paper:
    if pod.stage == "waiting":
        return Paper(spec, Waiting("ContainerCreating"), pod.restarts, pod.last, ready=False)
    instance = f"{pod.id}/{spec['name']}"
    if ended:
        over = Terminated(instance, 0, "Completed", pod.began, time.time())
        return Paper(spec, over, pod.restarts, pod.last, ready=pod.stage != "over")
    return Paper(spec, Running(instance, 0, pod.began), pod.restarts, pod.last, ready=pod.stage == "ready")
