"""Commands brought into a running container: exec probes, hooks, kubectl exec. Guards the host against them; keeps no state."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from chaoskit.sandbox.node import images
from chaoskit.sandbox.node.guard import Refused, guarded
from chaoskit.sandbox.node.host import Host
from chaoskit.sandbox.node.instance import Instance
from chaoskit.sandbox.node.processes import Launch, Process, StartError, catches

_OUTPUT_BYTES = 16 * 1024
_STRAGGLERS_S = 0.1
"""How long output is awaited after the exit, when a grandchild holds the pipe."""


class Output(asyncio.Protocol):
    """Collects the first bytes of a pipe."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data[: _OUTPUT_BYTES - len(self.data)]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def prepared(instance: Instance, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The argv as this machine may execute it. Raises Refused, and StartError for no command at all."""
    if not argv:
        raise StartError("no command specified")
    first = instance.process.pid
    led = instance.setting.mounts.rewrite_argv(argv)
    return images.on_this_machine(guarded(led, first, lambda number: catches(first, number)))


def start(
    host: Host, instance: Instance, argv: tuple[str, ...], stdin: int, stdout: int, stderr: int, tty: bool = False
) -> Process:
    """Start a command in the container's setting. Raises StartError and Refused."""
    setting = instance.setting
    return host.reaper.start(Launch(prepared(instance, argv), setting.env, setting.cwd, stdin, stdout, stderr, tty))


async def execute(host: Host, instance: Instance, argv: tuple[str, ...], limit_s: float) -> tuple[int, bytes]:
    """Run to the end: exit code and output. Past the limit the command is killed and TimeoutError raised."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        process = start(host, instance, argv, nothing, write_end, write_end)
    except (StartError, Refused) as error:
        os.close(read_end)
        return (126 if isinstance(error, StartError) else 1), str(error).encode()
    finally:
        os.close(nothing)
        os.close(write_end)
    loop = asyncio.get_running_loop()
    transport, output = await loop.connect_read_pipe(Output, os.fdopen(read_end, "rb", 0))
    try:
        async with asyncio.timeout(limit_s):
            code = await asyncio.shield(process.exited)
        await asyncio.wait({output.ended}, timeout=_STRAGGLERS_S)
        return code, output.data
    finally:
        transport.close()
        end(process)


def end(process: Process) -> None:
    """Kill what is left of a command."""
    if process.alive():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
