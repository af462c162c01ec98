"""Keeps the record of every request and puts it on file every 50 ms; counts, for the generator's own health.

The request greenlets only append to a list: a slow disk must not delay a request.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic_ns
from typing import Any

import gevent

from chaoskit.model.requests import DROPPED
from chaoskit.traffic.log import Row, Writer

FLUSH_EVERY_S = 0.05


class Recorder:
    """Rows on their way to the file, and the counts since the start. `planned` is what the timetable had due so far."""

    def __init__(self, folder: Path, process: int) -> None:
        self.planned = 0
        self.sent = 0
        self.completed = 0
        self.dropped = 0
        self._rows: list[Row] = []
        self._late_ns: list[int] = []
        self._stall_ns = 0
        self._writer = Writer(folder, process)

    def add(self, row: Row) -> None:
        """Record a request that was sent and has ended."""
        self.completed += 1
        self._rows.append(row)

    def drop(self, row: Row) -> None:
        """Record an arrival that was not sent, for want of a worker."""
        self.dropped += 1
        self._rows.append(row)

    def keep_flushing(self) -> None:
        """Put the rows on file, for ever. How much later than asked it is woken tells how long others held the processor."""
        while True:
            due_ns = monotonic_ns() + int(FLUSH_EVERY_S * 1e9)
            gevent.sleep(FLUSH_EVERY_S)
            self._stall_ns = max(self._stall_ns, monotonic_ns() - due_ns)
            self.flush()

    def flush(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._late_ns += [row.start_ns - row.intended_ns for row in rows if row.error != DROPPED]
            self._writer.write(rows)

    def health(self) -> dict[str, Any]:
        """The counts so far; lateness and stall of the time since the last call."""
        self.flush()
        late, self._late_ns = sorted(self._late_ns), []
        stall_ns, self._stall_ns = self._stall_ns, 0
        sent = max(self.sent, self.completed)  # a user's own kind of client reports only what has ended
        return {
            "t_ns": monotonic_ns(),
            "planned": max(self.planned, sent + self.dropped),
            "sent": sent,
            "completed": self.completed,
            "dropped": self.dropped,
            "in_flight": sent - self.completed,
            "late_p50_ms": _quantile_ms(late, 0.50),
            "late_p99_ms": _quantile_ms(late, 0.99),
            "late_max_ms": _quantile_ms(late, 1.0),
            "stall_ms": round(stall_ns / 1e6, 3),
        }


def _quantile_ms(ordered_ns: list[int], share: float) -> float:
    if not ordered_ns:
        return 0.0
    return round(ordered_ns[min(len(ordered_ns) - 1, int(share * len(ordered_ns)))] / 1e6, 3)
