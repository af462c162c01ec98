"""Waiting that a cancellation cannot cut short: for requests that left, and for the undo. Knows nothing of either."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

V = TypeVar("V")


async def settled(work: Coroutine[Any, Any, V]) -> V:
    """The result of the work. A cancellation meanwhile waits for its end and is raised then; the work's own error goes first."""
    task = asyncio.ensure_future(work)
    postponed: asyncio.CancelledError | None = None
    while not task.done():
        try:
            # asyncio.wait, unlike a bare await, leaves the task alone when the waiter is cancelled.
            await asyncio.wait({task})
        except asyncio.CancelledError as cancelled:
            postponed = cancelled
    result = task.result()
    if postponed is not None:
        raise postponed
    return result
