"""How a container instance is stopped: hook, SIGTERM, the rest of the grace period, SIGKILL. Sets no status, records only hooks' failures.

Source: pkg/kubelet/kuberuntime killContainer; the 2 s that even an exhausted grace period leaves are minimumGracePeriodInSeconds.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Collection
from typing import Any, TypeAlias

from chaoskit.sandbox.node.execution import execute
from chaoskit.sandbox.node.host import Place
from chaoskit.sandbox.node.http import Unanswered, fetch
from chaoskit.sandbox.node.instance import Instance
from chaoskit.sandbox.node.probes import ProbeError, http_request
from chaoskit.sandbox.node.processes import catches, send

Obj: TypeAlias = dict[str, Any]
_LEAST_S = 2.0


class Grace:
    """The time a pod has left to end; may only be shortened. Times are the loop's."""

    def __init__(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self.end = self._clock() + seconds
        self._shortened = asyncio.Event()

    def shorten(self, seconds: float) -> None:
        """A second DELETE, or a forced one."""
        end = self._clock() + seconds
        if end < self.end:
            self.end = end
            self._shortened.set()
            self._shortened = asyncio.Event()

    async def outlasts(self, work: Awaitable[Any], least_s: float = 0.0) -> bool:
        """Whether the work ends within the grace, or within `least_s` from now if that is longer. The work is left running otherwise."""
        task, least = asyncio.ensure_future(work), self._clock() + least_s
        while not task.done():
            left = max(self.end, least) - self._clock()
            if left <= 0:
                return False
            shortened = asyncio.ensure_future(self._shortened.wait())
            await asyncio.wait({task, shortened}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            shortened.cancel()
        return True


class HookFailed(Exception):
    """A lifecycle hook did not succeed."""


async def stop(
    place: Place, container: Obj, instance: Instance, grace: Grace, after: Collection[asyncio.Future[Any]] = ()
) -> None:
    """Stop the instance; returns when its first process is gone.

    Its hook begins at once; SIGTERM waits for the end of `after`, as long as there is grace (pkg/kubelet/kuberuntime, terminationOrdering).
    """
    await _pre_stop(place, container, instance, grace)
    if after:
        await grace.outlasts(asyncio.wait(after))
    process = instance.process
    # Process 1 of a container does not see a signal it does not handle.
    if process.alive() and catches(process.pid, signal.SIGTERM):
        send(process.pid, signal.SIGTERM)
    if not await grace.outlasts(asyncio.shield(process.exited), _LEAST_S):
        send(process.pid, signal.SIGKILL)
        await asyncio.shield(process.exited)


async def _pre_stop(place: Place, container: Obj, instance: Instance, grace: Grace) -> None:
    handler = (container.get("lifecycle") or {}).get("preStop")
    if not handler or not instance.process.alive():
        return
    hook = asyncio.create_task(run_hook(place, container, instance, handler))
    try:
        if not await grace.outlasts(_ended(hook, instance)):
            raise HookFailed("it did not end within the grace period")
        if hook.done():
            hook.result()
    except HookFailed:
        place.event("Warning", "FailedPreStopHook", "PreStopHook failed", field_path(container))
    finally:
        hook.cancel()


async def _ended(hook: asyncio.Task[None], instance: Instance) -> None:
    either: list[asyncio.Future[Any]] = [hook, instance.process.exited]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)


async def run_hook(place: Place, container: Obj, instance: Instance, handler: Obj) -> None:
    """Run a lifecycle handler to its end. Raises HookFailed."""
    match handler:
        case {"exec": action}:
            code, output = await execute(place.host, instance, tuple(action.get("command") or ()), 1e9)
            if code:
                raise HookFailed(f"exit code {code}: {output.decode(errors='replace')[:200]}")
        case {"sleep": action}:
            await asyncio.sleep(float(action["seconds"]))
        case {"httpGet": action}:
            try:
                await fetch(http_request(action, container, place.ip), 1e9)
            except (Unanswered, ProbeError) as error:
                raise HookFailed(str(error)) from error
        case _:
            raise HookFailed(f"{', '.join(handler)} is not implemented in the sandbox")


def field_path(container: Obj) -> str:
    """How events point at a container."""
    return f"spec.containers{{{container['name']}}}"
