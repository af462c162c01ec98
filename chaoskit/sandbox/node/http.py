"""One HTTP GET as the kubelet makes it for probes and hooks: a new connection, no certificate check, same-host redirects. Nothing else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urljoin, urlsplit

_BODY_BYTES = 10 * 1024
_HEAD_BYTES = 64 * 1024
_REDIRECTS = 10


class Unanswered(Exception):
    """No answer; the text is what Go's client would say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and the first 10 KiB of the body. `elsewhere` is the URL of a redirect to another host, not followed."""

    status: int
    body: bytes
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Fetch:
    """What to GET."""

    host: str
    port: int
    path: str = "/"
    scheme: str = "http"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


async def fetch(what: Fetch, timeout_s: float) -> Answer:
    """The answer, within `timeout_s` for everything together. Raises Unanswered."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _follow(what)
    except TimeoutError:
        late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        raise Unanswered(f'Get "{what.url}": {late}') from None


async def _follow(what: Fetch) -> Answer:
    for _ in range(_REDIRECTS):
        status, location, body = await _once(what)
        if not location or not 300 <= status < 400:
            return Answer(status, body)
        target = urlsplit(urljoin(what.url, location))
        if (target.hostname or what.host) != what.host:
            return Answer(status, body, target.geturl())
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        port = target.port or (443 if target.scheme == "https" else 80)
        what = Fetch(what.host, port, path, target.scheme, what.headers)
    raise Unanswered(f'Get "{what.url}": stopped after {_REDIRECTS} redirects')


async def _once(what: Fetch) -> tuple[int, str, bytes]:
    peer = f"{what.host}:{what.port}"
    try:
        reader, writer = await asyncio.open_connection(what.host, what.port, ssl=_tls(what.scheme), limit=_HEAD_BYTES)
    except ConnectionRefusedError:
        raise Unanswered(f'Get "{what.url}": dial tcp {peer}: connect: connection refused') from None
    except OSError as error:
        raise Unanswered(f'Get "{what.url}": dial tcp {peer}: {error.strerror or error}') from error
    try:
        writer.write(_request(what))
        return await _answer(reader)
    except (asyncio.IncompleteReadError, EOFError):
        raise Unanswered(f'Get "{what.url}": EOF') from None
    except ConnectionError:
        raise Unanswered(f'Get "{what.url}": read tcp {peer}: read: connection reset by peer') from None
    except (ValueError, asyncio.LimitOverrunError) as error:
        raise Unanswered(
            f'Get "{what.url}": net/http: HTTP/1.x transport connection broken: malformed HTTP response'
        ) from error
    finally:
        writer.close()
        with suppress(OSError):
            await asyncio.sleep(0)


def _request(what: Fetch) -> bytes:
    headers = {
        "Host": f"{what.host}:{what.port}",
        "User-Agent": "kube-probe/1.36",
        "Accept": "*/*",
        **what.headers,
        "Connection": "close",
    }
    lines = [f"GET {what.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, status = head[0].split(" ", 2)[:2]
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    return int(status), headers.get("location", ""), await _body(reader, headers)


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    # Read, not left: closing on unread data would reset the connection under the server.
    length = int(headers.get("content-length", _BODY_BYTES))
    body = b""
    while len(body) < min(length, _BODY_BYTES):
        chunk = await reader.read(min(length, _BODY_BYTES) - len(body))
        if not chunk:
            break
        body += chunk
    return body


@cache
def _tls(scheme: str) -> ssl.SSLContext | None:
    if scheme.lower() != "https":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
