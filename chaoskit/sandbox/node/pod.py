"""The life of one pod on its node: volumes, init containers, containers, probes, termination. One worker per pod, one task per worker.

The termination sequence follows kubernetes.io "Pod Lifecycle, Termination of Pods" and pkg/kubelet/pod_workers.go.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine, Iterable
from typing import Any, TypeAlias

from chaoskit.sandbox.client import ApiFailure
from chaoskit.sandbox.node import volumes
from chaoskit.sandbox.node.container import Container, Role
from chaoskit.sandbox.node.host import Host, Place
from chaoskit.sandbox.node.prober import Kind, Prober
from chaoskit.sandbox.node.processes import sweep
from chaoskit.sandbox.node.publisher import Publisher
from chaoskit.sandbox.node.states import Terminated, parse_stamp
from chaoskit.sandbox.node.status import Facts, find_phase, render_status
from chaoskit.sandbox.node.stopping import Grace
from chaoskit.sandbox.node.volumes import MountError

Obj: TypeAlias = dict[str, Any]
_log = logging.getLogger(__name__)
_PROBES = ((Kind.STARTUP, "startupProbe"), (Kind.LIVENESS, "livenessProbe"), (Kind.READINESS, "readinessProbe"))
_MOUNT_RETRY_S = 2.0
_FORCED_GRACE_S = 1.0
"""A forced deletion still gives the hook this long; the 2 s before SIGKILL come on top."""
_RESYNC_JITTER = 0.5
_RETRY_S = 0.2


class PodWorker:
    """Runs one pod. `update` brings what the watch saw, `vanish` that the object is gone; `run` returns when nothing is left."""

    def __init__(self, host: Host, pod: Obj) -> None:
        self.host = host
        self.place = Place(host, pod)
        self.publisher = Publisher(host.client, self.place.path, pod, self._status)
        self.inits = [self._container(spec, _role(spec)) for spec in pod["spec"].get("initContainers") or ()]
        waiting = "PodInitializing" if self.inits else "ContainerCreating"
        self.mains = [self._container(spec, Role.MAIN, waiting) for spec in pod["spec"]["containers"]]
        self._began = time.time()
        self._networked = False
        self._terminal = False
        self._revived = False
        self._failure = ("", "")
        self._expired = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        self._ending = asyncio.Event()
        self._touched = asyncio.Event()
        self._grace: Grace | None = None
        self._vanished = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._sidecars: set[asyncio.Task[None]] = set()
        self._adopt(pod)
        self.update(pod)

    def _container(self, spec: Obj, role: Role, waiting: str = "PodInitializing") -> Container:
        return Container(self.place, spec["name"], role, self.publisher, waiting)

    @property
    def all(self) -> list[Container]:
        return [*self.inits, *self.mains]

    def _adopt(self, pod: Obj) -> None:
        status = pod.get("status") or {}
        known = {
            each["name"]: each
            for key in ("initContainerStatuses", "containerStatuses")
            for each in status.get(key) or ()
        }
        for container in self.all:
            container.adopt(known.get(container.name, {}))
        self._revived = any(isinstance(each.state, Terminated) for each in self.all) and not _is_over(pod)

    # What the watch brings

    def update(self, pod: Obj) -> None:
        """The pod as the API server has it now."""
        before = self.place.pod
        self.publisher.observe(pod)
        self.place.pod = self.publisher.pod
        self._set_deadline()
        if _asks_anew(before, self.place.pod):
            self._touched.set()
            self._replace_images(before["spec"])
        if "deletionTimestamp" in pod["metadata"]:
            self._end(float(pod["metadata"].get("deletionGracePeriodSeconds", self.place.grace_s)))
        self.publisher.dirty()

    def _replace_images(self, before: Obj) -> None:
        old = {each["name"]: each["image"] for each in before["containers"]}
        for each in self.mains:
            if each.spec["image"] != old.get(each.name):
                each.kill(f"Container {each.name} definition changed, will be restarted")

    def vanish(self) -> None:
        """The object is gone: the processes get a forced end."""
        self._vanished = True
        self.publisher.vanish()
        self._end(0.0)

    def _end(self, grace_s: float) -> None:
        grace_s = max(grace_s, _FORCED_GRACE_S)
        if self._grace is None:
            self._grace = Grace(grace_s)
        else:
            self._grace.shorten(grace_s)
        self.place.terminating = True
        self._ending.set()

    def _set_deadline(self) -> None:
        """activeDeadlineSeconds, from the pod's start on this node; it may be set later, and only be shortened."""
        limit = self.place.pod["spec"].get("activeDeadlineSeconds")
        if self._expiry is not None:
            self._expiry.cancel()
        if limit is not None and not self._expired.is_set():
            started = (self.place.pod.get("status") or {}).get("startTime")
            left = (parse_stamp(started) if started else self._began) + limit - time.time()
            self._expiry = asyncio.get_running_loop().call_later(left, self._expired.set)

    # Life

    async def run(self) -> None:
        """From the first volume to the release of the address."""
        self._spawn(self.publisher.run())
        try:
            await self._until_ending()
            await self._terminate()
        finally:
            if self._expiry is not None:
                self._expiry.cancel()
            await _cancel(self._tasks)
            await sweep(self.place.marks)
            self.place.leave()

    async def _until_ending(self) -> None:
        if _is_over(self.place.pod):
            await self._ending.wait()
            return
        life = self._spawn(self._live())
        await _first(self._ending, self._expired)
        # From here on nothing restarts; the processes still run.
        await _cancel({life, *self._sidecars})
        if not self._ending.is_set():
            await self._expire()
            await self._ending.wait()

    async def _expire(self) -> None:
        """The pod was active for too long: it ends as Failed, and its object stays."""
        if self._terminal:
            return
        self._failure = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        self.place.event("Normal", *self._failure)
        self.place.terminating = True
        self._grace = self._grace or Grace(max(self.place.grace_s, _FORCED_GRACE_S))
        await self._stop_in_order(self._grace)
        await sweep(self.place.marks)
        self._terminal = True
        self.publisher.dirty()
        await self.publisher.flush()

    async def _live(self) -> None:
        try:
            await self._start_all()
        except Exception:  # noqa: BLE001 - a fault of ours must not look like a healthy pod
            _log.exception("pod %s/%s: worker failed", self.place.namespace, self.place.name)
            self.place.event(
                "Warning", "FailedSync", "error syncing pod: the node's worker failed, see the log of the sandbox"
            )

    async def _start_all(self) -> None:
        self.place.clear()
        self.publisher.dirty()
        if self._revived and not await self._revive():
            await self._finish()
            return
        self._start_probers([each for each in self.all if each.role is not Role.INIT])
        await self._prepare_volumes()
        self._networked = True
        self._spawn(self._keep_volumes())
        if await self._initialize():
            await asyncio.gather(*(each.run() for each in self.mains))
        await _cancel(self._sidecars)
        await self._stop_in_order(Grace(self.place.grace_s))
        await self._finish()

    async def _revive(self) -> bool:
        """After a power cut: tell that all is lost, then begin anew with what may be restarted. False when nothing may."""
        await self.publisher.flush()
        again = [each for each in self.mains if not each.last_restart]
        if not again:
            return False
        self.place.event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        for each in (*self.inits, *again):
            each.revive()
        return True

    async def _initialize(self) -> bool:
        """Init containers in order, sidecars up to their start. False when an init container failed for good."""
        for each in self.inits:
            if each.role is Role.INIT:
                await each.run()
                if not each.ready:
                    return False
            else:
                self._sidecars.add(self._spawn(each.run()))
                while not each.started:
                    await each.changed()
            self.publisher.dirty()
        return True

    async def _finish(self) -> None:
        """Everything ended by itself: the phase says how."""
        self._terminal = find_phase(self._facts(), self._policy) in ("Succeeded", "Failed")
        self.publisher.dirty()
        await self.publisher.flush()

    @property
    def _policy(self) -> str:
        return str(self.place.pod["spec"].get("restartPolicy", "Always"))

    # Volumes

    async def _prepare_volumes(self) -> None:
        while True:
            try:
                await volumes.prepare(self.place.facts(), self.place.supply)
                return
            except MountError as error:
                self.place.event("Warning", "FailedMount", str(error))
            except ApiFailure:
                await asyncio.sleep(_RETRY_S)
                continue
            await self.host.objects.changed(_MOUNT_RETRY_S)

    async def _keep_volumes(self) -> None:
        """Refresh the volumes each sync period, jittered by up to half, and at each change of the pod, as the kubelet's pod sync does."""
        if not volumes.follows(self.place.pod):
            return
        period = self.host.settings.timings.config_map_sync_s
        while True:
            self._touched.clear()
            try:
                async with asyncio.timeout(period * random.uniform(1, 1 + _RESYNC_JITTER)):
                    await self._touched.wait()
            except TimeoutError:
                pass
            try:
                await volumes.prepare(self.place.facts(), self.place.supply)
            except (MountError, ApiFailure) as error:
                _log.info("pod %s/%s: volumes not refreshed: %s", self.place.namespace, self.place.name, error)

    # Probes

    def _start_probers(self, containers: Iterable[Container]) -> None:
        for container in containers:
            for kind, key in _PROBES:
                if key in container.spec:
                    self._start_prober(container, kind, container.spec[key])

    def _start_prober(self, container: Container, kind: Kind, spec: Obj) -> None:
        prober = Prober(kind, spec, container, lambda: container.attempt(spec), container.complain)
        if kind is Kind.READINESS:
            container.on_unready = lambda: None if container.ready else prober.trigger()
        self._spawn(prober.run())

    # End

    async def _terminate(self) -> None:
        assert self._grace is not None
        await self._stop_in_order(self._grace)
        await sweep(self.place.marks)
        self._terminal = True
        if not self._vanished:
            self.publisher.dirty()
            await self.publisher.flush()
            await self._delete()

    async def _stop_in_order(self, grace: Grace) -> None:
        """The containers together; then the sidecars one by one, the last one started first. Their hooks all begin at once."""
        going = [asyncio.create_task(each.stop(grace)) for each in self.mains]
        for each in reversed(self.inits):
            going.append(asyncio.create_task(each.stop(grace, tuple(going))))
        await asyncio.gather(*going)

    async def _delete(self) -> None:
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.place.uid},
        }
        while not self._vanished:
            try:
                await self.host.client.delete(self.place.path, options)
                return
            except ApiFailure as failure:
                if failure.code in (404, 409):
                    return
                await asyncio.sleep(_RETRY_S)

    # Status

    def _facts(self) -> Facts:
        sidecars = frozenset(each.name for each in self.inits if each.role is Role.SIDECAR)
        return Facts(
            self.mains,
            self.inits,
            sidecars,
            self.host.address,
            self.place.ip,
            self._began,
            self._networked,
            self._terminal,
            *self._failure,
        )

    def _status(self, pod: Obj) -> Obj:
        if _is_over(pod):
            return dict(pod["status"])
        return render_status(self._facts(), pod)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _role(spec: Obj) -> Role:
    return Role.SIDECAR if spec.get("restartPolicy") == "Always" else Role.INIT


def _asks_anew(before: Obj, after: Obj) -> bool:
    """Whether somebody else than this node changed the pod: our own status must not set off a sync."""
    keys = ("labels", "annotations", "deletionTimestamp")
    same = all(before["metadata"].get(key) == after["metadata"].get(key) for key in keys)
    return not same or before["spec"] != after["spec"]


def _is_over(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


async def _first(*events: asyncio.Event) -> None:
    """Return when one of them is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
