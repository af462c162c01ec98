"""One connection through a Service: two sockets and what passes between them. Chooses nothing, retries nothing.

What one side does the other side sees: data with back-pressure, a half-close as a half-close, a reset as a reset. A
backend that refuses is a reset for the client, whose connection had to be accepted before anybody could be asked. Plain
asyncio protocols on the standard loop: uvloop crashed under half-closing relays.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

from chaoskit.sandbox.proxy.routing import Address

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport | None) -> None:
    """Close at once with RST: SO_LINGER with zero seconds throws away what is unsent."""
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


class End(asyncio.Protocol):
    """One of the two ends; whatever happens to it is passed on to its peer."""

    __slots__ = ("ended", "peer", "transport")

    def __init__(self, peer: End | None = None) -> None:
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        out = self._out()
        if out is not None:
            out.write(data)

    def eof_received(self) -> bool:
        """True keeps our writing half open: the other direction may have much to say yet."""
        if self.ended:
            return True
        self.ended = True
        out = self._out()
        if out is not None:
            out.write_eof()
        if self.peer is not None and self.peer.ended:
            self._close_both()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        peer = self.peer
        self.transport = self.peer = None
        if peer is None or peer.transport is None:
            return
        if exc is not None:
            reset(peer.transport)
        else:
            peer.transport.close()

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def _out(self) -> asyncio.Transport | None:
        """The peer's transport, if it still takes data."""
        out = None if self.peer is None else self.peer.transport
        return None if out is None or out.is_closing() else out

    def _close_both(self) -> None:
        for end in (self, self.peer):
            if end is not None and end.transport is not None:
                end.transport.close()


class Front(End):
    """The client's end: asks once for an endpoint, connects to it, and only then reads.

    `pick` returns None when there is no endpoint any more; `done` is called once when the connection has ended. `target`
    is the endpoint once it is chosen.
    """

    __slots__ = ("_connecting", "_done", "_pick", "target")

    def __init__(self, pick: Callable[[str], Address | None], done: Callable[[Front], None]) -> None:
        super().__init__()
        self._pick = pick
        self._done = done
        self._connecting: asyncio.Task[None] | None = None
        self.target: Address | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        client = transport.get_extra_info("peername")
        target = self.target = self._pick(client[0] if client else "")
        if target is None:
            reset(self.transport)
            return
        self._connecting = asyncio.get_running_loop().create_task(self._connect(target))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        super().connection_lost(exc)
        self._done(self)

    def abort(self) -> None:
        """End both connections with a reset."""
        reset(self.transport)

    async def _connect(self, target: Address) -> None:
        loop = asyncio.get_running_loop()
        back = End(self)
        try:
            await loop.create_connection(lambda: back, target.host, target.port)
        except OSError:
            reset(self.transport)
            return
        finally:
            self._connecting = None
        if self.transport is None or self.transport.is_closing():
            reset(back.transport)
            return
        self.peer = back
        self.transport.resume_reading()
