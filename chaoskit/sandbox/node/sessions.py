"""One exec session: a command in a container, its streams as frames of v5.channel.k8s.io on a websocket. The first byte is the channel."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from aiohttp import WSMsgType, web

from chaoskit.sandbox.node.execution import end, start
from chaoskit.sandbox.node.guard import Refused
from chaoskit.sandbox.node.host import Host
from chaoskit.sandbox.node.instance import Instance
from chaoskit.sandbox.node.processes import Process, StartError

Obj: TypeAlias = dict[str, Any]
STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_CHUNK = 32 * 1024
_STRAGGLERS_S = 0.2


@dataclass(frozen=True, slots=True)
class Streams:
    """Our ends and the command's ends. A descriptor of -1 is a stream nobody asked for."""

    stdin: int
    outputs: Mapping[int, int]  # channel -> descriptor to read
    theirs: tuple[int, int, int]
    tty: bool


async def exec_session(
    socket: web.WebSocketResponse, host: Host, instance: Instance, argv: tuple[str, ...], asked: Mapping[str, bool]
) -> None:
    """Run the command, relay until it ends, send its status, close. When the client goes first, the command is killed."""
    await socket.send_bytes(bytes([STDOUT]))
    with ExitStack() as ours:
        try:
            streams, process = _begin(host, instance, argv, asked, ours)
        except Refused as error:
            await socket.send_bytes(bytes([STDERR]) + str(error).encode() + b"\n")
            await _finish(socket, exit_status(1, argv))
            return
        except StartError as error:
            await _finish(
                socket,
                _failure(
                    "InternalError", f"error executing command in container: failed to exec in container: {error}"
                ),
            )
            return
        await _relay(socket, streams, process, argv)


def _begin(
    host: Host, instance: Instance, argv: tuple[str, ...], asked: Mapping[str, bool], ours: ExitStack
) -> tuple[Streams, Process]:
    with ExitStack() as theirs:
        streams = _terminal(ours, theirs) if asked["tty"] else _pipes(asked, ours, theirs)
        return streams, start(host, instance, argv, *streams.theirs, tty=streams.tty)


def _terminal(ours: ExitStack, theirs: ExitStack) -> Streams:
    main, side = os.openpty()
    ours.callback(os.close, main)
    theirs.callback(os.close, side)
    os.set_blocking(main, False)
    return Streams(main, {STDOUT: main}, (side, side, side), True)


def _pipes(asked: Mapping[str, bool], ours: ExitStack, theirs: ExitStack) -> Streams:
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    theirs.callback(os.close, nothing)
    stdin, their_stdin, outputs, their_outputs = -1, nothing, {}, [nothing, nothing]
    if asked["stdin"]:
        their_stdin, stdin = os.pipe2(os.O_CLOEXEC)
        theirs.callback(os.close, their_stdin)
        # Duplicated, so that an early end of input can close its own copy.
        os.set_blocking(stdin, False)
    for channel, name in ((STDOUT, "stdout"), (STDERR, "stderr")):
        if asked[name]:
            outputs[channel], write_end = os.pipe2(os.O_CLOEXEC)
            their_outputs[channel - 1] = write_end
            os.set_blocking(outputs[channel], False)
            theirs.callback(os.close, write_end)
            ours.callback(os.close, outputs[channel])
    return Streams(stdin, outputs, (their_stdin, their_outputs[0], their_outputs[1]), False)


async def _relay(socket: web.WebSocketResponse, streams: Streams, process: Process, argv: tuple[str, ...]) -> None:
    pumps = [asyncio.create_task(_pump(socket, channel, fd)) for channel, fd in streams.outputs.items()]
    listener = asyncio.create_task(_listen(socket, streams))
    try:
        either: list[asyncio.Future[Any]] = [listener, process.exited]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not process.alive():
            if pumps:
                await asyncio.wait(pumps, timeout=_STRAGGLERS_S)
            await _finish(socket, exit_status(process.exited.result(), argv))
    finally:
        end(process)
        for task in (listener, *pumps):
            task.cancel()
        await asyncio.gather(listener, *pumps, return_exceptions=True)


async def _pump(socket: web.WebSocketResponse, channel: int, fd: int) -> None:
    while data := await _read(fd):
        await socket.send_bytes(bytes([channel]) + data)


async def _read(fd: int) -> bytes:
    """The next bytes; nothing at the end. A terminal whose other side is closed says EIO."""
    while True:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            await _when(fd, writing=False)
        except OSError:
            return b""


async def _listen(socket: web.WebSocketResponse, streams: Streams) -> None:
    """Input and resizes, until the client is gone."""
    stdin = streams.stdin
    try:
        async for message in socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == STDIN and stdin >= 0:
                await _write(stdin, data)
            elif channel == CLOSE and data[:1] == bytes([STDIN]) and stdin >= 0 and not streams.tty:
                os.close(stdin)
                stdin = -1
            elif channel == RESIZE and streams.tty:
                _resize(streams.stdin, data)
    finally:
        if stdin >= 0 and not streams.tty:
            os.close(stdin)


async def _write(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            await _when(fd, writing=True)
        except OSError:
            return


async def _when(fd: int, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        remove(fd)


def _resize(fd: int, data: bytes) -> None:
    with suppress(ValueError, KeyError, OSError):
        size = orjson.loads(data)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", int(size["Height"]), int(size["Width"]), 0, 0))


async def _finish(socket: web.WebSocketResponse, status: Obj) -> None:
    with suppress(ConnectionError):
        await socket.send_bytes(bytes([STATUS]) + orjson.dumps(status))
        await socket.close(code=1000)


def exit_status(code: int, argv: tuple[str, ...]) -> Obj:
    """The Status of a command that ended with `code`."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    message = (
        f"command terminated with non-zero exit code: error executing command [{' '.join(argv)}], exit code {code}"
    )
    return _failure("NonZeroExitCode", message) | {
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    }


def _failure(reason: str, message: str) -> Obj:
    body: Obj = {"metadata": {}, "status": "Failure", "message": message, "reason": reason}
    return body | ({"code": 500} if reason == "InternalError" else {})
