"""The API server's process: store, controllers and HTTP in one loop. Announces when the cluster is usable; starts no process."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from typing import Any, Final

from aiohttp import web

from chaoskit.sandbox import bootstrap, events
from chaoskit.sandbox.api.admin import Switchboard
from chaoskit.sandbox.api.dispatch import MAX_BODY_BYTES, Dispatcher
from chaoskit.sandbox.api.gate import Gate
from chaoskit.sandbox.api.proxy import client_session
from chaoskit.sandbox.controllers import run_all
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.settings import ClusterSettings
from chaoskit.sandbox.store import Obj

_log = logging.getLogger(__name__)
_EXPIRE_EVENTS_EVERY_S: Final = 60.0


async def serve(
    settings: ClusterSettings, listener: socket.socket, tls: ssl.SSLContext | None, ready_fd: int, orders: socket.socket
) -> None:
    """Serve until cancelled. `ready_fd` is written to once every node is Ready; `orders` leads to the launcher."""
    registry = Registry(settings)
    bootstrap.furnish_cluster(registry)
    async with client_session() as session:
        server = web.Server(
            Dispatcher(registry, session, Gate(registry), Switchboard(orders)),
            request_factory=_request,
            access_log=None,
        )
        serving = await asyncio.get_running_loop().create_server(server, sock=listener, ssl=tls, backlog=1024)
        async with serving, asyncio.TaskGroup() as tasks:
            tasks.create_task(run_all(registry, settings))
            tasks.create_task(_expire_events(registry))
            tasks.create_task(_announce(registry, settings, ready_fd))


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES)


async def _announce(registry: Registry, settings: ClusterSettings, ready_fd: int) -> None:
    """Tell the launcher when all nodes are Ready."""
    ready: set[str] = set()
    subscription = registry.subscribe("nodes")
    while not ready >= set(settings.nodes):
        change = await anext(subscription)
        if _is_ready(change.obj):
            ready.add(change.obj["metadata"]["name"])
    subscription.close()
    os.write(ready_fd, b"ready\n")
    os.close(ready_fd)


def _is_ready(node: Obj) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


async def _expire_events(registry: Registry) -> None:
    while True:
        await asyncio.sleep(_EXPIRE_EVENTS_EVERY_S)
        if expired := events.expire(registry):
            _log.info("%d events reached the end of their time", expired)
