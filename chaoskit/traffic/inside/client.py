"""A lean HTTP/1.1 client that hides nothing: one request is sent once, and whatever happens to it is told.

Speaks plain HTTP over gevent sockets. Never retries, never follows a redirect, never speaks TLS.

A connection of policy `reuse` that turns out closed before a byte of the request was sent is replaced in silence, as any client does;
a failure after that is a failure. Errors read class.phase: refused, reset, closed, timeout, unreachable, malformed, failed in connect,
send, first-byte, body; what the service cannot be blamed for reads generator.*.
"""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
from collections.abc import Mapping
from time import monotonic_ns
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from gevent import socket

from chaoskit.traffic.plan import TrafficPlan

RESOLVE_EVERY_S = 5.0
"""How long an address found for a name is used."""
KEPT_AT_MOST = 12
"""Connections kept for `reuse`, as by so many clients. They take turns, so that a few backends all hold some."""
_HEAD_LIMIT = 65_536
_CHUNK = 65_536

Address: TypeAlias = tuple[int, Any]


class Answer(NamedTuple):
    """How one request ended. `status` is 0 unless the response was complete; `uses` counts the requests on its connection."""

    status: int
    error: str
    pod: str = ""
    version: str = ""
    node: str = ""
    uses: int = 1


class Failed(Exception):
    """The request ended without a complete response; the text is class.phase."""


class Client:
    """Sends the one request of a plan, over and over. Safe to use from many greenlets at once."""

    def __init__(self, plan: TrafficPlan, process: int = 0) -> None:
        self._messages = {policy: _message(plan, policy) for policy in ("fresh", "reuse")}
        self._bodiless = plan.method == "HEAD"
        self._wanted = [b"\r\n%s:" % plan.identity.get(who, "").lower().encode() for who in ("pod", "version", "node")]
        self._names = _Names(plan.url, first=process)
        self._places = itertools.cycle([_Place(lasting=True) for _ in range(_kept_connections(plan))])

    def resolve(self) -> None:
        """Look the host up now. Raises OSError when it has no address."""
        self._names.resolve()

    def request(self, policy: str, deadline_ns: int) -> Answer:
        """Send the request on a connection of that policy and wait for its end, at most until the deadline."""
        place = next(self._places) if policy == "reuse" else _Place()
        if place.busy:
            place = _Place()  # an extra connection rather than the next place: what is slow is not passed over
        place.busy = True
        answer, reusable = self._request_on(place, self._messages[policy], deadline_ns)
        place.busy = False
        if not (reusable and place.lasting):
            place.clear()
        return answer

    def _request_on(self, place: _Place, message: bytes, deadline_ns: int) -> tuple[Answer, bool]:
        if place.connection is not None and not place.connection.is_open():
            place.clear()
        if place.connection is None:
            try:
                place.connection = _connect(self._names.address(), deadline_ns)
            except OSError as error:
                return Answer(0, _named(error, "connect")), False
        place.connection.deadline_ns = deadline_ns
        return self._exchange(place.connection, message)

    def _exchange(self, connection: _Connection, message: bytes) -> tuple[Answer, bool]:
        connection.uses += 1
        who = ("", "", "")
        try:
            connection.send(message)
            head, rest = connection.read_head()
            who = self._identity(head)
            status = int(head[9:12])
            reusable = connection.read_body(head.lower(), rest, self._bodiless or status in (204, 304))
        except Failed as failure:
            return Answer(0, str(failure), *who, connection.uses), False
        return Answer(status, "", *who, connection.uses), reusable

    def _identity(self, head: bytes) -> tuple[str, str, str]:
        lower = head.lower()
        pod, version, node = (_value(head, lower, name).decode("latin-1") for name in self._wanted)
        return pod, version, node


