"""Requests as columns: what the traffic did, one entry a request. Holds and slices; never judges and never reads a file.

All times are nanoseconds of the monotonic clock of the machine that ran the traffic (CLOCK_MONOTONIC, shared by all its processes).
A string column holds indexes into its table; index 0 is "unknown".
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter, le
from typing import Literal

from chaoskit.model.verdict import Window

Column = Literal["pod", "version", "node", "endpoint", "policy", "error"]
STRING_COLUMNS: tuple[Column, ...] = ("pod", "version", "node", "endpoint", "policy", "error")

DROPPED = "generator.dropped"
"""The error of an arrival that found no free worker: the generator's fault, not the service's."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `intended_ns` is when the timetable wanted it sent; `latency_s` counts from there, so an outage is not under-counted."""

    seq: int
    intended_ns: int
    start_ns: int
    end_ns: int
    status: int  # HTTP status, or 0 when there was no complete response
    error: str = ""  # "" or class.phase: refused.connect, reset.body, timeout.first-byte, ...; DROPPED; generator.*
    pod: str = ""
    version: str = ""
    node: str = ""
    endpoint: str = ""
    policy: str = ""  # fresh | reuse | closed (a user's locustfile)
    uses: int = 1  # how often the connection had been used, this request included

    @property
    def latency_s(self) -> float:
        return (self.end_ns - self.intended_ns) / 1e9


def _times() -> array[int]:
    return array("q")


def _indexes() -> array[int]:
    return array("H")


def _tables() -> dict[Column, list[str]]:
    return {column: [""] for column in STRING_COLUMNS}


