"""A lean HTTP/1.1 client that hides nothing: one request is sent once, and whatever happens to it is told.

Speaks HTTP over lines, with or without TLS. Never retries and never follows a redirect.

A connection of policy `reuse` that turns out closed before a byte of the request was sent is replaced in silence, as any client does;
a failure after that is a failure. Errors read class.phase: refused, reset, closed, timeout, unreachable, untrusted, malformed, failed in
connect, tls, send, first-byte, body; what the service cannot be blamed for reads generator.*.
"""

from __future__ import annotations

import errno
import itertools
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from time import monotonic_ns
from typing import NamedTuple
from urllib.parse import urlsplit

from chaoskit.traffic.inside.line import Deadlines, Line
from chaoskit.traffic.inside.message import message
from chaoskit.traffic.inside.names import Names
from chaoskit.traffic.inside.sealed import Sealed
from chaoskit.traffic.plan import POLICIES, TrafficPlan
from chaoskit.traffic.tls import context_of

KEPT_AT_MOST = 12
"""Connections kept for `reuse`, as by so many clients. They take turns, so that a few backends all hold some."""
SPARE_RESTS_NS = 2_000_000_000
"""How long an extra connection may rest and be used again. New ones for every request to a slow server would make it slower, with TLS above all."""
_HEAD_LIMIT = 65_536


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
    """Sends the requests of a plan, over and over. Safe to use from many greenlets at once."""

    def __init__(self, plan: TrafficPlan, process: int = 0) -> None:
        self._messages = {policy: [message(plan, kind, policy) for kind in plan.kinds] for policy in POLICIES}
        self._bodiless = [kind.method == "HEAD" for kind in plan.kinds]
        self._wanted = [b"\r\n%s:" % plan.identity.get(who, "").lower().encode() for who in ("pod", "version", "node")]
        self._names = Names(plan.url, plan.resolve_every_s, first=process)
        self._opener = _Opener(plan, self._names)
        self._deadlines = Deadlines()
        self._spares: deque[_Place] = deque()
        self._places = itertools.cycle([_Place(lasting=True) for _ in range(_kept_connections(plan))])

    def resolve(self) -> None:
        """Look the host up now. Raises OSError when it has no address."""
        self._names.resolve()

    @property
    def addresses(self) -> list[str]:
        """All addresses that the host has had so far."""
        return list(self._names.seen)

    def request(self, policy: str, deadline_ns: int, kind: int = 0) -> Answer:
        """Send a request on a connection of that policy and wait for its end, at most until the deadline."""
        place = self._place(policy)
        place.busy = True
        try:
            answer, reusable = self._request_on(place, policy, kind, deadline_ns)
        finally:
            place.busy = False
        if not (reusable and place.lasting):
            place.clear()
        elif place.spare:
            place.rests_since_ns = monotonic_ns()
            self._spares.append(place)
            self._close_old_spares()
        return answer

    def _place(self, policy: str) -> _Place:
        """The next one in turn. While that is busy an extra one rather than the next: what is slow is not passed over."""
        if policy != "reuse":
            return _Place()
        place = next(self._places)
        if not place.busy:
            return place
        self._close_old_spares()
        return self._spares.pop() if self._spares else _Place(lasting=True, spare=True)

    def _close_old_spares(self) -> None:
        oldest_ns = monotonic_ns() - SPARE_RESTS_NS
        while self._spares and self._spares[0].rests_since_ns < oldest_ns:
            self._spares.popleft().clear()

    def _request_on(self, place: _Place, policy: str, kind: int, deadline_ns: int) -> tuple[Answer, bool]:
        if place.connection is not None and place.connection.line.is_over:
            place.clear()
        if place.connection is None:
            try:
                place.connection = self._opened(deadline_ns)
            except Failed as failure:
                return Answer(0, str(failure)), False
        else:
            self._deadlines.watch(place.connection.line, deadline_ns)
        answer, reusable = self._exchange(place.connection, self._messages[policy][kind], self._bodiless[kind])
        place.connection.line.deadline_ns = 0
        return answer, reusable

    def _opened(self, deadline_ns: int) -> _Connection:
        try:
            family, address = self._names.address()
            line = Line(family)
        except OSError as error:
            raise Failed(_named(error, "connect")) from None
        self._deadlines.watch(line, deadline_ns)
        try:
            return self._opener.open(line, address)
        except BaseException:
            line.deadline_ns = 0
            raise

    def _exchange(self, connection: _Connection, request: bytes, bodiless: bool) -> tuple[Answer, bool]:
        connection.uses += 1
        who = ("", "", "")
        try:
            connection.send(request)
            head, rest = connection.read_head()
            lower = head.lower()
            who = self._identity(head, lower)
            status = int(head[9:12])
            reusable = connection.read_body(lower, rest, bodiless or status in (204, 304))
        except Failed as failure:
            return Answer(0, str(failure), *who, connection.uses), False
        return Answer(status, "", *who, connection.uses), reusable

    def _identity(self, head: bytes, lower: bytes) -> tuple[str, str, str]:
        pod, version, node = self._wanted
        return (
            _value(head, lower, pod).decode("latin-1"),
            _value(head, lower, version).decode("latin-1"),
            _value(head, lower, node).decode("latin-1"),
        )


