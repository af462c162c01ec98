"""Trouble on order, for tests of clients: chosen calls are refused, cut off, left hanging; watch events come twice or not at all. Off unless launched with it.

Launched with CHAOSKIT_SANDBOX_TROUBLE=1 in the environment, the server takes rules by PUT /trouble.chaoskit.dev, a JSON list replacing the one before:
    {"method": "PATCH", "path": "<regular expression>", "kind": "<kind>", "skip": 0, "times": 1}
Kinds: a status ("409", "429", "503", ...); "reset-before" and "reset-after" the effect; "hang-before" and "hang-after"; for watches
"duplicate" and "drop", of which `times` counts the events. GET answers how often each rule was applied. Only a loopback client reaches this server.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

ENABLED: Final = os.environ.get("CHAOSKIT_SANDBOX_TROUBLE") == "1"
PATH: Final = "/trouble.chaoskit.dev"
HANG_S: Final = 60.0

_REASONS: Final = {
    401: "Unauthorized",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_Answer = Callable[[Any], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Rule:
    """Trouble for the calls that fit, after `skip` of them, `times` times. `applied` counts."""

    kind: str
    method: str = ""
    path: str = ""
    skip: int = 0
    times: int = 1
    applied: int = 0

    def fits(self, method: str, path: str) -> bool:
        return (not self.method or self.method == method) and re.search(self.path, path) is not None

    def take(self) -> bool:
        """Whether it is this rule's turn now."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.applied >= self.times:
            return False
        self.applied += 1
        return True


@dataclass(slots=True)
class _Rules:
    rules: list[Rule] = field(default_factory=list)


_ORDERED: Final = _Rules()
_MANGLED: ContextVar[Rule | None] = ContextVar("mangled", default=None)


async def through(request: web.BaseRequest, answer: _Answer) -> web.StreamResponse:
    """The answer to a request, unless trouble was ordered for it."""
    if not ENABLED:
        return await answer(request)
    if request.path == PATH:
        return await _ordered(request)
    for rule in _ORDERED.rules:
        if rule.fits(request.method, request.path):
            if rule.kind in ("duplicate", "drop"):
                if request.query.get("watch") in ("1", "true"):
                    _MANGLED.set(rule)
            elif rule.take():
                return await _troubled(rule.kind, request, answer)
    return await answer(request)


async def _ordered(request: web.BaseRequest) -> web.Response:
    if request.method == "PUT":
        _ORDERED.rules = [Rule(**rule) for rule in orjson.loads(await request.read())]
    return web.Response(body=orjson.dumps([rule.applied for rule in _ORDERED.rules]), content_type="application/json")


async def _troubled(kind: str, request: web.BaseRequest, answer: _Answer) -> web.StreamResponse:
    if kind.isdigit():
        return _refusal(int(kind))
    how, _, when = kind.partition("-")
    if when == "after":
        await answer(request)
    if how == "hang":
        await asyncio.sleep(HANG_S)
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("cut off, as ordered")


def _refusal(status: int) -> web.Response:
    told = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "trouble, as ordered",
        "reason": _REASONS.get(status, "InternalError"),
        "code": status,
    }
    headers = {"Retry-After": "1"} if status == 429 else {}
    return web.Response(status=status, body=orjson.dumps(told), content_type="application/json", headers=headers)


def _mangling(write: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """A write that repeats or swallows the lines of a watch that was ordered to be mangled. Bookmarks pass."""

    async def mangled(self: web.StreamResponse, data: bytes) -> None:
        rule = _MANGLED.get()
        if rule is None or b'"BOOKMARK"' in data or not rule.take():
            await write(self, data)
        elif rule.kind == "duplicate":
            await write(self, data)
            await write(self, data)

    return mangled


if ENABLED:
    web.StreamResponse.write = _mangling(web.StreamResponse.write)  # type: ignore[method-assign, assignment]  # only where trouble was asked for
