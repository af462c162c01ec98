"""Blocking work in a daemon thread of its own: a hung credential plugin or exec neither starves other work nor keeps the process alive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

V = TypeVar("V")


async def in_thread(work: Callable[[], V]) -> V:
    """The result of the work, or its error. A cancelled caller leaves the thread to end by itself; its result is dropped."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[V] = loop.create_future()

    def deliver(value: V | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)  # type: ignore[arg-type]  # V may itself be optional

    def body() -> None:
        value: V | None = None
        error: BaseException | None = None
        try:
            value = work()
        except BaseException as caught:  # noqa: BLE001  # a thread's border: whoever waits must hear of it
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, value, error)

    threading.Thread(target=body, name=f"chaoskit-{getattr(work, '__name__', 'work')}", daemon=True).start()
    return await answer
