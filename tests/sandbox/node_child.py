"""Runs one node supervisor as a process of its own, for the tests of the node. Arguments: settings file, name, index."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
from pathlib import Path

from chaoskit.sandbox.node import serve
from chaoskit.sandbox.settings import ClusterSettings


async def main() -> None:
    task = asyncio.create_task(
        serve(ClusterSettings.from_json(Path(sys.argv[1]).read_bytes()), sys.argv[2], int(sys.argv[3]))
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    asyncio.run(main())
