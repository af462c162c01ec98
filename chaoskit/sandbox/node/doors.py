"""The node's own HTTP server on a unix socket: logs and exec for the API server. Guarded by the folder's permissions alone.

A refusal is plain text: 404 names the pod that is not here, 400 says what is wrong; the API server makes a Status of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from aiohttp import web

from chaoskit.sandbox.node.container import Container
from chaoskit.sandbox.node.logs import Log, Query
from chaoskit.sandbox.node.pod import PodWorker
from chaoskit.sandbox.node.sessions import exec_session
from chaoskit.sandbox.node.states import Terminated, Waiting, parse_stamp
from chaoskit.sandbox.sockets import socket_path


class Directory(Protocol):
    """Finds the worker of a pod."""

    def find(self, namespace: str, name: str) -> PodWorker | None: ...


class Doors:
    """Serves while entered; an async context manager."""

    def __init__(self, path: Path, pods: Directory) -> None:
        self._path = path
        self._pods = pods
        app = web.Application()
        app.router.add_get("/logs/{ns}/{pod}/{container}", self._logs)
        app.router.add_get("/exec/{ns}/{pod}/{container}", self._exec)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)

    async def __aenter__(self) -> Doors:
        self._path.unlink(missing_ok=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, socket_path(self._path)).start()
        self._path.chmod(0o600)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()
        self._path.unlink(missing_ok=True)

    def _container(self, request: web.Request) -> Container:
        where = request.match_info
        worker = self._pods.find(where["ns"], where["pod"])
        if worker is None:
            raise web.HTTPNotFound(text=where["pod"])
        for container in worker.all:
            if container.name == where["container"]:
                return container
        raise _refusal(f"container {where['container']} is not valid for pod {where['pod']}")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        container, options = self._container(request), request.query
        try:
            query = parse_query(options, time.time())
        except ValueError as error:
            raise _refusal(f"invalid log option: {error}") from error
        log = _log_of(container, _flag(options, "previous"))
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        async for piece in log.read(query):
            await response.write(piece)
        await response.write_eof()
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        container, options = self._container(request), request.query
        instance = container.live
        if instance is None:
            raise _refusal(f"container {container.name} is not running in pod {container.place.name}")
        streams = {name: _flag(options, name) for name in ("stdin", "stdout", "stderr", "tty")}
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",), max_msg_size=0)
        await socket.prepare(request)
        await exec_session(socket, container.place.host, instance, tuple(options.getall("command", [])), streams)
        return socket


def parse_query(options: Mapping[str, str], now: float) -> Query:
    """PodLogOptions from query parameters. Raises ValueError."""
    since = parse_stamp(options["sinceTime"]) if options.get("sinceTime") else None
    if options.get("sinceSeconds"):
        since = now - float(options["sinceSeconds"])
    tail, limit = (int(options[key]) if options.get(key) else None for key in ("tailLines", "limitBytes"))
    if (tail is not None and tail < 0) or (limit is not None and limit < 1):
        raise ValueError("tailLines must be 0 or more and limitBytes 1 or more")
    return Query(_flag(options, "follow"), tail, since, _flag(options, "timestamps"), limit)


def _flag(options: Mapping[str, str], name: str) -> bool:
    return options.get(name, "").lower() in ("true", "1")


def _log_of(container: Container, previous: bool) -> Log:
    where = f'container "{container.name}" in pod "{container.place.name}"'
    if previous:
        ended = container.last is not None and len(container.logs) > (0 if isinstance(container.state, Waiting) else 1)
        if not ended:
            raise _refusal(f"previous terminated {where} not found")
        return container.logs[-1] if isinstance(container.state, Waiting) else container.logs[-2]
    if not container.logs:
        assert isinstance(container.state, Waiting | Terminated)
        reason = container.state.reason
        raise _refusal(f"{where} is waiting to start: {reason}")
    return container.logs[-1]


def _refusal(message: str) -> web.HTTPException:
    return web.HTTPBadRequest(text=message)
