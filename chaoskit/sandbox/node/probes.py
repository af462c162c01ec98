"""One attempt of a probe, and the text of its failure as events show it. Decides nothing about thresholds or restarts.

Sources: pkg/probe/http, pkg/probe/tcp, pkg/kubelet/prober/prober.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from chaoskit.sandbox.node.http import Fetch, Unanswered, fetch

Obj: TypeAlias = dict[str, Any]
Execute: TypeAlias = Callable[[tuple[str, ...], float], Awaitable[tuple[int, bytes]]]
"""(argv, time limit) -> exit code and output. Raises TimeoutError past the limit."""


class ProbeError(Exception):
    """The attempt itself was not possible: neither success nor failure."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt found. `message` tells the failure, or the warning of a success."""

    ok: bool
    message: str = ""


async def attempt(probe: Obj, container: Obj, host: str, execute: Execute) -> Attempt:
    """Try once, within timeoutSeconds. Raises ProbeError when the probe cannot be carried out at all."""
    limit = float(probe.get("timeoutSeconds", 1))
    if "httpGet" in probe:
        return await _http(http_request(probe["httpGet"], container, host), limit)
    if "tcpSocket" in probe:
        spec = probe["tcpSocket"]
        return await _tcp(spec.get("host") or host, port_number(spec["port"], container), limit)
    if "exec" in probe:
        return await _exec(tuple(probe["exec"].get("command") or ()), limit, execute)
    raise ProbeError(
        "grpc probes are not implemented in the sandbox (501 NotImplemented): use httpGet, tcpSocket or exec"
    )


def http_request(spec: Obj, container: Obj, host: str) -> Fetch:
    """The request of an httpGet action. Raises ProbeError for a port name that no container port has."""
    path = spec.get("path") or "/"
    headers = {each["name"]: each["value"] for each in spec.get("httpHeaders") or ()}
    return Fetch(
        spec.get("host") or host,
        port_number(spec["port"], container),
        path if path.startswith("/") else f"/{path}",
        (spec.get("scheme") or "HTTP").lower(),
        headers,
    )


def port_number(port: int | str, container: Obj) -> int:
    """A port by number or by the name of a container port."""
    if isinstance(port, int):
        return port
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    if port.isdigit():
        return int(port)
    raise ProbeError(f"couldn't find port: {port!r} is not a containerPort's name")


async def _http(request: Fetch, limit: float) -> Attempt:
    try:
        answer = await fetch(request, limit)
    except Unanswered as error:
        return Attempt(False, str(error))
    if answer.elsewhere:
        return Attempt(True, f"Probe terminated redirects, Response body: {answer.body.decode(errors='replace')}")
    if 200 <= answer.status < 400:
        return Attempt(True)
    return Attempt(False, f"HTTP probe failed with statuscode: {answer.status}")


async def _tcp(host: str, port: int, limit: float) -> Attempt:
    try:
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Attempt(False, f"dial tcp {host}:{port}: i/o timeout")
    except ConnectionRefusedError:
        return Attempt(False, f"dial tcp {host}:{port}: connect: connection refused")
    except OSError as error:
        return Attempt(False, f"dial tcp {host}:{port}: {error.strerror or error}")
    writer.close()
    return Attempt(True)


async def _exec(argv: tuple[str, ...], limit: float, execute: Execute) -> Attempt:
    try:
        code, output = await execute(argv, limit)
    except TimeoutError:
        return Attempt(False, f'command timed out: "{" ".join(argv)}" timed out after {limit:g}s')
    return Attempt(code == 0, output.decode(errors="replace")[: 10 * 1024])
