"""Answers as bytes: objects, lists, errors and their headers. Encodes; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from chaoskit.sandbox.errors import ApiError
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.store import Obj, Version

JSON: Final = "application/json"
_HEADERS: Final = {"Cache-Control": "no-cache, private"}


def raw(
    body: bytes, status: int = 200, *, content_type: str = JSON, headers: Mapping[str, str] | None = None
) -> web.Response:
    """`content_type` goes out as it is, with its parameters."""
    return web.Response(body=body, status=status, headers={**_HEADERS, "Content-Type": content_type, **(headers or {})})


def text(body: str, status: int = 200) -> web.Response:
    return raw(body.encode(), status, content_type="text/plain; charset=utf-8")


def of(obj: Any, status: int = 200) -> web.Response:
    return raw(orjson.dumps(obj), status)


def of_version(version: Version, status: int = 200) -> web.Response:
    return raw(version.encoded, status)


def error(refusal: ApiError) -> web.Response:
    after = refusal.retry_after_s
    headers = {} if after is None else {"Retry-After": str(after)}
    return raw(orjson.dumps(refusal.status), refusal.code, headers=headers)


def success(obj: Obj, kind: Kind) -> web.Response:
    """The Status of a DELETE that left nothing."""
    details = {"name": obj["metadata"]["name"], "group": kind.group, "kind": kind.plural, "uid": obj["metadata"]["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return of(status | {"details": {key: value for key, value in details.items() if value}})


def of_list(kind: Kind, items: Iterable[bytes], metadata: Obj) -> web.Response:
    """A list of encoded objects; its items leave out kind and apiVersion, as a real server's do."""
    skip = len(kind.prefix)
    head = f'{{"kind":"{kind.kind}List","apiVersion":"{kind.api_version}","metadata":'.encode()
    body = b",".join([b"{" + item[skip:] for item in items])
    return raw(b"".join((head, orjson.dumps(metadata), b',"items":[', body, b"]}")))


def warnings_header(messages: Iterable[str]) -> list[str]:
    return [f'299 - "{message.translate(_QUOTED)}"' for message in messages]


_QUOTED: Final = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": " ", "\r": " "})