class _Place:
    """Where a connection is while it is used and, if the place is lasting, afterwards."""

    __slots__ = ("busy", "connection", "lasting", "rests_since_ns", "spare")

    def __init__(self, lasting: bool = False, spare: bool = False) -> None:
        self.lasting = lasting
        self.spare = spare
        self.rests_since_ns = 0
        self.busy = False
        self.connection: _Connection | None = None

    def clear(self) -> None:
        if self.connection is not None:
            self.connection.line.close()
            self.connection = None


class _Opener:
    """Opens connections as the url wants them: plain or with TLS."""

    def __init__(self, plan: TrafficPlan, names: Names) -> None:
        url = urlsplit(plan.url)
        self._context = context_of(plan.tls) if url.scheme == "https" else None
        self._server_name = plan.tls.server_name or url.hostname or ""

    def open(self, line: Line, address: object) -> _Connection:
        """Raises Failed; the line is closed then."""
        phase = "connect"
        try:
            line.connect(address)
            if self._context is None:
                return _Connection(line, line)
            phase = "tls"
            sealed = Sealed(line, self._context, self._server_name)
            sealed.shake_hands()
        except OSError as error:
            line.close()
            raise Failed(_named(error, phase)) from None
        except BaseException:
            line.close()
            raise
        return _Connection(line, sealed)


class _Connection:
    """One connection and how far its request has come."""

    __slots__ = ("_stream", "_whole", "line", "phase", "uses")

    def __init__(self, line: Line, stream: Line | Sealed) -> None:
        self.line = line
        self._stream = stream
        self._whole = True
        self.uses = 0
        self.phase = "send"

    def send(self, request: bytes) -> None:
        """Send it; a server that answers before it has all of a large body is listened to, and no more is sent."""
        self.phase = "send"
        try:
            self._whole = self._stream.send(request)
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
        lasts = b"close" not in said if head.startswith(b"http/1.1") else b"keep-alive" in said
        return lasts and not rest and self._whole

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
            data = self._stream.recv()
        except OSError as error:
            raise Failed(_named(error, self.phase)) from None
        if not data and not or_end:
            raise Failed(f"closed.{self.phase}")
        self.phase = "body"
        return data


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
    (ssl.SSLCertVerificationError, "untrusted"),
    (ssl.SSLEOFError, "closed"),
)


def _named(error: OSError, phase: str) -> str:
    """The error as class.phase."""
    if isinstance(error, socket.gaierror):
        return "generator.no-address"
    # A TLS error carries a number of its own that is no errno.
    if error.errno in _OURS and not isinstance(error, ssl.SSLError):
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
