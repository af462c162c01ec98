"""The memory of a container, looked at four times a second: what a memory limit means where there is no cgroup. Kills nothing itself.

Counted are the anonymous pages (resident less shared) of the container's first process and of its descendants. Not counted: page
cache, files in memory, and a grandchild whose parents are gone. Between two looks a process may outgrow its limit for a while.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

POLL_S = 0.25
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def outgrown(pid: int, limit_bytes: int) -> None:
    """Return when the process and its descendants use more than the limit together."""
    while used_bytes(pid) <= limit_bytes:  # noqa: ASYNC110 - nothing tells when a process grows
        await asyncio.sleep(POLL_S)


def used_bytes(pid: int) -> int:
    """Anonymous memory of a process and its descendants; of one that is gone, nothing."""
    return sum(_anonymous_bytes(each) for each in _family(pid))


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for thread in threads:
        try:
            children = (thread / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _anonymous_bytes(pid: int) -> int:
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES
