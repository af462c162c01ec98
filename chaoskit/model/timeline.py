"""Values over time, piecewise constant, and counts over many of them. Pure; times are nanoseconds of the monotonic clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chaoskit.model.verdict import Window

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span(Generic[T]):
    """A stretch over which a timeline had one value, cut to the window asked for."""

    start_ns: int
    end_ns: int
    value: T

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(slots=True)
class Timeline(Generic[T]):
    """A value that changes at known times and is unknown before the first. Changes must be added in order of time."""

    times: list[int] = field(default_factory=list)
    values: list[T] = field(default_factory=list)

    def add(self, t_ns: int, value: T) -> None:
        """From `t_ns` on the value is this. A second value at the same time replaces the first."""
        if self.times and self.times[-1] == t_ns:
            self.values[-1] = value
            return
        self.times.append(t_ns)
        self.values.append(value)

    def at(self, t_ns: int) -> T | None:
        """The value at a time; None before the first change."""
        i = bisect_right(self.times, t_ns) - 1
        return self.values[i] if i >= 0 else None

    def changes(self) -> Iterator[tuple[int, T]]:
        return zip(self.times, self.values, strict=True)

    def spans(self, holds: Callable[[T], bool], window: Window) -> Sequence[Span[T]]:
        """The stretches within the window over which the predicate holds; neighbours that both hold are joined, with the first value."""
        joined: list[Span[T]] = []
        for piece in self._pieces(window):
            if not holds(piece.value):
                continue
            if joined and joined[-1].end_ns == piece.start_ns:
                joined[-1] = Span(joined[-1].start_ns, piece.end_ns, joined[-1].value)
            else:
                joined.append(piece)
        return joined

    def first(self, holds: Callable[[T], bool], from_ns: int, to_ns: int | None = None) -> int | None:
        """The earliest time from `from_ns` on (before `to_ns`) at which the predicate holds, or None."""
        end = to_ns if to_ns is not None else max(from_ns, self.times[-1] if self.times else from_ns) + 1
        found = self.spans(holds, Window("", 0, from_ns, end))
        return found[0].start_ns if found else None

    def _pieces(self, window: Window) -> Iterator[Span[T]]:
        for i, (start, value) in enumerate(self.changes()):
            end = self.times[i + 1] if i + 1 < len(self.times) else window.end_ns
            low, high = max(start, window.start_ns), min(end, window.end_ns)
            if low < high:
                yield Span(low, high, value)


@dataclass(slots=True)
class Census(Generic[T]):
    """One timeline per object, by uid; None in it means the object is not there."""

    timelines: dict[str, Timeline[T | None]] = field(default_factory=dict)

    def record(self, uid: str, t_ns: int, value: T | None) -> None:
        self.timelines.setdefault(uid, Timeline()).add(t_ns, value)

    def each(self) -> Mapping[str, Timeline[T | None]]:
        return self.timelines

    def count(self, holds: Callable[[T], bool]) -> Timeline[int]:
        """How many objects the predicate holds for, over time; a sweep over all transitions."""
        counted: Timeline[int] = Timeline()
        total = 0
        for t_ns, delta in sorted(self._deltas(holds), key=lambda change: change[0]):
            total += delta
            counted.add(t_ns, total)
        return counted

    def at(self, t_ns: int) -> Sequence[T]:
        """The objects that were there at a time."""
        found = (timeline.at(t_ns) for timeline in self.timelines.values())
        return [value for value in found if value is not None]

    def only(self, keep: Callable[[T], bool]) -> Census[T]:
        """The objects whose every known state the predicate keeps at least once."""
        return Census(
            {uid: line for uid, line in self.timelines.items() if any(v is not None and keep(v) for v in line.values)}
        )

    def _deltas(self, holds: Callable[[T], bool]) -> Iterator[tuple[int, int]]:
        for timeline in self.timelines.values():
            yield from _transitions(timeline.changes(), holds)


def _transitions(changes: Iterable[tuple[int, T | None]], holds: Callable[[T], bool]) -> Iterator[tuple[int, int]]:
    before = False
    for t_ns, value in changes:
        now = value is not None and holds(value)
        if now != before or not before:
            # A first, non-matching state still yields a zero: from then on the count is known.
            yield t_ns, int(now) - int(before)
        before = now
