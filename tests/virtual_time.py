"""An event loop on virtual time: when nothing is left to do, the clock jumps to the next timer. For code without threads and sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

V = TypeVar("V")

START_S = 1000.0
"""Where the clock stands at the beginning; not zero, so that a missing time is seen."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only by jumps. A loop that would wait for ever is a deadlock, and says so."""

    def __init__(self) -> None:
        self.now_s = START_S
        super().__init__()

    def time(self) -> float:
        return self.now_s

    def _run_once(self) -> None:
        base: Any = self
        if not base._ready and not base._stopping:
            timers = [handle.when() for handle in base._scheduled if not handle.cancelled()]
            if not timers:
                raise RuntimeError("nothing will ever happen: every task waits and no timer is set")
            self.now_s = max(self.now_s, min(timers))
        super()._run_once()  # type: ignore[misc]  # the one place where the base loop can be told the time


def run_virtual(story: Coroutine[Any, Any, V], *, lasting_s: float | None = None) -> V:
    """Run to the end in virtual time. `lasting_s`: how long it must have taken, asserted to a microsecond."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(story)
        took_s = runner.get_loop().time() - START_S
    assert lasting_s is None or abs(took_s - lasting_s) < 1e-6, f"took {took_s} s of virtual time, not {lasting_s}"
    return result
