"""Which address the next connection goes to: the host's addresses, looked up again when their time to live is over. Opens no connection."""

from __future__ import annotations

import ipaddress
from time import monotonic_ns
from urllib.parse import urlsplit

import gevent
from gevent import socket

from chaoskit.traffic.inside.line import Address

AGAIN_AFTER_S = 1.0
"""When a name that has no address now is looked up again."""
_FOR_EVER = 2**63


class Names:
    """The addresses of one host; each connection takes the next one. No request waits for a look-up: meanwhile the known ones are used."""

    def __init__(self, url: str, resolve_every_s: float, first: int) -> None:
        split = urlsplit(url)
        self._host, self._port = split.hostname or "", split.port or (443 if split.scheme == "https" else 80)
        self._every_ns = _FOR_EVER if _is_literal(self._host) else int(resolve_every_s * 1e9)
        self._addresses: list[Address] = []
        self._error: OSError | None = None
        self._next = first
        self._fresh_until_ns = 0
        self.seen: dict[str, None] = {}
        """All addresses that were ever found, in the order in which they were."""

    def address(self) -> Address:
        """The next one. Raises the resolver's OSError while the name has no address."""
        if not self._addresses and self._error is None:
            self._look_up()
        elif monotonic_ns() >= self._fresh_until_ns:
            self._fresh_until_ns = _FOR_EVER  # only one looks up
            gevent.spawn(self._look_up)
        if self._error is not None:
            raise self._error
        self._next += 1
        return self._addresses[self._next % len(self._addresses)]

    def resolve(self) -> None:
        """Look the host up now, and wait for it. Raises OSError when it has no address."""
        self._look_up()
        if self._error is not None:
            raise self._error

    def _look_up(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            self._error = error
            self._fresh_until_ns = monotonic_ns() + int(AGAIN_AFTER_S * 1e9)
            return
        # IPv4 where there is any: a name such as localhost often has an IPv6 address at which nobody listens.
        by_family = [(family, address) for family, _, _, _, address in found]
        self._addresses = [a for a in by_family if a[0] == socket.AF_INET] or by_family
        self._error = None
        self.seen |= dict.fromkeys(str(address[0]) for _, address in self._addresses)
        self._fresh_until_ns = min(_FOR_EVER, monotonic_ns() + self._every_ns)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
