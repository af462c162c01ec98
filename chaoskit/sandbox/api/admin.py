"""The sandbox's own paths, /sandbox/v1/...: the nodes' power and cables, and what the cluster counts. Orders; carries out nothing.

Not Kubernetes: no kubectl asks here. Only the administrator's token opens it, whatever the API's own authorization says. The
launcher carries the orders out; this process must not fork.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
from typing import Any, Final

from aiohttp import web

from chaoskit.sandbox import notices
from chaoskit.sandbox.api import answer
from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.errors import ApiError, failure, forbidden, method_not_allowed
from chaoskit.sandbox.power import MESSAGE_BYTES
from chaoskit.sandbox.registry import Registry

PREFIX: Final = "/sandbox/v1"
_VERBS: Final = frozenset({"kill", "start", "freeze", "thaw", "disconnect", "reconnect"})
_ACTOR: Final = "sandbox-power"
_REASONS: Final = {404: "NotFound", 409: "Conflict", 422: "Invalid"}


class Switchboard:
    """The line to the launcher: one order at a time."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._free = asyncio.Lock()

    async def ask(self, verb: str, node: str = "") -> dict[str, Any]:
        """Give an order and wait until it is done. Raises ApiError with the launcher's refusal."""
        # Shielded: an answer that nobody waited for would be taken for that of the next order.
        return await asyncio.shield(self._ask(verb, node))

    async def _ask(self, verb: str, node: str) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        async with self._free:
            await loop.sock_sendall(self._channel, json.dumps({"do": verb, "node": node}).encode())
            said: dict[str, Any] = json.loads(await loop.sock_recv(self._channel, MESSAGE_BYTES))
        if "error" in said:
            raise ApiError(failure(said["code"], _REASONS.get(said["code"], "InternalError"), said["error"]))
        return said


async def serve_admin(request: web.BaseRequest, registry: Registry, switchboard: Switchboard) -> web.StreamResponse:
    """Raises ApiError 403 without the administrator's token, 404 for what there is not, 405, 409, 422."""
    _check_administrator(request, registry.settings.token)
    parts = request.path.removeprefix(PREFIX).strip("/").split("/")
    match request.method, parts:
        case "GET", ["status"]:
            return answer.of(await _status(registry, switchboard))
        case "GET", ["nodes"]:
            return answer.of(await switchboard.ask("list"))
        case "POST", ["nodes"]:
            return answer.of(await switchboard.ask("add"), 201)
        case "DELETE", ["nodes", name]:
            return answer.of(await _remove(registry, switchboard, name))
        case "POST", ["nodes", name, verb] if verb in _VERBS:
            return answer.of(await switchboard.ask(verb, name))
        case _, ["status" | "nodes", *_]:
            raise method_not_allowed()
    return answer.text("404 page not found\n", 404)


def _check_administrator(request: web.BaseRequest, token: str) -> None:
    _, _, given = request.headers.get("Authorization", "").partition(" ")
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise forbidden(None, "", f'only the administrator of the sandbox may use path "{request.path}"')


async def _status(registry: Registry, switchboard: Switchboard) -> dict[str, Any]:
    settings = registry.settings
    nodes = (await switchboard.ask("list"))["nodes"]
    counts = {"unsupported": dict(notices.tally.most_common()), "crashes": dict(crashes.most_common())}
    return {"profile": settings.profile, "simulatedPods": settings.simulated_pods, "nodes": nodes, **counts}


async def _remove(registry: Registry, switchboard: Switchboard, name: str) -> dict[str, Any]:
    """The machine goes first, then its Node, as when a cloud controller finds a machine gone; its pods are the cluster's to collect."""
    said = await switchboard.ask("remove", name)
    for resource, namespace in (("leases", "kube-node-lease"), ("nodes", "")):
        if registry.find(resource, namespace, name) is not None:
            registry.delete(resource, namespace, name, actor=_ACTOR)
    return said
