"""One container through all its instances: start, watch, restart with back-off, stop. Judges no probe; writes no status itself.

Restart rules: pkg/kubelet/kuberuntime computePodActions and doBackOff. A liveness kill and the start of the successor are one sync,
judged by the end of the *previous* dead instance, so that the first restarts after liveness kills are immediate.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Collection
from enum import Enum
from typing import Any, TypeAlias

from chaoskit.sandbox.client import ApiFailure
from chaoskit.sandbox.node import execution, farewell
from chaoskit.sandbox.node import instance as instances
from chaoskit.sandbox.node.backoff import BackOff
from chaoskit.sandbox.node.environment import ConfigError
from chaoskit.sandbox.node.host import Place
from chaoskit.sandbox.node.images import Image
from chaoskit.sandbox.node.instance import Instance
from chaoskit.sandbox.node.logs import Log
from chaoskit.sandbox.node.memory import outgrown
from chaoskit.sandbox.node.prober import Kind
from chaoskit.sandbox.node.probes import Attempt, attempt
from chaoskit.sandbox.node.processes import StartError
from chaoskit.sandbox.node.publisher import Publisher
from chaoskit.sandbox.node.pulling import pull
from chaoskit.sandbox.node.states import Running, State, Terminated, Waiting, ended, recorded
from chaoskit.sandbox.node.stopping import Grace, HookFailed, field_path, run_hook, stop
from chaoskit.sandbox.node.volumes import MountError
from chaoskit.sandbox.quantity import parse_quantity

Obj: TypeAlias = dict[str, Any]
_CONFIG_RETRY_S = 2.0
_API_RETRY_S = 0.2
_SEEN_RUNNING_S = 0.25
"""When the kubelet's event generator, which looks each second, notices a start and has readiness probed once more."""


class Role(Enum):
    """What a container is for its pod."""

    MAIN = "containers"
    INIT = "initContainers"
    SIDECAR = "initContainers, restartable"


