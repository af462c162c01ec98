"""One probe of one container through the life of its pod, with the kubelet's worker rules (pkg/kubelet/prober/worker.go).

Ticks come each periodSeconds from the pod's start, not from the container's; a slow attempt swallows ticks but one. A result
counts only after failureThreshold or successThreshold equal attempts in a row. After a failed liveness or startup probe the worker
rests until it sees a new instance. Not copied: the random pause of a kubelet that has just been started.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Protocol, TypeAlias

from chaoskit.sandbox.node.probes import Attempt, ProbeError
from chaoskit.sandbox.node.states import Running, State, Terminated

Obj: TypeAlias = dict[str, Any]


class Kind(Enum):
    """Which probe; the value is its word in events."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


class Watched(Protocol):
    """What a worker needs to see of its container."""

    @property
    def instance(self) -> str: ...  # id of the latest instance, "" before the first
    @property
    def state(self) -> State: ...
    @property
    def started(self) -> bool: ...
    @property
    def last_restart(self) -> bool: ...  # a terminated container will not be started again
    @property
    def terminating(self) -> bool: ...  # its pod is being deleted
    def probed(self, kind: Kind, ok: bool, message: str) -> None: ...  # a result that counts


class Prober:
    """The worker. `attempt` tries once; `complain` records the failure of one attempt."""

    def __init__(
        self,
        kind: Kind,
        spec: Obj,
        container: Watched,
        attempt: Callable[[], Awaitable[Attempt]],
        complain: Callable[[str], None],
    ) -> None:
        self.kind = kind
        self._spec = spec
        self._container = container
        self._attempt = attempt
        self._complain = complain
        self._instance = ""
        self._resting = False
        self._last: bool | None = None
        self._run = 0
        self._wanted = asyncio.Event()

    def trigger(self) -> None:
        """Attempt now, outside the ticks."""
        self._wanted.set()

    async def run(self) -> None:
        """Work until the container cannot need it any more."""
        clock = asyncio.get_running_loop().time
        period, began, consumed = float(self._spec.get("periodSeconds", 10)), clock(), 0
        while await self._look():
            passed = math.floor((clock() - began) / period)
            if passed > consumed:
                consumed = passed  # a tick came during the attempt: its successor follows at once
            elif not await self._triggered(began + (consumed + 1) * period - clock()):
                consumed += 1

    async def _triggered(self, within_s: float) -> bool:
        if not self._wanted.is_set():
            try:
                async with asyncio.timeout(within_s):
                    await self._wanted.wait()
            except TimeoutError:
                return False
        self._wanted.clear()
        return True

    async def _look(self) -> bool:
        """One round; False ends the worker."""
        seen = self._container
        if seen.instance != self._instance:
            self._instance, self._resting = seen.instance, False
        if not self._instance or self._resting:
            return True
        state = seen.state
        if not isinstance(state, Running):
            return not (isinstance(state, Terminated) and seen.last_restart)
        if seen.terminating and self.kind is not Kind.READINESS:
            return False
        # Whole seconds of the published start time, as the kubelet computes it.
        if int(time.time() - int(state.started_at)) < self._spec.get("initialDelaySeconds", 0):
            return True
        if seen.started == (self.kind is Kind.STARTUP):
            return True
        await self._try()
        return True

    async def _try(self) -> None:
        instance = self._instance
        try:
            found = await self._attempt()
        except ProbeError as error:
            self._complain(f"{self.kind.value} probe errored and resulted in unknown state: {error}")
            return
        if not found.ok:
            self._complain(f"{self.kind.value} probe failed: {found.message}")
        if self._container.instance != instance:
            return  # it was another instance's attempt
        self._count(found)

    def _count(self, found: Attempt) -> None:
        self._run = self._run + 1 if found.ok is self._last else 1
        self._last = found.ok
        threshold = self._spec.get("successThreshold", 1) if found.ok else self._spec.get("failureThreshold", 3)
        if self._run < threshold:
            return
        self._container.probed(self.kind, found.ok, found.message)
        if not found.ok and self.kind is not Kind.READINESS:
            self._resting, self._run = True, 0
