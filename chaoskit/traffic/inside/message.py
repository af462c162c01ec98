"""Requests into the bytes that are sent. Pure; built once, before the traffic."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from chaoskit.traffic.plan import RequestKind, TrafficPlan, body_of

CHUNK_BYTES = 16_384
"""How much of a body goes into one chunk, where chunks are asked for."""
_WITH_BODY = ("POST", "PUT", "PATCH")


def message(plan: TrafficPlan, kind: RequestKind, policy: str) -> bytes:
    """The request as bytes; headers of the plan replace ours, those of the kind replace both."""
    body = body_of(kind)
    headers = {"Host": urlsplit(plan.url).netloc, "User-Agent": "chaoskit", "Accept": "*/*"}
    headers = _replaced(_replaced(_replaced(headers, _framing(kind, body)), plan.headers), kind.headers)
    headers = {name: value for name, value in headers.items() if name.lower() != "connection"}
    headers["Connection"] = "close" if policy == "fresh" else "keep-alive"
    path = urlsplit(plan.url).path.rstrip("/") + kind.path
    lines = [f"{kind.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + (_chunks(body) if kind.chunked else body)


def _framing(kind: RequestKind, body: bytes) -> dict[str, str]:
    if kind.chunked:
        return {"Transfer-Encoding": "chunked"}
    return {"Content-Length": str(len(body))} if body or kind.method in _WITH_BODY else {}


def _replaced(headers: dict[str, str], by: Mapping[str, str]) -> dict[str, str]:
    names = {name.lower() for name in by}
    return {name: value for name, value in headers.items() if name.lower() not in names} | dict(by)


def _chunks(body: bytes) -> bytes:
    parts = [body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