class Container:
    """A container of a pod. `run` keeps it alive by the restart policy; `stop` ends it for good."""

    def __init__(self, place: Place, name: str, role: Role, publisher: Publisher, waiting: str) -> None:
        self.place = place
        self.name = name
        self.role = role
        self.state: State = Waiting(waiting)
        self.last: Terminated | None = None
        self.restarts = 0
        self.image_id = ""
        self.logs: list[Log] = []
        self.live: Instance | None = None
        self.on_unready: Callable[[], None] = lambda: None
        self._instance_id = ""
        self._oom = ""
        self._results: dict[Kind, bool] = {}
        self._publisher = publisher
        self._kill: asyncio.Future[str] | None = None
        self._changed = asyncio.Event()
        timings = place.host.settings.timings
        self._backoff = BackOff(timings.crash_loop_initial_s, timings.max_container_restart_period_s)

    # What others see

    @property
    def spec(self) -> Obj:
        """The container in the latest manifest: its image may be patched."""
        listed: list[Obj] = self.place.pod["spec"]["containers" if self.role is Role.MAIN else "initContainers"]
        return next(each for each in listed if each["name"] == self.name)

    @property
    def instance(self) -> str:
        return self._instance_id

    @property
    def started(self) -> bool:
        """Running, and past its startup probe."""
        return isinstance(self.state, Running) and (
            "startupProbe" not in self.spec or self._results.get(Kind.STARTUP, False)
        )

    @property
    def ready(self) -> bool:
        """Started and past its readiness probe; of an init container, done."""
        if self.role is Role.INIT:
            return isinstance(self.state, Terminated) and self.state.exit_code == 0
        return self.started and ("readinessProbe" not in self.spec or self._results.get(Kind.READINESS, False))

    @property
    def terminating(self) -> bool:
        return self.place.terminating

    @property
    def last_restart(self) -> bool:
        """Whether a terminated instance stays the last one."""
        return isinstance(self.state, Terminated) and not self._restartable(self.state.exit_code)

    async def changed(self) -> None:
        """Return at the next change of state or start-up."""
        await self._changed.wait()

    def _restartable(self, exit_code: int) -> bool:
        policy = "Always" if self.role is Role.SIDECAR else self.place.pod["spec"].get("restartPolicy", "Always")
        if self.role is Role.INIT:
            return bool(exit_code and policy != "Never")
        return bool(policy == "Always" or (policy == "OnFailure" and exit_code))

    def adopt(self, status: Obj) -> None:
        """Take over from an earlier life of this node: what ran then is gone."""
        if status.get("containerID"):
            self.restarts, self.image_id = int(status["restartCount"]), status.get("imageID", "")
            self.state, self._instance_id = recorded(status, time.time()), status["containerID"]

    def revive(self) -> None:
        """Have `run` start it once more, after an earlier life of this node."""
        if isinstance(self.state, Terminated):
            self.last, self.restarts, self.state = self.state, self.restarts + 1, Waiting("ContainerCreating")

    # Life

    async def run(self) -> None:
        """Start and restart until the restart policy says that it is over."""
        while not self.last_restart:
            before = self.last
            killed = await self._live(await pull(self.place, lambda: self.spec, self._show))
            assert isinstance(self.state, Terminated)
            over = self.state
            # What a probe had killed is restarted whatever its exit code, unless nothing ever is.
            if not self._restartable(over.exit_code or int(killed)):
                self._publisher.release(self)
                self._touch()
                return
            if killed and self._at_once(before):
                self.last, self.restarts = over, self.restarts + 1
                continue
            await self._wait_out(over)

    def _at_once(self, before: Terminated | None) -> bool:
        """Whether the successor of a killed instance starts in the same breath; counts it if so."""
        if before is None:
            return True
        if self._backoff.remaining_s(before.finished_at, time.time()) > 0:
            return False
        self._backoff.advance(before.finished_at, time.time())
        return True

    async def _wait_out(self, over: Terminated) -> None:
        self._publisher.release(self)
        self._touch()
        await self._publisher.flush()
        left = self._backoff.remaining_s(over.finished_at, time.time())
        self.last = over
        if left > 0:
            self._tell_back_off()
            self._touch()
            await asyncio.sleep(left)
        self._backoff.advance(over.finished_at, time.time())
        self.restarts += 1

    def _tell_back_off(self) -> None:
        pod = f"{self.place.name}_{self.place.namespace}({self.place.uid})"
        self.place.event(
            "Warning", "BackOff", f"Back-off restarting failed container {self.name} in pod {pod}", self._path
        )
        message = f"back-off {self._backoff.delay_s:g}s restarting failed container={self.name} pod={pod}"
        self.state = Waiting("CrashLoopBackOff", message)

    async def _live(self, image: Image) -> bool:
        """One instance from start to end. Whether a probe had it killed."""
        self.image_id = image.id
        self._kill = asyncio.get_running_loop().create_future()
        instance = await self._start(image)
        if instance is None:
            return False
        hook = asyncio.create_task(self._post_start(instance))
        memory = asyncio.create_task(self._outgrown(instance))
        try:
            either: list[asyncio.Future[Any]] = [instance.process.exited, self._kill, memory]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            killed = self._kill.done() and instance.process.alive()
            if killed:
                await self._carry_out(self._kill.result(), instance)
            await asyncio.shield(instance.process.exited)
        finally:
            hook.cancel()
            memory.cancel()
        await self._bury(instance)
        return killed

    async def _outgrown(self, instance: Instance) -> None:
        """Kill the instance once it uses more memory than its limit allows."""
        limit = ((self.spec.get("resources") or {}).get("limits") or {}).get("memory")
        if limit is None:
            await asyncio.shield(instance.process.exited)
            return
        await outgrown(instance.process.pid, int(parse_quantity(limit)))
        self._oom = instance.id
        instances.kill(instance)

    async def _carry_out(self, message: str, instance: Instance) -> None:
        # Nothing of this shows before the successor runs, as the kubelet is busy with it until then.
        self._publisher.hold(self)
        self.place.event("Normal", "Killing", message, self._path)
        probe = self.spec.get("livenessProbe" if Kind.LIVENESS in self._results else "startupProbe") or {}
        grace = Grace(float(probe.get("terminationGracePeriodSeconds", self.place.grace_s)))
        await stop(self.place, self.spec, instance, grace)

    async def _bury(self, instance: Instance) -> None:
        code, finished = instance.process.exited.result(), time.time()
        self.live = None
        message = farewell.message(self.spec, instance.setting.farewell, instance.log.path, code)
        oom = self._oom == instance.id
        self.state = ended(instance.id, code, instance.started_at, finished, message=message, outgrown=oom)
        await instances.clean_up(self.place, instance)

    async def _start(self, image: Image) -> Instance | None:
        """A started instance; None when its command could not be executed, which counts as an exit with 128."""
        instance = instances.new_id()
        setting = await self._configured(instance)
        log = self._next_log()
        self.place.event("Normal", "Created", "Container created", self._path)
        self._results = {}
        try:
            argv = instances.command(self.spec, image, setting, self.place)
            self.live = instances.start(self.place, self.spec, argv, setting, instance, log)
        except StartError as error:
            self._unstartable(instance, log, str(error))
            return None
        self._instance_id = instance
        self.state = Running(instance, self.live.process.pid, self.live.started_at)
        self.place.event("Normal", "Started", "Container started", self._path)
        self._publisher.release(self)
        self._touch()
        self.on_unready()
        asyncio.get_running_loop().call_later(_SEEN_RUNNING_S, self.on_unready)
        return self.live

    def _next_log(self) -> Log:
        """A log for the next instance. Only the one before is kept, and of that only the log."""
        for old in self.logs[:-1]:
            old.path.unlink(missing_ok=True)
        folder = self.place.folder / self.name
        shutil.rmtree(folder / str(self.restarts - 1), ignore_errors=True)
        log = Log(folder / f"{self.restarts}.log")
        self.logs = [*self.logs[-1:], log]
        return log

    def _unstartable(self, instance: str, log: Log, why: str) -> None:
        message = f'failed to start container "{self.name}": {why}'
        self.place.event("Warning", "Failed", f"Error: {message}", self._path)
        log.close()
        now = time.time()
        self._instance_id = instance
        self.state = Terminated(instance, 128, "StartError", now, now, message)
        self._publisher.release(self)

    async def _configured(self, instance: str) -> instances.Setting:
        while True:
            try:
                return await instances.configure(self.place, self.spec, self.restarts, instance)
            except ApiFailure:
                await asyncio.sleep(_API_RETRY_S)
                continue
            except (ConfigError, MountError, OSError) as error:
                self.place.event("Warning", "Failed", f"Error: {error}", self._path)
                await self._show(Waiting("CreateContainerConfigError", str(error)))
            await self.place.host.objects.changed(_CONFIG_RETRY_S)

    async def _post_start(self, instance: Instance) -> None:
        handler = (self.spec.get("lifecycle") or {}).get("postStart")
        if not handler:
            return
        try:
            await run_hook(self.place, self.spec, instance, handler)
        except HookFailed:
            self.place.event("Warning", "FailedPostStartHook", "PostStartHook failed", self._path)
            self.kill("FailedPostStartHook")

    async def stop(self, grace: Grace, after: Collection[asyncio.Future[Any]] = ()) -> None:
        """End it with its pod, its SIGTERM after the end of `after`. `run` must have been cancelled."""
        self._publisher.release(self)
        instance = self.live
        if instance is None:
            return
        self.place.event("Normal", "Killing", f"Stopping container {self.name}", self._path)
        await stop(self.place, self.spec, instance, grace, after)
        await self._bury(instance)

    # Probes

    async def attempt(self, probe: Obj) -> Attempt:
        """One attempt of a probe of this container. Raises ProbeError."""
        return await attempt(probe, self.spec, self.place.ip, self._execute)

    async def _execute(self, argv: tuple[str, ...], limit_s: float) -> tuple[int, bytes]:
        if self.live is None:
            return 1, b"container is not running"
        return await execution.execute(self.place.host, self.live, argv, limit_s)

    def complain(self, message: str) -> None:
        """Record one failing attempt."""
        self.place.event("Warning", "Unhealthy", message, self._path)

    def probed(self, kind: Kind, ok: bool, message: str) -> None:
        """A probe's result that counts."""
        if self._results.get(kind) is ok:
            return
        self._results[kind] = ok
        if kind is Kind.READINESS or ok:
            self._touch()
            self.on_unready()
            return
        ending = ", will be restarted" if self._restartable(1) else ""
        self.kill(f"Container {self.name} failed {kind.value.lower()} probe{ending}")

    def kill(self, message: str) -> None:
        """Have the running instance stopped, for the reason given."""
        if self._kill is not None and not self._kill.done():
            self._kill.set_result(message)

    # Telling

    @property
    def _path(self) -> str:
        path = field_path(self.spec)
        return path if self.role is Role.MAIN else path.replace("containers", "initContainers", 1)

    async def _show(self, state: Waiting) -> None:
        self.state = state
        self._publisher.release(self)
        self._touch()
        await self._publisher.flush()

    def _touch(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._publisher.dirty()
