"""Requests that left and are not answered yet. Tells whether one may still land; sends and undoes nothing.

A request is in doubt until it is answered or its time is over, also when whoever sent it was cancelled meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from chaoskit.model.operation import Exec, Operation
from chaoskit.model.seams import Reply

DOUBT_S = 5.0
"""A request whose answer was lost may still take effect for so long: the server gives up at 3 s."""

EXEC_DOUBT_S = 16.0
"""The same for a command in a container: 5 s to connect, 10 s to run."""


class Flight:
    """One request. Its task notes what became of it; None as its result: that cannot be known."""

    def __init__(self, op: Operation, work: Coroutine[Any, Any, Reply | None]) -> None:
        loop = asyncio.get_running_loop()
        self._doubt_s = EXEC_DOUBT_S if isinstance(op, Exec) else DOUBT_S
        self._sent_s = loop.time()
        self._task = asyncio.ensure_future(work)
        # Nobody may be left to ask for its error: it is not to be complained about then.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def answer(self) -> Reply | None:
        """What the request was answered. A cancelled caller leaves it to itself."""
        await asyncio.wait({self._task})
        return self._task.result()

    @property
    def in_doubt(self) -> bool:
        """Whether it may still land."""
        if not self._task.done():
            return True
        is_unknown = self._task.cancelled() or self._task.exception() is not None or self._task.result() is None
        return is_unknown and asyncio.get_running_loop().time() < self._sent_s + self._doubt_s

    async def over(self) -> None:
        """Wait until it can land no more."""
        loop = asyncio.get_running_loop()
        await asyncio.wait({self._task}, timeout=self._doubt_s)
        if not self._task.done():
            # It was still being composed, or is being read back. From here on it sends nothing more.
            self._task.cancel()
            await asyncio.wait({self._task})
            self._sent_s = loop.time()
        if self.in_doubt:
            await asyncio.sleep(self._sent_s + self._doubt_s - loop.time())


class Flights:
    """The requests of a run, by step."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def launch(self, id_: str, op: Operation, work: Coroutine[Any, Any, Reply | None]) -> Flight:
        """Send it off. A step has one request under way at a time."""
        self._flights[id_] = Flight(op, work)
        return self._flights[id_]

    def doubtful(self, id_: str) -> Flight | None:
        """The request of a step, if it may still land."""
        flight = self._flights.get(id_)
        return flight if flight is not None and flight.in_doubt else None
