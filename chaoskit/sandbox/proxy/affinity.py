"""Session affinity by client address: which endpoint a client had last. Chooses nothing; opens no socket.

Rules: kubernetes.io, Virtual IPs and Service Proxies, "Session affinity"; as recorded, the time limit slides with each
connection, and a client that was moved because its endpoint left does not move back.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chaoskit.sandbox.proxy.routing import Address, Route

Client = tuple[str, str, str, str]


class Affinity:
    """The memory of one proxy: per Service port and client address the endpoint and the time it was last used."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._last: dict[Client, tuple[Address, float]] = {}

    def recall(self, route: Route, client: str) -> Address | None:
        """The client's endpoint, while its time has not run out and the endpoint is still used."""
        endpoint, until_s = self._last.get(_key(route, client), (None, 0.0))
        return endpoint if endpoint in route.endpoints and self._clock_s() < until_s else None

    def keep(self, route: Route, client: str, endpoint: Address) -> None:
        self._last[_key(route, client)] = (endpoint, self._clock_s() + route.affinity_s)

    def forget_old(self) -> None:
        """Drop what has run out; called now and then, so that clients that never return cost nothing."""
        now_s = self._clock_s()
        self._last = {key: kept for key, kept in self._last.items() if kept[1] > now_s}


def _key(route: Route, client: str) -> Client:
    return route.namespace, route.service, route.port, client
