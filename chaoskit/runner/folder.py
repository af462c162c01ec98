"""The run folder: writes the journal while the run lasts, reads everything back afterwards. Interprets nothing.

    journal.jsonl           the evidence (model/event.py)
    requests.bin, requests.strings.jsonl    the request log (traffic/log.py)
    experiment.yaml         the file as it was
    verdict.json, report.html

The folder is 0700 and its files 0600: they tell what runs where.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from chaoskit.model.errors import UsageError
from chaoskit.model.event import Event, decode_all, encode
from chaoskit.model.history import History
from chaoskit.model.resource import Json
from chaoskit.runner.redact import UNSCREENED, clean
from chaoskit.traffic.log import read_requests

JOURNAL = "journal.jsonl"
EXPERIMENT = "experiment.yaml"
VERDICT = "verdict.json"
REPORT = "report.html"
CONTROL = "control"
"""The folder within, with the request log of the control if there is one."""

FLUSH_S = 0.2


def create_folder(path: Path) -> Path:
    """A new, empty run folder. Raises UsageError when something is there already."""
    try:
        path.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        raise UsageError(
            f"{path} exists already; name another --run-dir, so that no earlier evidence is overwritten"
        ) from None
    return path


class FileJournal:
    """The journal on disk. `listeners` hear each event at once, before it is on disk."""

    def __init__(self, descriptor: int, now_ns: Callable[[], int]) -> None:
        self.listeners: list[Callable[[Event], None]] = []
        self._descriptor = descriptor
        self._now_ns = now_ns
        self._seq = 0
        self._pending: list[bytes] = []
        # One thread of its own: a commit must never queue behind somebody else's blocking call.
        self._disk = ThreadPoolExecutor(1, "journal")

    def note(self, kind: str, *, at_ns: int | None = None, **data: Json) -> Event:
        """Buffered; on disk within `FLUSH_S`."""
        event = Event(self._seq, self._now_ns() if at_ns is None else at_ns, kind, data)
        self._seq += 1
        self._pending.append(encode(event, str if kind in UNSCREENED else clean))
        for listen in self.listeners:
            listen(event)
        return event

    async def commit(self, kind: str, **data: Json) -> Event:
        """On disk when it returns, with all before it."""
        event = self.note(kind, **data)
        await asyncio.get_running_loop().run_in_executor(self._disk, self._write, self._taken(), True)
        return event

    async def keep_flushing(self) -> None:
        """Write what was noted every `FLUSH_S` until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await asyncio.get_running_loop().run_in_executor(self._disk, self._write, self._taken(), False)

    def close(self) -> None:
        """Write and sync what is left."""
        self._disk.submit(self._write, self._taken(), True).result()
        self._disk.shutdown()
        os.close(self._descriptor)

    def _taken(self) -> bytes:
        taken, self._pending = b"".join(self._pending), []
        return taken

    def _write(self, data: bytes, durable: bool) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]
        if durable:
            os.fsync(self._descriptor)


def loop_ns() -> int:
    """The running loop's clock in nanoseconds: CLOCK_MONOTONIC, or virtual in tests."""
    return round(asyncio.get_running_loop().time() * 1e9)


@asynccontextmanager
async def open_journal(folder: Path, now_ns: Callable[[], int] = loop_ns) -> AsyncIterator[FileJournal]:
    """The journal of a new run; closed and synced however the block is left."""
    descriptor = os.open(folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    _sync_directory(folder)
    journal = FileJournal(descriptor, now_ns)
    flushing = asyncio.create_task(journal.keep_flushing())
    try:
        yield journal
    finally:
        flushing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flushing
        journal.close()


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_events(folder: Path) -> list[Event]:
    """The events of a saved run; a torn last line is ignored. Raises UsageError when there is none or it was altered."""
    try:
        with (folder / JOURNAL).open("rb") as lines:
            return list(decode_all(lines))
    except FileNotFoundError:
        raise UsageError(f"{folder} is no run folder: it has no {JOURNAL}") from None
    except ValueError as error:
        raise UsageError(f"{folder / JOURNAL}: {error}") from None


def read_history(folder: Path) -> History:
    """All that a saved run knows, ready to be judged."""
    control = folder / CONTROL
    history = History(
        requests=read_requests(folder).ordered(), control=read_requests(control).ordered() if control.is_dir() else None
    )
    for event in read_events(folder):
        history.add(event)
    return history


def write_private(path: Path, text: str) -> None:
    """A file that only this user may read, replaced as a whole."""
    draft = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(clean(text))
    draft.replace(path)
