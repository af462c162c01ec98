"""A client of the API server for nodes and the Service proxy: requests and watches. Retries nothing itself: callers know what may be repeated."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

import aiohttp
import orjson

from chaoskit.sandbox.settings import ClusterSettings

Obj: TypeAlias = dict[str, Any]
_MERGE = "application/merge-patch+json"


class ApiFailure(Exception):
    """The API server refused (`code` is the HTTP status) or could not be reached (`code` 0)."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Listed:
    """Everything there is, at the start of a watch and after each gap."""

    items: tuple[Obj, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One watch event: ADDED, MODIFIED or DELETED."""

    type: str
    obj: Obj


class Client:
    """An authenticated session with the API server; an async context manager."""

    def __init__(self, settings: ClusterSettings, agent: str) -> None:
        self._server = settings.server
        self._tls = _tls(settings)
        self._headers = {"Authorization": f"Bearer {settings.token}", "User-Agent": agent, "Accept": "application/json"}

        self._offline = False
        self._waiting: set[asyncio.Timeout] = set()

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(self._server, connector=connector, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def disconnect(self) -> None:
        """As if the cable were pulled: what is under way is lost, and what comes fails until `reconnect`."""
        self._offline = True
        now = asyncio.get_running_loop().time()
        for line in self._waiting:
            if not line.expired():
                line.reschedule(now)

    def reconnect(self) -> None:
        """End `disconnect`; harmless without one."""
        self._offline = False

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[None]:
        """A wait for the API server. Raises TimeoutError when the cable is, or is meanwhile, pulled."""
        if self._offline:
            raise TimeoutError("this node is disconnected")
        async with asyncio.timeout(None) as line:
            self._waiting.add(line)
            try:
                yield
            finally:
                self._waiting.discard(line)

    async def get(self, path: str, **params: str) -> Obj:
        """GET an object or a list. Raises ApiFailure, as all requests here do."""
        return await self._request("GET", path, params)

    async def create(self, path: str, obj: Obj) -> Obj:
        """POST an object to its collection."""
        return await self._request("POST", path, {}, obj)

    async def merge(self, path: str, patch: Obj) -> Obj:
        """PATCH with a JSON merge patch."""
        return await self._request("PATCH", path, {}, patch, _MERGE)

    async def delete(self, path: str, options: Obj) -> Obj:
        """DELETE with DeleteOptions."""
        return await self._request("DELETE", path, {}, options)

    async def _request(
        self, verb: str, path: str, params: Mapping[str, str], body: Obj | None = None, kind: str = "application/json"
    ) -> Obj:
        data = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"Content-Type": kind}
        timeout = aiohttp.ClientTimeout(total=15)
        try:
            async with (
                self._line(),
                self._session.request(
                    verb, path, params=params, data=data, headers=headers, timeout=timeout
                ) as response,
            ):
                return _parsed(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiFailure(0, "Unreachable", f"{verb} {path}: {error or type(error).__name__}") from error

    async def follow(self, path: str, fields: str = "") -> AsyncIterator[Listed | Change]:
        """List, then watch, for ever: after a gap (end of stream, 410, lost server) it lists again."""
        selector = {"fieldSelector": fields} if fields else {}
        while True:
            try:
                listing = await self.get(path, **selector)
                yield Listed(tuple(listing["items"]))
                async for change in self._watch(path, selector, listing["metadata"]["resourceVersion"]):
                    yield change
            except ApiFailure:
                await asyncio.sleep(0.2)

    async def _watch(self, path: str, selector: Mapping[str, str], version: str) -> AsyncIterator[Change]:
        params = {**selector, "watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        # Bookmarks come each minute: a stream silent for longer has lost its server.
        timeout = aiohttp.ClientTimeout(total=None, sock_read=90)
        try:
            async with self._session.get(path, params=params, timeout=timeout) as response:
                if response.status != 200:
                    _parsed(response.status, await response.read())
                async for event in self._events(response):
                    if event["type"] == "ERROR":
                        return
                    if event["type"] != "BOOKMARK":
                        yield Change(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiFailure(0, "Unreachable", f"watch {path}: {error}") from error

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncIterator[Obj]:
        rest = b""
        while True:
            async with self._line():
                chunk = await response.content.readany()
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield orjson.loads(line)


def _parsed(code: int, body: bytes) -> Obj:
    try:
        obj = orjson.loads(body)
    except orjson.JSONDecodeError:
        obj = {"message": body.decode(errors="replace")[:200]}
    if code >= 400:
        raise ApiFailure(code, str(obj.get("reason", "")), str(obj.get("message", "")))
    if not isinstance(obj, dict):
        raise ApiFailure(code, "", "the server answered something that is no object")
    return obj


def _tls(settings: ClusterSettings) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=str(settings.ca_file)) if settings.server.startswith("https:") else True
