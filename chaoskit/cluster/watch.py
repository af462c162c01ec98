"""List, then watch, for ever. What can go wrong with a watch is handled here, once: it becomes a Gap and the differences found after it. Judges nothing.

A clean end (the server's own time limit) goes on at the last resourceVersion: nothing was missed. Anything else (410, an ERROR event, a
broken connection, silence) lists anew. A re-list yields the Gap first, then LISTED for what is new or changed and DELETED for what is not
there any more. Source: kubernetes.io, API Concepts, Efficient detection of changes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import httpx
import orjson

from chaoskit.cluster.address import api_version, collection
from chaoskit.cluster.transport import Transport
from chaoskit.model.errors import ClusterError
from chaoskit.model.resource import Obj, resource_of
from chaoskit.model.seams import Gap, Listed, Seen, Sight

PAGE = 500
SILENCE_S = 20.0
"""A stream that says nothing for so long is taken for dead, in seconds."""
ROUND_S = 15
"""How long one watch is asked for: a bookmark comes a second or so before its end, so a healthy stream is never silent for 20 s."""
LONGEST_PAUSE_S = 5.0
TOLD_EVERY_S = 1.0
SHORTEST_S = 1.0
"""A stream that ends sooner without a word is asked for again only after a pause."""


class Deaf(Exception):
    """The stream cannot go on from where it was."""


@dataclass(slots=True)
class _Place:
    """How far one watch has heard: the objects known, the resourceVersion, and when something was last heard."""

    kind: str
    feed: str
    now_ns: Callable[[], int]
    known: dict[str, Obj] = field(default_factory=dict)
    version: str = ""
    heard_ns: int = 0
    troubles: int = 0
    """Troubles in a row, with nothing heard between them."""


async def listed(
    transport: Transport, kind: str, namespace: str = "", labels: str = "", fields: str = ""
) -> tuple[list[Obj], str]:
    """All objects, page by page, each with kind and apiVersion, and the list's resourceVersion. Raises ClusterError."""
    path, at = collection(kind, namespace), resource_of(kind)
    asked = {"limit": str(PAGE), **_selectors(labels, fields)}
    found: list[Obj] = []
    token = ""
    while True:
        try:
            page = await transport.read(path, asked | ({"continue": token} if token else {}))
        except ClusterError as error:
            if error.status != 410 or not token:
                raise
            found, token = [], ""
            continue
        found += [{"apiVersion": api_version(at), "kind": kind, **item} for item in page.get("items") or ()]
        token = page["metadata"].get("continue") or ""
        if not token:
            return found, page["metadata"]["resourceVersion"]


async def watch(
    transport: Transport,
    kind: str,
    namespace: str = "",
    *,
    labels: str = "",
    now_ns: Callable[[], int] = time.monotonic_ns,
    silence_s: float = SILENCE_S,
) -> AsyncGenerator[Sight, None]:
    """What is there (LISTED), that this was all, then every change, stamped on arrival; a Gap wherever it was deaf. Never ends by itself.

    `feed` is the plural of the kind.

    Raises ClusterError only when the very first list is refused: a watch that never began has nothing to be deaf to.
    """
    place = _Place(kind, resource_of(kind).plural, now_ns)
    for seen in await _relisted(transport, place, namespace, labels):
        yield seen
    yield Listed(place.heard_ns, place.feed)
    while True:
        try:
            async with aclosing(_streamed(transport, place, namespace, labels, silence_s)) as stream:
                async for seen in stream:
                    yield seen
            continue
        except (Deaf, ClusterError, httpx.HTTPError) as error:
            because = _words(error)
        async with aclosing(_recovered(transport, place, namespace, labels, because)) as told:
            async for found in told:
                yield found


