"""Children that never outlive their launcher: forked from one warm interpreter, tied to it twice.

A child gets SIGTERM from the kernel when the launcher dies, and reads the end of a pipe whose only writer is the
launcher. Either ends its work; what it owns it then tears down itself. Linux only.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def fork_child(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    lifeline: int,
    close: Iterable[int],
    at_end: Callable[[], None] | None = None,
) -> int:
    """Run `work` in a forked child until it ends or the launcher does; answers its pid.

    The child closes the descriptors in `close`, of which the lifeline's writing end must be one. `at_end` is its last
    act when it was told to end, which a living launcher never does: that kills.
    """
    launcher = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _tie_to(launcher)
        for descriptor in close:
            os.close(descriptor)
        code = asyncio.run(_until_end(name, work, lifeline))
        # Whoever our parent is now says nothing: a dying launcher closes its pipe before it is replaced as our parent.
        if code == 0 and at_end is not None:
            at_end()
    except BaseException:  # noqa: BLE001 - the outermost frame of a process
        _log.exception("%s failed", name)
    finally:
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)


def _tie_to(launcher: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(
        signal.SIGUSR1, signal.SIG_IGN
    )  # it tells those who listen to look again, and must not end the others
    signal.set_wakeup_fd(-1)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != launcher:
        os._exit(1)


async def _until_end(name: str, work: Callable[[], Awaitable[None]], lifeline: int) -> int:
    """0 when it was told to end, 1 when its work failed or ended by itself."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_reader(lifeline, told.set)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    working = asyncio.ensure_future(work())
    ending = asyncio.ensure_future(told.wait())
    await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
    loop.remove_reader(lifeline)
    # The pipe ends before the kernel sends its SIGTERM, which must not strike while we clean up without a handler.
    _libc.prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)
    if working.done():
        ending.cancel()
        _log.error("%s ended by itself", name, exc_info=None if working.cancelled() else working.exception())
        return 1
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    return 0
