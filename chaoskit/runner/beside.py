"""Two generators as one: the traffic of the run, and the same traffic to a control that is not faulted. Starts and stops both; looks at one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from chaoskit.model.requests import Requests
from chaoskit.model.resource import Json
from chaoskit.runner.run import Generator, Health


class Beside:
    """The run's generator, with a control's running beside it. What the control does is read from its own log when the run is judged."""

    def __init__(self, traffic: Generator, control: Generator) -> None:
        self._traffic = traffic
        self._control = control

    @property
    def health(self) -> Health:
        return self._traffic.health

    @property
    def facts(self) -> Mapping[str, Json]:
        return self._traffic.facts

    async def start(self, t0_ns: int | None = None) -> None:
        await asyncio.gather(self._traffic.start(t0_ns), self._control.start(t0_ns))

    def new_requests(self) -> Requests:
        self._control.new_requests()  # read, so that they do not pile up
        return self._traffic.new_requests()

    async def stop(self) -> object:
        stopped, _ = await asyncio.gather(self._traffic.stop(), self._control.stop())
        return stopped
