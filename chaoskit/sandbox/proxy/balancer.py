"""The listening side of Services: one socket per frontend while it has endpoints, none while it has not.

A closed listener is what makes a Service without endpoints refuse connections, as a real one does. Connections made
outlive every change of their route. Knows nothing of the API: it is handed tables.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType

from chaoskit.sandbox.proxy.affinity import Affinity
from chaoskit.sandbox.proxy.relay import Front
from chaoskit.sandbox.proxy.routing import Address, Route

BACKLOG = 1024


class Listener:
    """One frontend that is open, with the route its new connections take."""

    __slots__ = ("route", "server")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.server: asyncio.Server | None = None


class Balancer:
    """All frontends of a cluster; an async context manager that ends every connection on the way out.

    `made` counts connections per endpoint. Each new connection goes to one chosen uniformly at random, unless session
    affinity keeps its client where it was. An endpoint that `is_cut` off refuses: its connections are reset.
    """

    def __init__(
        self, rng: random.Random | None = None, is_cut: Callable[[str], bool] = lambda _address: False
    ) -> None:
        self._is_cut = is_cut
        self.made: Counter[Address] = Counter()
        self._rng = random.Random() if rng is None else rng
        self._affinity = Affinity()
        self._listeners: dict[Address, Listener] = {}
        self._fronts: set[Front] = set()

    async def __aenter__(self) -> Balancer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for address in list(self._listeners):
            self._close(address)
        for front in list(self._fronts):
            front.abort()

    async def apply(self, table: Mapping[Address, Route]) -> dict[Address, str]:
        """Make the sockets say what the table says. Returns the frontends that could not be opened, with the reason."""
        self._affinity.forget_old()
        wanted = {address: route for address, route in table.items() if route.endpoints}
        for address in self._listeners.keys() - wanted.keys():
            self._close(address)
        failures = {}
        for address, route in wanted.items():
            listener = self._listeners.get(address)
            if listener is not None:
                listener.route = route
                continue
            try:
                self._listeners[address] = await self._open(address, route)
            except OSError as error:
                failures[address] = error.strerror or str(error)
        return failures

    def reset_cut(self) -> None:
        """End the connections to endpoints that are cut off by now."""
        for front in list(self._fronts):
            if front.target is not None and self._is_cut(front.target.host):
                front.abort()

    def listening(self) -> set[Address]:
        return set(self._listeners)

    async def _open(self, address: Address, route: Route) -> Listener:
        listener = Listener(route)
        listener.server = await asyncio.get_running_loop().create_server(
            lambda: self._front(listener), address.host, address.port, backlog=BACKLOG, reuse_address=True
        )
        return listener

    def _close(self, address: Address) -> None:
        listener = self._listeners.pop(address)
        # Connections accepted but not yet begun ask for an endpoint after this: they find none and are reset.
        listener.route = Route(
            listener.route.namespace, listener.route.service, listener.route.uid, listener.route.port, ()
        )
        if listener.server is not None:
            listener.server.close()

    def _front(self, listener: Listener) -> Front:
        front = Front(lambda client: self._pick(listener.route, client), self._fronts.discard)
        self._fronts.add(front)
        return front

    def _pick(self, route: Route, client: str) -> Address | None:
        """The endpoint of a new connection; `client` is its source address. None when there is none any more."""
        if not route.endpoints:
            return None
        kept = self._affinity.recall(route, client) if route.affinity_s else None
        chosen = self._rng.choice(route.endpoints) if kept is None else kept
        if route.affinity_s:
            self._affinity.keep(route, client, chosen)
        self.made[chosen] += 1
        return None if self._is_cut(chosen.host) else chosen
