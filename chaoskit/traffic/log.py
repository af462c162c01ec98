"""The request log: what the traffic did, one fixed record a request, written by the child and read by anyone.

Writes and reads files of one folder. Knows no network, no Locust and no verdict; the writer runs inside the child, the readers outside.

A folder holds `requests.bin`, a 64-byte header and then records of 48 bytes, and `requests.strings.jsonl`, the texts to which the records
refer by number (0 is "unknown"). Further processes write `requests.1.bin` and so on beside them. Texts are written before the first record
that refers to them and records are appended only, so any prefix of the files is valid: whatever a crash leaves can be read.

With numpy: `numpy.fromfile("requests.bin", dtype=DTYPE, offset=HEADER_BYTES)`.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from chaoskit.model.errors import CouldNotRun
from chaoskit.model.requests import STRING_COLUMNS, Column, Requests

MAGIC = b"CKREQ1\0\0"
HEADER_BYTES = 64
RECORD_BYTES = 48
RECORD = struct.Struct("<QqqqHHHHHHHH")
DTYPE = [
    ("seq", "<u8"),
    ("intended_ns", "<i8"),
    ("start_ns", "<i8"),
    ("end_ns", "<i8"),
    *((name, "<u2") for name in ("status", "error", "pod", "version", "node", "endpoint", "policy", "uses")),
]
"""The layout of a record for numpy: field names and types, in order."""

_HEADER = struct.pack("<8sI", MAGIC, RECORD_BYTES).ljust(HEADER_BYTES, b"\0")
_AT_ONCE = RECORD_BYTES << 16
"""How many bytes are taken in at once: a large log is not held three times over while it is read."""
_LONGS = ("seq", "intended_ns", "start_ns", "end_ns")
_SHORTS = ("status", "error", "pod", "version", "node", "endpoint", "policy", "uses")
_TEXTS = 65_536  # what a 16-bit number can tell apart; further texts count as unknown
_TEXT_LENGTH = 256


class Row(NamedTuple):
    """One request as the child knows it, texts still as texts. The fields are those of `model.requests.Request`."""

    seq: int
    intended_ns: int
    start_ns: int
    end_ns: int
    status: int
    error: str
    pod: str
    version: str
    node: str
    endpoint: str
    policy: str
    uses: int


def paths_of(folder: Path, process: int = 0) -> tuple[Path, Path]:
    """The record file and the text file of the n-th process of a run."""
    stem = "requests" if process == 0 else f"requests.{process}"
    return folder / f"{stem}.bin", folder / f"{stem}.strings.jsonl"


class Writer:
    """Appends rows to a new log; every batch is one write. Not safe for use from two threads or greenlets at once."""

    def __init__(self, folder: Path, process: int = 0) -> None:
        records, texts = paths_of(folder, process)
        self._records = os.open(records, _NEW, 0o600)
        self._texts = os.open(texts, _NEW, 0o600)
        self._numbers: dict[Column, dict[str, int]] = {column: {"": 0} for column in STRING_COLUMNS}
        self._lines: list[bytes] = []
        _write_all(self._records, _HEADER)

    def write(self, rows: Iterable[Row]) -> None:
        """Put the rows on file: first the texts that are new, then the records."""
        batch = b"".join(map(self._packed, rows))
        if self._lines:
            _write_all(self._texts, b"".join(self._lines))
            self._lines.clear()
        _write_all(self._records, batch)

    def close(self) -> None:
        os.close(self._records)
        os.close(self._texts)

    def _packed(self, row: Row) -> bytes:
        seq, intended_ns, start_ns, end_ns, status, error, pod, version, node, endpoint, policy, uses = row
        number = self._number
        return RECORD.pack(
            seq,
            intended_ns,
            start_ns,
            end_ns,
            status if 0 <= status <= 65_535 else 0,
            number("error", error),
            number("pod", pod),
            number("version", version),
            number("node", node),
            number("endpoint", endpoint),
            number("policy", policy),
            min(uses, 65_535),
        )

    def _number(self, column: Column, text: str) -> int:
        known = self._numbers[column].get(text)
        return self._enter(column, text) if known is None else known

    def _enter(self, column: Column, text: str) -> int:
        """Number a new text. Its line waits for the next write; when the numbers run out it is unknown."""
        numbers = self._numbers[column]
        short = text[:_TEXT_LENGTH]
        if short not in numbers:
            if len(numbers) >= _TEXTS:
                return 0
            numbers[short] = len(numbers)
            line = {"column": column, "index": numbers[short], "value": short}
            self._lines.append(json.dumps(line).encode() + b"\n")
        return numbers[short]


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_requests(folder: Path) -> Requests:
    """All requests of a run, in the order in which they ended; `ordered()` sorts them. A torn last record is left out.

    A folder without a log gives no requests. Raises CouldNotRun for a file that is not a request log.
    """
    return Tail(folder).new()


class Tail:
    """Follows the growing log of a run. Each call of `new` gives the requests written since the call before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, _LogFile] = {}
        self._tables = Requests().tables

    def new(self) -> Requests:
        """The requests since the last call, all of them the first time; their text tables are shared and only ever grow."""
        self._find_files()
        found = Requests(tables=self._tables)
        for file in self._files.values():
            file.read_into(found)
        return found

    def _find_files(self) -> None:
        for path in sorted(self._folder.glob("requests*.bin")):
            if path not in self._files:
                self._files[path] = _LogFile(path)


