"""How far the server's wall clock is from ours, bounded by its Date headers. Asks; changes nothing."""

from __future__ import annotations

import asyncio
import time

from chaoskit.cluster.transport import Transport
from chaoskit.model.errors import CouldNotRun


async def clock_offset(transport: Transport, samples: int = 8, spread_s: float = 0.9) -> tuple[float, float]:
    """(offset, error) in seconds: the server's wall clock minus ours, from the Date headers of a few requests.

    Date is cut to whole seconds, so one request bounds the offset to a second; requests spread over a second cut that down.
    Raises CouldNotRun when the server sends no Date.
    """
    low, high = float("-inf"), float("inf")
    for number in range(samples):
        if number:
            await asyncio.sleep(spread_s / (samples - 1))
        sent = time.time()
        answer = await transport.glance("/version")
        arrived = time.time()
        if answer.date_s is None:
            raise CouldNotRun(f"{transport.access.server} sends no Date header: its clock cannot be compared with ours")
        low, high = max(low, answer.date_s - arrived), min(high, answer.date_s + 1 - sent)
    low, high = min(low, high), max(low, high)
    return (low + high) / 2, (high - low) / 2
