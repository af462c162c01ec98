"""Does a client tell of every request that a server dropped? Asked before the traffic, of a server on loopback that drops on purpose.

Standard library only: it runs inside the traffic process, and anywhere else. Knows no particular client.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

Attempt: TypeAlias = Callable[[], bool]
"""Makes one request; True when it was reported as answered."""

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok"
SCRIPT = (
    "ok",
    "fin",
    "fin",
    "ok",
    "rst",
    "rst",
    "ok",
    "fin",
    "ok",
    "rst",
    "ok",
    "fin",
    "rst",
    "fin",
    "rst",
    "ok",
    "cut",
)
"""What happens to each request in turn: answered, closed without an answer, reset, or cut off in its body. A drop after an answer meets
a kept connection, if the client keeps any; a drop after a drop a new one."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was asked of a client, what the server saw of it, and what it told."""

    client: str
    attempted: int
    received: int
    dropped: int
    told: int

    @property
    def honest(self) -> bool:
        """Every drop was told, and no request was sent twice."""
        return self.told == self.dropped and self.received == self.attempted

    def __str__(self) -> str:
        return (
            f"{self.client}: {self.attempted} requests made, {self.received} arrived at the server; "
            f"it dropped {self.dropped}, {self.told} were reported as failed"
        )


def probe(client: str, make: Callable[[str], Attempt]) -> Report:
    """Put a client to the test. `make` is given the server's base URL and returns what makes one request."""
    with _dropping() as server:
        attempt = make(server.url)
        told = sum(not attempt() for _ in SCRIPT)
        dropped = sum(what != "ok" for what in SCRIPT)
        return Report(client, len(SCRIPT), server.received, dropped, told)


class _Server:
    """Answers, closes, resets or cuts, as the script says. One thread a connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.received = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wake whoever waits, then close."""
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=1)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            while (closing := _read_request(sock)) is not None and self._respond(sock) and not closing:
                pass
        self._open.discard(sock)

    def _respond(self, sock: socket.socket) -> bool:
        with self._lock:
            what = SCRIPT[self.received] if self.received < len(SCRIPT) else "ok"
            self.received += 1
        if what == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif what != "fin":
            sock.sendall(_ANSWER if what == "ok" else _CUT)
        return what == "ok"


def _read_request(sock: socket.socket) -> bool | None:
    """Whether the client wants the connection closed; None when it is closed already. The test's requests have no body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65_536)
        if not more:
            return None
        data += more
    return b"\r\nconnection: close" in data.lower()


@contextmanager
def _dropping() -> Iterator[_Server]:
    server = _Server()
    try:
        yield server
    finally:
        server.close()
