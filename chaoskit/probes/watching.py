"""Several watches as one feed, pruned to the allow-list. Passes on what is seen, in the order it arrives; never judges and never relists itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from chaoskit.model.seams import Gap, Listed, Sight, View
from chaoskit.model.subject import pruned

Place = tuple[str, str]
"""A kind and a namespace, "" for one without."""


async def watched(view: View, feed: str, places: Sequence[Place]) -> AsyncGenerator[Sight, None]:
    """Watch every place side by side until closed; listed when all of them are. What a watch raises is raised here, and ends the others."""
    queue: asyncio.Queue[Sight | BaseException] = asyncio.Queue()
    unlisted = len(places)
    watches = [asyncio.create_task(_follow(view, place, queue)) for place in places]
    try:
        while True:
            heard = await queue.get()
            if isinstance(heard, BaseException):
                raise heard
            unlisted -= isinstance(heard, Listed)
            if unlisted and isinstance(heard, Listed):
                continue
            yield _told(heard, feed)
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


async def _follow(view: View, place: Place, queue: asyncio.Queue[Sight | BaseException]) -> None:
    try:
        # A watch is an async generator; closing it closes its connection now, not when it is collected.
        async with aclosing(cast("AsyncGenerator[Sight, None]", view.watch(*place))) as sights:
            async for heard in sights:
                queue.put_nowait(_with_kind(heard, place[0]))
    except Exception as error:  # noqa: BLE001 - handed to the consumer, which raises it
        queue.put_nowait(error)


def _with_kind(heard: Sight, kind: str) -> Sight:
    """List items carry no kind; a feed of several kinds needs it."""
    if isinstance(heard, Gap | Listed) or heard.obj.get("kind"):
        return heard
    return replace(heard, obj={"kind": kind, **heard.obj})


def _told(heard: Sight, feed: str) -> Sight:
    if isinstance(heard, Gap | Listed):
        return replace(heard, feed=feed)
    return replace(heard, feed=feed, obj=pruned(heard.obj))
