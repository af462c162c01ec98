"""pods/proxy: one HTTP exchange with a pod, streamed both ways. Re-sends nothing, follows no redirect.

Source: kubernetes.io, Access Services Running on Clusters, Manually constructing apiserver proxy URLs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from chaoskit.sandbox import outages
from chaoskit.sandbox.api.route import Route
from chaoskit.sandbox.errors import ApiError, bad_request, failure, not_implemented, unavailable
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.store import Obj

_TARGET: Final = re.compile(r"^(?:(https?):)?([^:]+)(?::([^:]*))?$")
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "authorization",
        "content-length",
    }
)
_PIECE: Final = 64 * 1024


async def relay_http(
    request: web.BaseRequest, registry: Registry, route: Route, session: ClientSession
) -> web.StreamResponse:
    """Pass a request on to a pod and its answer back. Raises ApiError 400, 404, or 503 when the pod is not reached."""
    if request.headers.get("Upgrade"):
        raise not_implemented("upgrades through pods/proxy")
    url = _url(request, registry, route)
    if outages.is_cut(registry.settings.state_dir, str(url.host)):
        raise _unreachable(url, ConnectionRefusedError())
    body = await request.read() if request.can_read_body else None
    try:
        answered = await session.request(
            request.method, url, data=body, headers=_passed_on(request.headers), allow_redirects=False
        )
    except (ClientError, OSError, TimeoutError) as error:
        raise _unreachable(url, error) from error
    async with answered:
        response = web.StreamResponse(
            status=answered.status, reason=answered.reason, headers=_passed_on(answered.headers)
        )
        if answered.content_length is not None:
            response.content_length = answered.content_length
        await response.prepare(request)
        async for piece in answered.content.iter_chunked(_PIECE):
            await response.write(piece)
        await response.write_eof()
    return response


def client_session() -> ClientSession:
    """One connection per exchange: a pod that died is noticed, and nothing is ever sent twice."""
    connector = TCPConnector(force_close=True, limit=0)
    timeout = ClientTimeout(total=None, connect=10.0)
    return ClientSession(connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=DummyCookieJar())


def _url(request: web.BaseRequest, registry: Registry, route: Route) -> URL:
    found = _TARGET.match(route.name)
    if found is None:
        raise bad_request(f"invalid pod request {route.name!r}: expected [SCHEME:]NAME[:PORT]")
    scheme, name, port = found.groups()
    pod = registry.get("pods", route.namespace, name)
    address = pod.get("status", {}).get("podIP")
    if not address:
        raise ApiError(failure(503, "ServiceUnavailable", f"address not allowed: pod {name} has no address yet"))
    number = _port(pod, port)
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    return URL(f"{scheme or 'http'}://{address}:{number}/{route.rest}{query}", encoded=True)


def _port(pod: Obj, given: str | None) -> int:
    """The port asked for by number; without one the first that the pod declares, else 80."""
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    if not given:
        return int(ports[0]["containerPort"]) if ports else 80
    if given.isdigit():
        return int(given)
    # A real API server breaks off the connection over a name: it looks names up for Services only.
    raise bad_request(f"port {given!r} of pod {pod['metadata']['name']}: the proxy of pods takes a number")


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)


def _unreachable(url: URL, error: Exception) -> ApiError:
    cause = error.__cause__ or error
    if isinstance(cause, ConnectionRefusedError) or isinstance(error, ConnectionRefusedError):
        said = f"dial tcp {url.host}:{url.port}: connect: connection refused"
    elif isinstance(error, TimeoutError):
        said = f"dial tcp {url.host}:{url.port}: i/o timeout"
    else:
        said = "EOF" if "disconnected" in str(error).lower() else str(error)
    return unavailable(f"error trying to reach service: {said}")
