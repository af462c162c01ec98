"""The request log in other forms: ndjson, csv, sqlite; one row a request, texts as texts. Reads nothing and judges nothing; writes what it is given."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from chaoskit.model.requests import Request, Requests

Form = Literal["ndjson", "csv", "sqlite"]
COLUMNS = (
    "seq",
    "intended_at",
    "latency_ms",
    "status",
    "error",
    "endpoint",
    "policy",
    "pod",
    "version",
    "node",
    "uses",
    "intended_ns",
    "start_ns",
    "end_ns",
)
"""The fields of a row, in order. `intended_at` is the intended start by the wall clock (ISO 8601, UTC), null where that is not known."""


@dataclass(frozen=True, slots=True)
class Clock:
    """One moment by both clocks: epoch seconds, and nanoseconds of the monotonic clock of the log."""

    wall_s: float
    mono_ns: int

    def at(self, mono_ns: int) -> str:
        moment = datetime.fromtimestamp(self.wall_s + (mono_ns - self.mono_ns) / 1e9, UTC)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def rows(requests: Requests, clock: Clock | None) -> Iterator[tuple[Any, ...]]:
    """Each request as the values of COLUMNS."""
    return (_row(request, clock) for request in requests)


def _row(request: Request, clock: Clock | None) -> tuple[Any, ...]:
    return (
        request.seq,
        None if clock is None else clock.at(request.intended_ns),
        round(request.latency_s * 1000, 3),
        request.status,
        request.error,
        request.endpoint,
        request.policy,
        request.pod,
        request.version,
        request.node,
        request.uses,
        request.intended_ns,
        request.start_ns,
        request.end_ns,
    )


def write_ndjson(requests: Requests, clock: Clock | None, file: IO[str]) -> None:
    """One JSON object a line."""
    for row in rows(requests, clock):
        file.write(json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False) + "\n")


def write_csv(requests: Requests, clock: Clock | None, file: IO[str]) -> None:
    """A line of names, then a line a request, as RFC 4180 has it. What is null is empty."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows(rows(requests, clock))


def write_sqlite(requests: Requests, clock: Clock | None, path: Path) -> None:
    """A new database with one table, `requests`, indexed by intended start. Raises sqlite3.Error."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE requests ({', '.join(map(_declared, COLUMNS))})")
        marks = ", ".join("?" * len(COLUMNS))
        database.executemany(f"INSERT INTO requests VALUES ({marks})", rows(requests, clock))  # noqa: S608  # marks only
        database.execute("CREATE INDEX by_intended_ns ON requests (intended_ns)")


_TEXTS = frozenset({"intended_at", "error", "endpoint", "policy", "pod", "version", "node"})


def _declared(column: str) -> str:
    kind = "TEXT" if column in _TEXTS else "REAL" if column == "latency_ms" else "INTEGER"
    return f"{column} {kind}"
