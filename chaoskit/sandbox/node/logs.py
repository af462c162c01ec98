"""Output of container instances: files the processes write themselves, and the reading of them. Never stands between a process and its file.

Because the process writes straight to its file, a frozen node does not stall its pods. When a line was written is learnt from
inotify and kept as (offset, time) marks, at most one each 20 ms.
"""

from __future__ import annotations

import asyncio
import bisect
import ctypes
import os
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_IN_MODIFY = 2
_IN_NONBLOCK = os.O_NONBLOCK
_RESOLUTION_S = 0.02
_LARGEST_BYTES = 10 * 1024 * 1024
"""containerLogMaxSize; beyond it the file starts anew."""
_MICROSECOND = 1e-6
"""What printing and parsing a time may lose."""
_HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader asks for, in the terms of PodLogOptions. `since` is seconds since the epoch."""

    follow: bool = False
    tail: int | None = None
    since: float | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


class Log:
    """One instance's output. `close` when the instance ended: followers then stop at the end of the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self.path = path
        self.closed = False
        self._began = time.time()
        self._offsets: list[int] = []
        self._times: list[float] = []
        self._grown = asyncio.Event()

    def open(self) -> int:
        """A descriptor for the process: appending, so that starting the file anew needs no word with the process."""
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def note(self) -> None:
        """Something was written."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size > _LARGEST_BYTES:
            os.truncate(self.path, 0)
            self._offsets, self._times, size = [], [], 0
        if size > (self._offsets[-1] if self._offsets else 0):
            self._offsets.append(size)
            self._times.append(time.time())
        self._wake()

    def close(self) -> None:
        """Nothing more will be written."""
        self.note()
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    def written_at(self, offset: int) -> float:
        """When the byte at `offset` was written, seconds since the epoch."""
        index = bisect.bisect_right(self._offsets, offset)
        return self._times[index] if index < len(self._times) else (self._times[-1] if self._times else self._began)

    async def lines(self, follow: bool) -> AsyncIterator[tuple[int, bytes]]:
        """(offset, line with its end); with `follow`, on until the log is closed."""
        offset, rest = 0, b""
        with self.path.open("rb") as file:
            while True:
                closed, grown = self.closed, self._grown
                chunk = file.read(1 << 16)
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield offset, line + b"\n"
                    offset += len(line) + 1
                if chunk:
                    continue
                if closed or not follow:
                    break
                await _either(grown)
        if rest:
            yield offset, rest

    async def read(self, query: Query) -> AsyncIterator[bytes]:
        """Pieces of the answer to `kubectl logs`."""
        left = query.limit_bytes
        skip = await self._lines_before(query)
        async for offset, line in self.lines(query.follow):
            if offset < skip:
                continue
            if query.timestamps:
                line = _rfc3339(self.written_at(offset)) + b" " + line
            if left is not None:
                line, left = line[:left], left - len(line)
            yield line
            if left is not None and left <= 0:
                return

    async def _lines_before(self, query: Query) -> int:
        """The offset where the answer begins."""
        if query.tail is None and query.since is None:
            return 0
        offsets = [
            offset
            async for offset, _ in self.lines(follow=False)
            if query.since is None or self.written_at(offset) >= query.since - _MICROSECOND
        ]
        if query.tail is not None:
            offsets = offsets[-query.tail :] if query.tail > 0 else []
        return offsets[0] if offsets else self.path.stat().st_size


async def _either(grown: asyncio.Event) -> None:
    # The time-out only matters where inotify is not to be had.
    try:
        async with asyncio.timeout(0.5):
            await grown.wait()
    except TimeoutError:
        return


def _rfc3339(seconds: float) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


class LogWatch:
    """Tells logs that they grew, by one inotify descriptor. Without inotify logs still work, with coarser times."""

    def __init__(self) -> None:
        self._fd: int = _libc.inotify_init1(_IN_NONBLOCK | os.O_CLOEXEC)
        self._logs: dict[int, Log] = {}
        if self._fd >= 0:
            asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def add(self, log: Log) -> int:
        """Watch a log; the returned key is for `remove`."""
        key: int = _libc.inotify_add_watch(self._fd, os.fsencode(log.path), _IN_MODIFY)
        if key >= 0:
            self._logs[key] = log
        return key

    def remove(self, key: int) -> None:
        """Watch it no more."""
        if self._logs.pop(key, None) is not None:
            _libc.inotify_rm_watch(self._fd, key)

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        for key in _keys(self._fd):
            if key in self._logs:
                self._logs[key].note()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        loop.call_later(_RESOLUTION_S, self._resume)

    def _resume(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().add_reader(self._fd, self._readable)


def _keys(fd: int) -> set[int]:
    try:
        data = os.read(fd, 1 << 16)
    except BlockingIOError:
        return set()
    keys, at = set(), 0
    while at < len(data):
        key, _, _, length = _HEAD.unpack_from(data, at)
        keys.add(key)
        at += _HEAD.size + length
    return keys
