"""One TCP connection as a greenlet sees it: it sends, receives and gives way meanwhile, until its deadline. Knows neither HTTP nor TLS.

gevent's own sockets make a timer and look the loop up for every wait; that is most of what a small request costs. Here a connection is
registered with the loop once for its life, and one timer watches over the deadlines of all.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from time import monotonic_ns
from typing import Any, TypeAlias

import gevent
from gevent import monkey

RECEIVE_BYTES = 65_536
_READ, _WRITE = 1, 2
_FIRST = 2
"""The priority of connections in the loop: that one was closed is noticed before the timetable takes it for the next request."""

Address: TypeAlias = tuple[int, Any]
_plain_socket: Any = monkey.get_original("socket", "socket")


class Line:
    """A connection from its beginning. At most one greenlet uses it at a time; all raise TimeoutError when the deadline has come."""

    __slots__ = ("_heard", "_hub", "_reading", "_sock", "_waiting", "deadline_ns", "is_over")

    def __init__(self, family: int) -> None:
        self._hub = gevent.get_hub()
        self._sock = _plain_socket(family, socket.SOCK_STREAM)
        self._reading: Any = None
        self._waiting: Any = None
        self._heard = False
        self.deadline_ns = 0
        self.is_over = False
        """Whether the other side closed, or said something unasked, while the connection rested."""

    def connect(self, address: Any) -> None:
        """Raises OSError; the line is closed then."""
        try:
            self._sock.setblocking(False)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._sock.connect(address)
            except BlockingIOError:
                self._until_writable()
                _raise_failure(self._sock)
            self._reading = self._hub.loop.io(self._sock.fileno(), _READ, priority=_FIRST)
            self._reading.start(self._readable)
        except BaseException:
            self.close()
            raise

    def send(self, data: bytes, listening: bool = True) -> bool:
        """Send all of it; False when, `listening`, something was received before all was sent, and the rest was not."""
        sent = self._send(data)
        if sent == len(data):
            return True
        rest = memoryview(data)[sent:]
        while rest:
            self._until_writable(listening)
            if self._heard:
                return False
            rest = rest[self._send(rest) :]
        return True

    def recv(self) -> bytes:
        """What comes next; nothing when the other side has closed."""
        while True:
            self._give_way()  # first: an answer is never there at once, and when it is, the loop knows
            try:
                received: bytes = self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            return received

    def expire(self) -> None:
        """The deadline has come: whoever waits here waits no longer."""
        if self._waiting is not None:
            self._waiting.throw(TimeoutError)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.stop()
            self._reading.close()
            self._reading = None
        self._sock.close()

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return int(self._sock.send(data))
        except BlockingIOError:
            return 0

    def _until_writable(self, listening: bool = False) -> None:
        writing = self._hub.loop.io(self._sock.fileno(), _WRITE)
        writing.start(gevent.getcurrent().switch)
        self._heard = False
        if self._reading is not None and not listening:
            self._reading.stop()
        try:
            self._give_way()
        finally:
            writing.stop()
            writing.close()
            if self._reading is not None and not listening:
                self._reading.start(self._readable)

    def _give_way(self) -> None:
        if 0 < self.deadline_ns <= monotonic_ns():
            raise TimeoutError
        self._waiting = gevent.getcurrent()
        try:
            self._hub.switch()
        finally:
            self._waiting = None

    def _readable(self) -> None:
        """In the loop. Something arrived: for whoever waits; at rest it can only be the end."""
        if self._waiting is None:
            self.is_over = True
            self._reading.stop()
        else:
            self._heard = True
            self._waiting.switch()


def _raise_failure(sock: Any) -> None:
    failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failure:
        raise OSError(failure, os.strerror(failure))


class Deadlines:
    """One timer for the requests of a client. All have the same patience, so they expire in the order in which they were due."""

    def __init__(self) -> None:
        self._timer = gevent.get_hub().loop.timer(0.0)
        self._waiting: deque[tuple[int, Line]] = deque()

    def watch(self, line: Line, deadline_ns: int) -> None:
        """Expire the line at its deadline, unless it has another one by then."""
        line.deadline_ns = deadline_ns
        self._waiting.append((deadline_ns, line))
        if not self._timer.active:
            self._arm(deadline_ns)

    def _arm(self, at_ns: int) -> None:
        self._timer = gevent.get_hub().loop.timer(max(0.0, (at_ns - monotonic_ns()) / 1e9))
        self._timer.start(self._expire, update=True)

    def _expire(self) -> None:
        waiting, now_ns = self._waiting, monotonic_ns()
        while waiting:
            deadline_ns, line = waiting[0]
            if line.deadline_ns == deadline_ns:
                if deadline_ns > now_ns:
                    return self._arm(deadline_ns)
                line.expire()
            waiting.popleft()
        return None
