"""SIGINT, SIGTERM and SIGHUP while a verb works: the first ends it in order, a second changes nothing. The only place where signals are handled."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from chaoskit.cli.talk import talk

HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Abortable(Protocol):
    """What a live run is to a signal."""

    def abort(self, reason: str) -> None: ...


class Signals:
    """What was heard. While there is a live run it is told to stop, before and after that the verb's task is cancelled."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.heard: signal.Signals | None = None
        self._task = task
        self._run: Abortable | None = None
        self._console = talk()

    def give(self, run: Abortable) -> None:
        """From now on this run is stopped, instead of the verb's task."""
        self._run = run
        if self.heard is not None:
            run.abort(self.heard.name)

    def release(self) -> None:
        """The run given before is over."""
        self._run = None

    def hear(self, number: signal.Signals) -> None:
        """Act first and talk then: when a terminal was closed there may be nobody to talk to."""
        if self.heard is not None:
            self._say("putting back and cleaning up is under way; a second signal does not stop it")
            return
        self.heard = number
        if self._run is None:
            self._task.cancel()
            self._say(f"{number.name}: stopping")
        else:
            self._run.abort(number.name)
            self._say(f"{number.name}: putting back")

    def _say(self, text: str) -> None:
        self._console.print(f"chaoskit: {text}", soft_wrap=True)

    def code(self, code: int) -> int:
        """The exit code: 128 and the signal's number when one was heard, unless something was not put back."""
        return code if self.heard is None or code == 4 else 128 + self.heard


def interruptible(work: Callable[[Signals], Coroutine[Any, Any, int]]) -> int:
    """Run a verb's work to its exit code; a signal ends it in order."""
    return asyncio.run(_listening(work))


async def _listening(work: Callable[[Signals], Coroutine[Any, Any, int]]) -> int:
    task = asyncio.current_task()
    assert task is not None
    signals, loop = Signals(task), asyncio.get_running_loop()
    for number in HEARD:
        loop.add_signal_handler(number, signals.hear, number)
    try:
        return signals.code(await work(signals))
    except asyncio.CancelledError:
        if signals.heard is None:
            raise
        return signals.code(0)
    finally:
        for number in HEARD:
            loop.remove_signal_handler(number)
            if signals.heard is not None:
                # What is left to do is to exit; an impatient second signal must not change the exit code.
                signal.signal(number, signal.SIG_IGN)
