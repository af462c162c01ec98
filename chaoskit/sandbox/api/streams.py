"""Logs and exec: bytes between a client and the supervisor of the pod's node. Looks into none of them.

Frames of exec are those of v5.channel.k8s.io and pass through unchanged, all of them as binary ones.
Source: kubernetes.io, Access to the API, streaming; k8s.io/kubelet pkg/cri/streaming, restated.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    UnixConnector,
    WSMsgType,
    WSServerHandshakeError,
    web,
)
from yarl import URL

from chaoskit.sandbox import outages
from chaoskit.sandbox.api import answer
from chaoskit.sandbox.api.query import flag
from chaoskit.sandbox.api.route import Route
from chaoskit.sandbox.errors import ApiError, bad_request, failure, internal, not_found, not_implemented
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.sockets import socket_path
from chaoskit.sandbox.store import Obj

_LOG_OPTIONS: Final = frozenset(
    {"follow", "tailLines", "sinceSeconds", "sinceTime", "timestamps", "previous", "limitBytes"}
)
_PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_PIECE: Final = 64 * 1024
_LOOK_FOR_HANGUP_S: Final = 1.0


async def relay_log(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    """A container's output. Raises ApiError 400 or 404, or what the node answers."""
    pod = registry.get("pods", route.namespace, route.name)
    container = _container(pod, request.query.get("container", ""))
    if not pod["spec"].get("nodeName"):
        return answer.text("")
    url = _node_url("logs", pod, container).with_query(
        {key: value for key, value in request.query.items() if key in _LOG_OPTIONS}
    )
    async with _node_session(registry, pod) as session:
        try:
            answered = await session.get(url)
        except (ClientError, OSError) as error:
            raise _node_unreachable(pod, error) from error
        async with answered:
            if answered.status >= 400:
                raise _node_refusal(answered.status, await answered.text())
            return await _copy_log(request, answered)


async def _copy_log(request: web.BaseRequest, answered: ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    while (piece := await _piece(request, answered)) is not None:
        await response.write(piece)
    with suppress(ConnectionError):
        await response.write_eof()
    return response


async def _piece(request: web.BaseRequest, answered: ClientResponse) -> bytes | None:
    """The next bytes; None when there are no more, or nobody to read them."""
    reading = asyncio.ensure_future(answered.content.readany())
    try:
        while not reading.done():
            await asyncio.wait([reading], timeout=_LOOK_FOR_HANGUP_S)
            if request.transport is None or request.transport.is_closing():
                return None
        return reading.result() or None
    finally:
        reading.cancel()


async def relay_exec(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    """A command in a container over a websocket. Raises ApiError 400, 404, or what the node answers."""
    pod = registry.get("pods", route.namespace, route.name)
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise _upgrade_required(request)
    container = _container(pod, request.query.get("container", ""))
    command = request.query.getall("command", [])
    if not command:
        raise bad_request("you must specify at least 1 command for the container")
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {route.name} does not have a host assigned")
    streams = {name: str(flag(request.query, name)).lower() for name in ("stdin", "stdout", "stderr", "tty")}
    url = _node_url("exec", pod, container).with_query([*streams.items(), *(("command", word) for word in command)])
    async with _node_session(registry, pod) as session:
        try:
            node = await session.ws_connect(url, protocols=_PROTOCOLS, max_msg_size=0, autoping=True)
        except WSServerHandshakeError:
            raise await _exec_refusal(session, url) from None
        except (ClientError, OSError) as error:
            raise _node_unreachable(pod, error) from error
        async with node:
            client = web.WebSocketResponse(protocols=_PROTOCOLS, max_msg_size=0, compress=False)
            await client.prepare(request)
            await _join(client, node)
            return client


async def _join(client: web.WebSocketResponse, node: ClientWebSocketResponse) -> None:
    """Carry frames both ways until the node is done or the client hangs up."""
    upward = asyncio.create_task(_pump(client, node))
    downward = asyncio.create_task(_pump(node, client))
    try:
        await asyncio.wait([upward, downward], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (upward, downward):
            task.cancel()
        await asyncio.gather(upward, downward, return_exceptions=True)
        await node.close()
        await client.close()


async def _pump(
    source: web.WebSocketResponse | ClientWebSocketResponse, sink: web.WebSocketResponse | ClientWebSocketResponse
) -> None:
    with suppress(ConnectionError):
        async for message in source:
            if message.type is WSMsgType.BINARY:
                await sink.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:  # some clients send input as text
                await sink.send_bytes(message.data.encode())


def _upgrade_required(request: web.BaseRequest) -> ApiError:
    if "spdy" in request.headers.get("Upgrade", "").lower():
        return not_implemented("exec over SPDY; clients of today use websockets")
    return bad_request("Upgrade request required")


def _container(pod: Obj, given: str) -> str:
    """The container asked for, or the only one. Raises ApiError 400."""
    name = pod["metadata"]["name"]
    spec = pod["spec"]
    names = [container["name"] for container in (*spec.get("initContainers", ()), *spec["containers"])]
    if given:
        if given not in names:
            raise bad_request(f"container {given} is not valid for pod {name}")
        return given
    if len(names) > 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")
    return str(names[0])


def _node_session(registry: Registry, pod: Obj) -> ClientSession:
    if outages.holds(registry.settings.state_dir, pod["spec"]["nodeName"], outages.Outage.CUT):
        raise _node_unreachable(pod, ConnectionRefusedError("it is disconnected"))
    socket = registry.settings.state_dir / f"{pod['spec']['nodeName']}.sock"
    return ClientSession(connector=UnixConnector(path=socket_path(socket)), timeout=ClientTimeout(total=None))


def _node_url(what: str, pod: Obj, container: str) -> URL:
    metadata = pod["metadata"]
    return URL(f"http://node/{what}/{metadata['namespace']}/{metadata['name']}/{container}")


def _node_unreachable(pod: Obj, error: Exception) -> ApiError:
    node = pod["spec"]["nodeName"]
    return internal(f"the supervisor of {node} does not answer: {error}")


async def _exec_refusal(session: ClientSession, url: URL) -> ApiError:
    """Why the node does not begin. A refused handshake carries no text; the same request without one is answered with it."""
    async with session.get(url) as said:
        return _node_refusal(said.status, await said.text())


def _node_refusal(status: int, said: str) -> ApiError:
    """What a node said no with, as the API server passes it on."""
    if status == 404:
        return not_found(KINDS["pods"], said.strip())
    reason = {400: "BadRequest", 501: "NotImplemented"}.get(status, "InternalError")
    return ApiError(failure(status, reason, said.strip()))
