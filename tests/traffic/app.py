"""A server on loopback that does to each request what the test says, and remembers what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from chaoskit.traffic.supervisor import Generator

OK = b"HTTP/1.1 200 OK\r\nX-Pod: pod-a\r\nX-Version: v1\r\nX-Node: node-1\r\nContent-Length: 2\r\n\r\nok"
FIN, RST, SILENCE = b"fin", b"rst", b"silence"

Respond: TypeAlias = Callable[[int], bytes | Awaitable[bytes]]
"""What to do with the n-th request, from 0: FIN, RST, SILENCE, or bytes to answer; the connection is closed when they end it."""


@dataclass
class App:
    """What the server saw. `requests` are the heads in order of arrival."""

    respond: Respond = lambda n: OK
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    arrived_ns: list[int] = field(default_factory=list)
    connections: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(await reader.readuntil(b"\r\n\r\n"), writer):
                pass
        writer.close()

    async def _one(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        n = len(self.requests)
        self.requests.append(head)
        self.arrived_ns.append(time.monotonic_ns())
        response = self.respond(n)
        data = response if isinstance(response, bytes) else await response
        if data == RST:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if data in (FIN, RST):
            return False
        if data == SILENCE:
            await asyncio.sleep(60)
        writer.write(data)
        await writer.drain()
        return b"connection: close" not in head.lower() and b"onnection: close" not in data


@asynccontextmanager
async def serving(respond: Respond = lambda n: OK) -> AsyncIterator[App]:
    app = App(respond)
    server = await asyncio.start_server(app.handle, "127.0.0.1", 0)
    app.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield app
    finally:
        server.close()


async def until(fact: Callable[[], bool], within_s: float, what: str) -> None:
    """Wait for a fact, looking often; fail with words."""
    deadline = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.01)


async def run_until_seen(generator: Generator, app: App, count: int) -> None:
    """Start the traffic and stop it once the server has seen so many requests."""
    await generator.start()
    await until(lambda: len(app.requests) >= count, 20, f"{count} requests at the server, {generator.health}")
    await generator.stop()
