"""One line of the journal and its codec. Encodes and decodes; never opens a file.

On disk: {"v":1,"seq":..,"t":..,"kind":"..","data":{..},"crc":"8 hex digits"} where crc is the CRC-32 of the line as it was without it.
Unknown kinds and fields are kept, never fatal.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from chaoskit.model.resource import Json

KINDS = (
    "run.began", "run.ended", "planned", "phase", "stage.intended", "step.done", "step.refused", "step.seen", "step.unseen",
    "step.gone", "step.lapsed", "step.undone", "gate", "guard", "feed.opened", "feed.gap", "seen", "traffic.began", "traffic.health", "traffic.ended", "clock",
)  # fmt: skip
"""The closed list of kinds this version writes."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `t_ns`: the loop's clock (CLOCK_MONOTONIC; virtual in tests)."""

    seq: int
    t_ns: int
    kind: str
    data: Mapping[str, Json]


class Journal(Protocol):
    """Append-only; the only evidence."""

    def note(self, kind: str, *, at_ns: int | None = None, **data: Json) -> Event:
        """Buffered; on disk within 0.5 s. `at_ns`: when it happened, if that was not now."""
        ...

    async def commit(self, kind: str, **data: Json) -> Event:
        """On disk when it returns, with all before it."""
        ...


def encode(event: Event, screened: Callable[[str], str] = str) -> bytes:
    """One line, newline included. `screened` may change what strings hold, nothing else of the text."""
    text = json.dumps(
        {"v": 1, "seq": event.seq, "t": event.t_ns, "kind": event.kind, "data": event.data},
        separators=(",", ":"),
        ensure_ascii=False,
    )
    body = screened(text).encode()
    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)


def decode(line: bytes) -> Event:
    """The reverse of `encode`. Raises ValueError for a torn or altered line."""
    head, found, tail = line.rstrip(b"\n").rpartition(b',"crc":"')
    if not found or len(tail) != 10 or tail[8:] != b'"}':
        raise ValueError("not a whole journal line")
    body = head + b"}"
    if zlib.crc32(body) != int(tail[:8], 16):
        raise ValueError("the journal line was altered")
    data = json.loads(body)
    return Event(data["seq"], data["t"], data["kind"], data["data"])


def decode_all(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events of a journal; stops without complaint at a torn last line. Raises ValueError when a line before the last is damaged."""
    damaged: tuple[int, ValueError] | None = None
    for number, line in enumerate(lines, 1):
        if damaged is not None:
            raise ValueError(f"journal line {damaged[0]}: {damaged[1]}") from damaged[1]
        try:
            event = decode(line)
        except ValueError as error:
            damaged = number, error
            continue
        yield event
