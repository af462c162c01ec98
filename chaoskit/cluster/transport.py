"""JSON over HTTP to the API server. Reads may be tried again; what changes anything is sent once. Knows paths and bodies, no kinds.

Two clients: what looks keeps connections, watches included; what acts opens one for each request, so that an undo neither waits for a
connection nor meets a stale one, and a failure to connect means that nothing was sent.
"""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import tenacity

from chaoskit.cluster.access import Access
from chaoskit.model.errors import AnswerLost, ClusterError, NotFound
from chaoskit.model.resource import Json, Obj
from chaoskit.model.seams import Reply

CONNECT_S = 3.0
LOOK_S = 5.0
"""How long one attempt of a read may take, in seconds."""
LOOK_AGAIN_S = 15.0
"""How long a read that meets a failing server is tried again, in seconds."""
FIRST_LOOK_S = 2.0
"""How long a server that has not answered yet is asked again, in seconds."""

ACT_S = 5.0
"""How long the answer to a mutating request is waited for. From its sending on it is in doubt for just as long: the server gives up at 3 s."""

MANAGER = "chaoskit"
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
_TRY_AGAIN = frozenset({0, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from a read: the body and when the server says it was."""

    status: int
    body: Json
    date_s: float | None = None


@dataclass(frozen=True, slots=True)
class Transport:
    """An open way to one API server."""

    access: Access
    looking: httpx.AsyncClient
    acting: httpx.AsyncClient
    doubts: dict[str, float] = field(default_factory=dict)
    """By mark: until when, on the loop's clock, a request whose answer was lost may still take effect."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server has answered at all: one that never did is more likely mistyped than restarting."""

    async def read(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """GET a JSON body; tried again for up to 15 s, or 2 s if the server never answered yet. Raises NotFound, or ClusterError with the server's words."""
        return (await self._again("GET", path, params)).body

    async def ask(self, path: str, body: Obj) -> Any:
        """POST a question that changes nothing (an access review); tried again like a read."""
        return (await self._again("POST", path, None, body)).body

    async def glance(self, path: str) -> Answer:
        """GET once, whatever the status; for answers that are themselves the fact looked for. Raises ClusterError when there is none."""
        response = await self._looked("GET", path, None, None)
        return Answer(response.status_code, _parsed(response), _date(response))

    async def _again(self, method: str, path: str, params: Mapping[str, str] | None, body: Obj | None = None) -> Answer:
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, ClusterError) and e.status in _TRY_AGAIN),
            wait=tenacity.wait_random_exponential(0.1, max=2),
            stop=tenacity.stop_after_delay(LOOK_AGAIN_S if self.heard.is_set() else FIRST_LOOK_S),
            reraise=True,
        ):
            with attempt:
                response = await self._looked(method, path, params, body)
                if response.status_code == 401:
                    self.access.refused()
                    response = await self._looked(method, path, params, body)
                if not response.is_success:
                    raise error_of(response.status_code, _parsed(response), f"{method} {path}")
                return Answer(response.status_code, _parsed(response), _date(response))
        raise AssertionError("tenacity ends with a value or an error")

    async def _looked(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Obj | None
    ) -> httpx.Response:
        headers = await self.access.headers()
        try:
            async with asyncio.timeout(LOOK_S):
                response = await self.looking.request(
                    method, path, params=params, headers=headers, json=body, extensions=self._extensions()
                )
        except TimeoutError as error:
            raise ClusterError(f"{method} {path}: no answer from {self.access.server} within {LOOK_S:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        self.heard.set()
        return response

    async def act(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one mutating request, once. Raises AnswerLost when it may have been carried out, ClusterError when it was not sent."""
        headers = {**await self.access.headers(), **({"Content-Type": content_type} if body else {})}
        try:
            async with asyncio.timeout(ACT_S):
                response = await self.acting.request(
                    method, path, params=params, headers=headers, content=body or None, extensions=self._extensions()
                )
        except _NOT_SENT as error:
            raise self._unreachable(error) from error
        except TimeoutError as error:
            raise AnswerLost(f"{method} {path}: no answer within {ACT_S:g} s") from error
        except httpx.HTTPError as error:
            raise AnswerLost(f"{method} {path}: the answer was lost: {_words(error)}") from error
        if response.status_code == 401:
            self.access.refused()
        return _reply(response)

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str], silence_s: float) -> AsyncIterator[httpx.Response]:
        """A GET whose body is read as it comes; httpx.ReadTimeout after so many seconds of silence. Raises ClusterError for a refusal."""
        headers = await self.access.headers()
        limits = httpx.Timeout(CONNECT_S, read=silence_s)
        async with self.looking.stream(
            "GET", path, params=params, headers=headers, timeout=limits, extensions=self._extensions()
        ) as response:
            if not response.is_success:
                if response.status_code == 401:
                    self.access.refused()
                await response.aread()
                raise error_of(response.status_code, _parsed(response), f"watch {path}")
            yield response

    def _extensions(self) -> dict[str, Any]:
        return {"sni_hostname": self.access.server_name} if self.access.server_name else {}

    def _unreachable(self, error: Exception) -> ClusterError:
        return ClusterError(
            f"the API server {self.access.server} of context {self.access.context!r} cannot be reached: {_words(error)}"
        )


@asynccontextmanager
async def opened(access: Access) -> AsyncIterator[Transport]:
    """Both clients, open; closing them ends whatever still runs over them."""
    kept = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    single = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with _client(access, kept, LOOK_S) as looking, _client(access, single, ACT_S) as acting:
        yield Transport(access, looking, acting)


def _client(access: Access, limits: httpx.Limits, patience_s: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=access.server,
        verify=access.verify,
        proxy=access.proxy,
        trust_env=not access.on_this_machine,
        limits=limits,
        timeout=httpx.Timeout(patience_s, connect=CONNECT_S),
        headers={"User-Agent": MANAGER, "Accept": "application/json"},
    )


def error_of(status: int, body: Json, asked: str) -> ClusterError:
    """A refusal as an error that carries the server's own words."""
    told = body if isinstance(body, Mapping) else {}
    what = told.get("message") or f"{asked} was answered {status}"
    return NotFound(str(what)) if status == 404 else ClusterError(str(what), status, str(told.get("reason") or ""))


def _reply(response: httpx.Response) -> Reply:
    body = _parsed(response)
    told: Obj = body if isinstance(body, Mapping) else {"message": response.text[:500]}
    after = str(response.headers.get("Retry-After") or (told.get("details") or {}).get("retryAfterSeconds") or "")
    return Reply(response.status_code, told, float(after) if after.isdigit() else None)


def _parsed(response: httpx.Response) -> Json:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return response.text


def _date(response: httpx.Response) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return None


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