class _Place:
    """Where a connection is while it is used and, if the place is lasting, afterwards."""

    __slots__ = ("busy", "connection", "lasting")

    def __init__(self, lasting: bool = False) -> None:
        self.lasting = lasting
        self.busy = False
        self.connection: _Connection | None = None

    def clear(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class _Names:
    """The addresses of the host, looked up once per time-to-live; each connection takes the next one."""

    def __init__(self, url: str, first: int) -> None:
        split = urlsplit(url)
        self._host, self._port = split.hostname or "", split.port or 80
        self._addresses: list[Address] = []
        self._next = first
        self._fresh_until_ns = 0

    def address(self) -> Address:
        if monotonic_ns() >= self._fresh_until_ns:
            self.resolve()
        self._next += 1
        return self._addresses[self._next % len(self._addresses)]

    def resolve(self) -> None:
        if self._addresses:
            self._fresh_until_ns = self._until()  # meanwhile the others go on with what is known
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            self._fresh_until_ns = 0
            raise
        # IPv4 where there is any: a name such as localhost often has an IPv6 address at which nobody listens.
        by_family = [(family, address) for family, _, _, _, address in found]
        self._addresses = [a for a in by_family if a[0] == socket.AF_INET] or by_family
        self._fresh_until_ns = self._until()

    def _until(self) -> int:
        try:
            ipaddress.ip_address(self._host)
        except ValueError:
            return monotonic_ns() + int(RESOLVE_EVERY_S * 1e9)
        return 2**63


class _Connection:
    """One TCP connection and how far its request has come."""

    __slots__ = ("deadline_ns", "phase", "sock", "uses")

    def __init__(self, sock: Any, deadline_ns: int) -> None:
        self.sock = sock
        self.deadline_ns = deadline_ns
        self.uses = 0
        self.phase = "send"

    def is_open(self) -> bool:
        """Whether a resting connection is still usable: nothing to read, neither an end nor stray bytes."""
        self.sock.settimeout(0.0)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def send(self, message: bytes) -> None:
        self.phase = "send"
        try:
            self.sock.settimeout(_left_s(self.deadline_ns))
            self.sock.sendall(message)
        except OSError as error:
            raise Failed(_named(error, "send")) from None
        self.phase = "first-byte"

    def read_head(self) -> tuple[bytes, bytes]:
        """The head of the final response and what follows it; interim responses (1xx) are skipped."""
        rest = b""
        while True:
            head, rest = self._until(b"\r\n\r\n", rest)
            if not head.startswith(b"HTTP/1.") or not head[9:12].isdigit():
                raise Failed(f"malformed.{self.phase}")
            if head[9:10] != b"1" or head[9:12] == b"101":
                return head, rest

    def read_body(self, head: bytes, rest: bytes, bodiless: bool) -> bool:
        """Read the body to its end; True when the connection can carry another request. `head` in lower case."""
        length = _value(head, head, b"\r\ncontent-length:")
        if bodiless:
            pass
        elif _value(head, head, b"\r\ntransfer-encoding:").endswith(b"chunked"):
            rest = self._skip_chunks(rest)
        elif length:
            rest = self._skip(_size(length, 10), rest)
        else:
            self._skip_to_end()
            return False
        said = _value(head, head, b"\r\nconnection:")
        return not rest and (b"close" not in said if head.startswith(b"http/1.1") else b"keep-alive" in said)

    def close(self) -> None:
        self.sock.close()

    def _skip(self, count: int, rest: bytes) -> bytes:
        while len(rest) < count:
            count -= len(rest)
            rest = self._recv()
        return rest[count:]

    def _skip_chunks(self, rest: bytes) -> bytes:
        while True:
            line, rest = self._until(b"\r\n", rest)
            size = _size(line.partition(b";")[0].strip(), 16)
            if size == 0:
                break
            rest = self._skip(size + 2, rest)
        while line:  # trailers, up to an empty line
            line, rest = self._until(b"\r\n", rest)
        return rest

    def _skip_to_end(self) -> None:
        while self._recv(or_end=True):
            pass

    def _until(self, mark: bytes, rest: bytes) -> tuple[bytes, bytes]:
        while (at := rest.find(mark)) < 0:
            if len(rest) > _HEAD_LIMIT:
                raise Failed(f"malformed.{self.phase}")
            rest += self._recv()
        return rest[:at], rest[at + len(mark) :]

    def _recv(self, or_end: bool = False) -> bytes:
        try:
            self.sock.settimeout(_left_s(self.deadline_ns))
            data: bytes = self.sock.recv(_CHUNK)
        except OSError as error:
            raise Failed(_named(error, self.phase)) from None
        if not data and not or_end:
            raise Failed(f"closed.{self.phase}")
        self.phase = "body"
        return data


def _connect(address: Address, deadline_ns: int) -> _Connection:
    """A new connection. Raises OSError."""
    sock = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(0.0)  # gevent looks a name up in connect() unless it must not wait
        try:
            sock.connect(address[1])
        except BlockingIOError:
            _await_connected(sock, deadline_ns)
    except BaseException:
        sock.close()
        raise
    return _Connection(sock, deadline_ns)


def _await_connected(sock: Any, deadline_ns: int) -> None:
    socket.wait_write(sock.fileno(), timeout=_left_s(deadline_ns), timeout_exc=TimeoutError())
    failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failure:
        raise OSError(failure, os.strerror(failure))


def _left_s(deadline_ns: int) -> float:
    left_ns = deadline_ns - monotonic_ns()
    if left_ns <= 0:
        raise TimeoutError
    return left_ns / 1e9


_OURS: Mapping[int | None, str] = {
    errno.EADDRNOTAVAIL: "generator.no-port",
    errno.EMFILE: "generator.no-file",
    errno.ENFILE: "generator.no-file",
    errno.ENOBUFS: "generator.no-memory",
    errno.ENOMEM: "generator.no-memory",
}
_CLASSES: tuple[tuple[type[OSError], str], ...] = (
    (TimeoutError, "timeout"),
    (ConnectionRefusedError, "refused"),
    (ConnectionResetError, "reset"),
    (BrokenPipeError, "reset"),
)


def _named(error: OSError, phase: str) -> str:
    """The error as class.phase."""
    if isinstance(error, socket.gaierror):
        return "generator.no-address"
    if error.errno in _OURS:
        return _OURS[error.errno]
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return f"unreachable.{phase}"
    return next((f"{name}.{phase}" for kind, name in _CLASSES if isinstance(error, kind)), f"failed.{phase}")


def _value(head: bytes, lower: bytes, name: bytes) -> bytes:
    """The value of a header. `name` is lower case with its line break before and its colon behind; a missing one gives nothing."""
    at = lower.find(name)
    if at < 0 or len(name) == 3:  # no name at all
        return b""
    begin = at + len(name)
    end = head.find(b"\r\n", begin)
    return head[begin : end if end >= 0 else None].strip()


def _size(digits: bytes, radix: int) -> int:
    try:
        size = int(digits, radix)
    except ValueError:
        raise Failed("malformed.body") from None
    if size < 0:
        raise Failed("malformed.body")
    return size


def _kept_connections(plan: TrafficPlan) -> int:
    """Few enough that each is used every two seconds or so: servers close what rests longer."""
    share = plan.policies.get("reuse", 0.0) / sum(plan.policies.values())
    return max(1, min(KEPT_AT_MOST, round(plan.rate_per_s * share * 2 / plan.processes)))


def _message(plan: TrafficPlan, policy: str) -> bytes:
    """The request as bytes; the plan's own headers come last and replace ours."""
    headers = {
        "Host": urlsplit(plan.url).netloc,
        "User-Agent": "chaoskit",
        "Accept": "*/*",
    }
    if plan.method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = "0"
    replaced = {name.lower() for name in plan.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in replaced} | dict(plan.headers)
    headers = {name: value for name, value in headers.items() if name.lower() != "connection"}
    headers["Connection"] = "close" if policy == "fresh" else "keep-alive"
    path = urlsplit(plan.url).path.rstrip("/") + plan.path
    lines = [f"{plan.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