class _LogFile:
    """How far one file was read, and what its numbers mean in the common tables."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._texts_path = path.with_suffix(".strings.jsonl")
        self._texts_offset = 0
        self._meaning: dict[Column, list[int]] = {column: [0] for column in STRING_COLUMNS}

    def read_into(self, found: Requests) -> None:
        while data := self._new_records():
            self._append(data, found)

    def _append(self, data: bytes, found: Requests) -> None:
        self._read_texts(found)  # after the records: every text they refer to is on file by now
        longs, shorts = array("q"), array("H")
        longs.frombytes(data)
        shorts.frombytes(data)
        if sys.byteorder == "big":
            longs.byteswap()
            shorts.byteswap()
        for i, name in enumerate(_LONGS):
            getattr(found, name).extend(longs[i :: len(_LONGS) + 2])
        for i, name in enumerate(_SHORTS, start=16):
            getattr(found, name).extend(self._translated(name, shorts[i::24]))

    def _new_records(self) -> bytes:
        if self._offset == 0 and not self._has_header():
            return b""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            size = os.fstat(file.fileno()).st_size - self._offset
            data = file.read(min(size - size % RECORD_BYTES, _AT_ONCE))
        self._offset += len(data)
        return data

    def _has_header(self) -> bool:
        with self._path.open("rb") as file:
            header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return False
        if header != _HEADER:
            raise CouldNotRun(f"{self._path} is not a request log of this version of chaoskit: its header is unknown")
        self._offset = HEADER_BYTES
        return True

    def _read_texts(self, found: Requests) -> None:
        if not self._texts_path.exists():
            return
        with self._texts_path.open("rb") as file:
            file.seek(self._texts_offset)
            whole = file.read().rpartition(b"\n")[0]
        self._texts_offset += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            entry = json.loads(line)
            meaning = self._meaning[entry["column"]]
            meaning.extend([0] * (entry["index"] + 1 - len(meaning)))
            meaning[entry["index"]] = found.index(entry["column"], entry["value"])

    def _translated(self, name: str, numbers: array[int]) -> Sequence[int]:
        if name not in self._meaning:
            return numbers
        meaning = self._meaning[name]
        highest = max(numbers, default=0)
        if highest >= len(meaning):
            meaning = meaning + [0] * (highest + 1 - len(meaning))  # its text was lost: unknown
        if meaning == list(range(len(meaning))):
            return numbers
        return array("H", map(meaning.__getitem__, numbers))