@dataclass(slots=True)
class Requests:
    """Columns of equal length, in the order of intended start where that is asked for. `within`, `only` and `by` give new, smaller columns."""

    seq: array[int] = field(default_factory=_times)
    intended_ns: array[int] = field(default_factory=_times)
    start_ns: array[int] = field(default_factory=_times)
    end_ns: array[int] = field(default_factory=_times)
    status: array[int] = field(default_factory=_indexes)
    error: array[int] = field(default_factory=_indexes)
    pod: array[int] = field(default_factory=_indexes)
    version: array[int] = field(default_factory=_indexes)
    node: array[int] = field(default_factory=_indexes)
    endpoint: array[int] = field(default_factory=_indexes)
    policy: array[int] = field(default_factory=_indexes)
    uses: array[int] = field(default_factory=_indexes)
    tables: dict[Column, list[str]] = field(default_factory=_tables)

    def __len__(self) -> int:
        return len(self.seq)

    def __iter__(self) -> Iterator[Request]:
        return (self.row(i) for i in range(len(self)))

    def row(self, i: int) -> Request:
        """The i-th request as a value."""
        text = {column: self.tables[column][getattr(self, column)[i]] for column in STRING_COLUMNS}
        return Request(
            self.seq[i],
            self.intended_ns[i],
            self.start_ns[i],
            self.end_ns[i],
            self.status[i],
            uses=self.uses[i],
            **text,
        )

    def append(self, request: Request) -> None:
        """Add one request given as a value (tests and small logs; the request log extends the columns directly)."""
        self.seq.append(request.seq)
        self.intended_ns.append(request.intended_ns)
        self.start_ns.append(request.start_ns)
        self.end_ns.append(request.end_ns)
        self.status.append(request.status)
        self.uses.append(min(request.uses, 65535))
        for column in STRING_COLUMNS:
            getattr(self, column).append(self.index(column, getattr(request, column)))

    def index(self, column: Column, value: str) -> int:
        """The index of a string in its table, added when new."""
        table = self.tables[column]
        try:
            return table.index(value)
        except ValueError:
            table.append(value)
            return len(table) - 1

    def extend(self, more: Requests) -> None:
        """Add all requests of `more`, whose tables may differ from ours."""
        for name in _NUMBERS:
            self._column(name).extend(more._column(name))
        for column in STRING_COLUMNS:
            if more.tables is self.tables:
                self._column(column).extend(more._column(column))
                continue
            translate = [self.index(column, value) for value in more.tables[column]]
            self._column(column).extend(translate[i] for i in more._column(column))

    def ordered(self) -> Requests:
        """The same requests by intended start; these themselves when they are so already."""
        if all(map(le, self.intended_ns, islice(self.intended_ns, 1, None))):
            return self
        if len(self) <= _BLOCK:
            return self._take(sorted(range(len(self)), key=self.intended_ns.__getitem__))
        # A log is in the order in which requests ended: nearly sorted. Block by block that takes little time and no second copy of everything.
        taken = Requests(tables=self.tables)
        for begin in range(0, len(self), _BLOCK):
            taken.add_in_order(self._slice(begin, min(begin + _BLOCK, len(self))))
        return taken

    def add_in_order(self, more: Requests) -> None:
        """Add requests to ordered ones and keep the order. Cheap where they are among the latest, as what has just ended is."""
        if not len(more):
            return
        place = bisect_left(self.intended_ns, min(more.intended_ns))
        tail = self._slice(place, len(self))
        tail.extend(more)
        tail = tail._take(sorted(range(len(tail)), key=tail.intended_ns.__getitem__))
        for name in _ARRAYS:
            column = self._column(name)
            del column[place:]
            column.extend(tail._column(name))

    def within(self, window: Window) -> Requests:
        """Requests whose intended start lies in the half-open window. Needs `ordered` columns."""
        low = bisect_left(self.intended_ns, window.start_ns)
        high = bisect_left(self.intended_ns, window.end_ns)
        return self if (low, high) == (0, len(self)) else self._slice(low, high)

    def ended_before(self, t_ns: int) -> Requests:
        """Those that had ended by then, in order."""
        if max(self.end_ns, default=t_ns - 1) < t_ns:
            return self
        return self._take([i for i, end in enumerate(self.end_ns) if end < t_ns])

    def only(self, column: Column, value: str) -> Requests:
        """Those with that value in a string column, in order."""
        if value not in self.tables[column]:
            return Requests(tables=self.tables)
        wanted, found = self.tables[column].index(value), self._column(column)
        if found.count(wanted) == len(self):
            return self
        return self._take([i for i, index in enumerate(found) if index == wanted])

    def by(self, column: Column) -> Mapping[str, Requests]:
        """The requests of each value of a string column, in order; the unknown under ""."""
        groups: dict[int, list[int]] = {}
        for i, index in enumerate(getattr(self, column)):
            groups.setdefault(index, []).append(i)
        return {self.tables[column][index]: self._take(rows) for index, rows in groups.items()}

    def text(self, column: Column, i: int) -> str:
        """The value of a string column in row i."""
        table = self.tables[column]
        return table[self._column(column)[i]]

    def _column(self, name: str) -> array[int]:
        column: array[int] = getattr(self, name)
        return column

    def _slice(self, low: int, high: int) -> Requests:
        cut = Requests(tables=self.tables)
        for name in _ARRAYS:
            setattr(cut, name, self._column(name)[low:high])
        return cut

    def _take(self, rows: Sequence[int]) -> Requests:
        taken = Requests(tables=self.tables)
        if len(rows) < 2:  # itemgetter gives a tuple for two and more only
            for name in _ARRAYS:
                setattr(taken, name, array(self._column(name).typecode, [self._column(name)[i] for i in rows]))
            return taken
        pick = itemgetter(*rows)
        for name in _ARRAYS:
            old = self._column(name)
            same = len(rows) == len(old) and old.count(old[0]) == len(old)  # many columns hold one value throughout
            setattr(taken, name, old[:] if same else array(old.typecode, pick(old)))
        return taken


_BLOCK = 1 << 15
"""How many requests are put in order at once."""

_NUMBERS = ("seq", "intended_ns", "start_ns", "end_ns", "status", "uses")
_ARRAYS = (*_NUMBERS, *STRING_COLUMNS)