async def _recovered(
    transport: Transport, place: _Place, namespace: str, labels: str, because: str
) -> AsyncGenerator[Seen | Gap, None]:
    """The deaf stretch, told anew each second while it lasts, so that a run that ends meanwhile knows of it; then what changed in it."""
    since = place.heard_ns
    listing = asyncio.create_task(_relisted_at_last(transport, place, namespace, labels))
    try:
        while not (await asyncio.wait({listing}, timeout=TOLD_EVERY_S))[0]:
            yield Gap(since, place.now_ns(), place.feed, f"{because}; not yet heard again")
        changes = listing.result()
        yield Gap(since, place.heard_ns, place.feed, because)
        for seen in changes:
            yield seen
    finally:
        listing.cancel()
        await asyncio.wait({listing})


async def _relisted_at_last(transport: Transport, place: _Place, namespace: str, labels: str) -> list[Seen]:
    while True:
        await asyncio.sleep(_pause_s(place.troubles))
        place.troubles += 1
        try:
            return await _relisted(transport, place, namespace, labels)
        except ClusterError:
            continue


def _pause_s(troubles: int) -> float:
    """None before the first attempt, then doubling with jitter."""
    return 0.0 if troubles == 0 else min(LONGEST_PAUSE_S, 0.1 * 2.0 ** min(troubles, 10)) * random.uniform(0.5, 1.0)


async def _relisted(transport: Transport, place: _Place, namespace: str, labels: str) -> list[Seen]:
    """List, take it as the truth, and tell the differences to what was known."""
    objects, place.version = await listed(transport, place.kind, namespace, labels)
    place.heard_ns = place.now_ns()
    now = {obj["metadata"]["uid"]: obj for obj in objects}
    gone = [obj for uid, obj in place.known.items() if uid not in now]
    new = [obj for uid, obj in now.items() if _version(place.known.get(uid)) != _version(obj)]
    place.known = now
    return [Seen(place.heard_ns, place.feed, "DELETED", obj) for obj in gone] + [
        Seen(place.heard_ns, place.feed, "LISTED", obj) for obj in new
    ]


def _version(obj: Obj | None) -> str:
    return "" if obj is None else str(obj["metadata"].get("resourceVersion", ""))


async def _streamed(
    transport: Transport, place: _Place, namespace: str, labels: str, silence_s: float
) -> AsyncGenerator[Seen, None]:
    """One watch request; returns at its clean end. Raises Deaf, ClusterError or httpx.HTTPError when it cannot go on."""
    asked = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": place.version,
        "timeoutSeconds": str(ROUND_S),
        **_selectors(labels, ""),
    }
    began, heard = asyncio.get_running_loop().time(), False
    async with transport.stream(collection(place.kind, namespace), asked, silence_s) as response:
        place.heard_ns = place.now_ns()
        rest = b""
        async for chunk in response.aiter_bytes():
            place.heard_ns = place.now_ns()
            *lines, rest = (rest + chunk).split(b"\n")
            for seen in (seen for line in lines if line for seen in _understood(line, place)):
                yield seen
            heard, place.troubles = True, 0
    if rest.strip():
        raise Deaf("the stream ended in the middle of a line")
    if not heard and asyncio.get_running_loop().time() - began < SHORTEST_S:
        raise Deaf("the stream ended at once, without a word")
    place.heard_ns = place.now_ns()


def _understood(line: bytes, place: _Place) -> Iterator[Seen]:
    try:
        event = orjson.loads(line)
        obj, type_ = event["object"], event["type"]
        if type_ == "ERROR":
            raise Deaf(f"{obj.get('message') or 'the server reported an error'} ({obj.get('code', '?')})")
        place.version = obj["metadata"]["resourceVersion"]
    except (ValueError, KeyError, TypeError):
        raise Deaf("a line of the stream is not an event") from None
    if type_ not in ("ADDED", "MODIFIED", "DELETED"):
        return
    if type_ == "DELETED":
        place.known.pop(obj["metadata"]["uid"], None)
    else:
        place.known[obj["metadata"]["uid"]] = obj
    yield Seen(place.heard_ns, place.feed, type_, obj)


def _selectors(labels: str, fields: str) -> Mapping[str, str]:
    return {key: text for key, text in (("labelSelector", labels), ("fieldSelector", fields)) if text}


def _words(error: Exception) -> str:
    if isinstance(error, httpx.ReadTimeout):
        return "nothing was heard for too long"
    return str(error) or type(error).__name__
