"""Watches: changes as a stream of JSON lines, with bookmarks, selectors and 410. Reads the store; changes nothing.

Source: kubernetes.io, API Concepts, Efficient detection of changes; timings and shapes recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web

from chaoskit.sandbox.api.query import ListOptions
from chaoskit.sandbox.errors import ApiError, expired, failure
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.registry import Registry, matcher
from chaoskit.sandbox.store import Change, Expired, Obj, Subscription, Version

MAX_PENDING: Final = 10_000
"""A client that falls this many changes behind is cut off, and lists again."""
_LAST_BOOKMARK_S: Final = 1.3
_LOOK_FOR_HANGUP_S: Final = 1.0
_DEFAULT_TIMEOUT_S: Final = (1800.0, 3600.0)

Line = Callable[[str, Version], bytes]
"""How one event is encoded, from its type and the object's version."""


def plain_line(type_: str, version: Version) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (type_.encode(), version.encoded)


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which changes of a resource one watcher sees, and as what."""

    namespace: str
    holds: Callable[[Obj], bool]
    after: int

    def see(self, change: Change) -> tuple[str, Version] | None:
        if change.after.revision <= self.after:
            return None
        if self.namespace and change.obj["metadata"].get("namespace") != self.namespace:
            return None
        now = change.type != "DELETED" and self.holds(change.obj)
        before = change.before is not None and self.holds(change.before.obj)
        if now:
            return ("MODIFIED" if before else "ADDED"), change.after
        return ("DELETED", _last_seen(change)) if before else None


def _last_seen(change: Change) -> Version:
    """What a DELETED event shows: the last state that matched, at the revision of the change."""
    if change.type == "DELETED":
        return change.after
    assert change.before is not None
    metadata = change.before.obj["metadata"] | {"resourceVersion": str(change.after.revision)}
    return Version(change.before.obj | {"metadata": metadata}, change.after.revision, change.before.managed)


async def serve_watch(
    request: web.BaseRequest,
    registry: Registry,
    kind: Kind,
    namespace: str,
    options: ListOptions,
    line: Line = plain_line,
) -> web.StreamResponse:
    """Stream until the client hangs up or its timeout ends. Raises ApiError 400 or 422 before the stream begins."""
    holds = matcher(kind.plural, options.labels, options.fields)
    if options.initial_events and options.match != "NotOlderThan":
        raise _initial_events_refused()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    after = options.revision or 0
    try:
        fresh = options.revision in (None, 0) or options.initial_events
        subscription = registry.store.subscribe(
            [kind.plural], after=None if fresh else after, limit=MAX_PENDING, initial=False
        )
    except Expired:
        await response.prepare(request)
        await response.write(_too_old(kind, after, registry))
        return response
    watcher = _Watcher(request, response, registry, kind, _Filter(namespace, holds, 0 if fresh else after), line)
    initial = watcher.initial() if fresh else b""
    if options.initial_events:
        initial += watcher.bookmark(initial_end=True)
    with suppress(ConnectionResetError, ConnectionError):
        await response.prepare(request)
        await response.write(initial) if initial else None
        await watcher.follow(subscription, options)
        await response.write_eof()
    subscription.close()
    return response


class _Watcher:
    """One open stream."""

    def __init__(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        registry: Registry,
        kind: Kind,
        seen: _Filter,
        line: Line,
    ) -> None:
        self._request, self._response, self._registry, self._kind = request, response, registry, kind
        self._filter, self._line = seen, line

    def initial(self) -> bytes:
        """Synthetic ADDED events of all that exists."""
        versions = self._registry.store.items(self._kind.plural, self._filter.namespace)
        return b"".join([self._line("ADDED", version) for version in versions if self._filter.holds(version.obj)])

    def bookmark(self, *, initial_end: bool = False) -> bytes:
        metadata: Obj = {"resourceVersion": str(max(self._registry.store.revision, self._filter.after))}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        mark = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata}
        return orjson.dumps({"type": "BOOKMARK", "object": mark}) + b"\n"

    async def follow(self, subscription: Subscription, options: ListOptions) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        end = began + (options.timeout_s or random.uniform(*_DEFAULT_TIMEOUT_S))
        marks = self._bookmark_times(began, end) if options.bookmarks else []
        while not subscription.overflowed and not self._hung_up():
            now = loop.time()
            if marks and now >= marks[0]:
                marks.pop(0)
                await self._send(subscription.pending())
                await self._response.write(self.bookmark())
            if now >= end:
                return
            until = min(end, marks[0] if marks else end, now + _LOOK_FOR_HANGUP_S)
            await self._send(await _batch_until(subscription, until))

    def _bookmark_times(self, began: float, end: float) -> list[float]:
        period = self._registry.settings.timings.bookmark_period_s
        regular = [began + period * n for n in range(1, int((end - began) // period) + 1)]
        return sorted({*regular, max(began, end - _LAST_BOOKMARK_S)})

    async def _send(self, changes: Iterable[Change]) -> None:
        seen = [event for change in changes if (event := self._filter.see(change)) is not None]
        if seen:
            await self._response.write(b"".join([self._line(type_, version) for type_, version in seen]))

    def _hung_up(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()


async def _batch_until(subscription: Subscription, until: float) -> list[Change]:
    """What comes before a moment of the loop's clock; nothing when nothing does."""
    try:
        async with asyncio.timeout_at(until):
            return await subscription.batch()
    except TimeoutError:
        return []


def _too_old(kind: Kind, revision: int, registry: Registry) -> bytes:
    oldest = registry.store.oldest(kind.plural)
    status = expired(f"too old resource version: {revision} ({oldest})").status
    return orjson.dumps({"type": "ERROR", "object": status}) + b"\n"


def _initial_events_refused() -> ApiError:
    why = "sendInitialEvents: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
    return ApiError(failure(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {why}', {"kind": "ListOptions"}))
