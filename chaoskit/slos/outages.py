"""Stretches in which users were not served: found in requests, measured between limits. Pure; knows no objective and no cluster.

An outage opens at the first bad request of a stretch of `SLIDING_S` whose bad share exceeds what is allowed, and closes at the last bad
request after which every such stretch conforms for as long as it has to hold. A stray error later, or a flap before, does not move its
end, and a relapse does.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaoskit.slos.responses import Look

SLIDING_S = 1.0
"""The stretch over which the share of bad requests is taken, in seconds."""

HOLD_S = 5.0
"""How long every stretch has to conform for an outage to be over, in seconds."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The first and the last bad request of an outage, by intended start, and the good ones around it if there were any."""

    first_bad_ns: int
    last_bad_ns: int
    next_good_ns: int | None
    previous_good_ns: int | None = None

    @property
    def least_s(self) -> float:
        """It lasted at least so long: from the first to the last bad request."""
        return (self.last_bad_ns - self.first_bad_ns) / 1e9

    @property
    def most_s(self) -> float | None:
        """It lasted less than that: from the good request before to the good one after; None without the latter."""
        if self.next_good_ns is None:
            return None
        begin = self.first_bad_ns if self.previous_good_ns is None else self.previous_good_ns
        return (self.next_good_ns - begin) / 1e9


def outages_of(found: Look, allowed: float, hold_s: float = HOLD_S) -> list[Outage]:
    """The outages among the requests of a window; `allowed` is the bad share that a stretch may have."""
    times, bad = found.requests.intended_ns, found.bad
    if found.unsent and bad:
        unsent, kept = set(found.unsent), array("q")
        is_bad, places = set(bad), list[int]()
        for i, t in enumerate(times):
            if i not in unsent:
                if i in is_bad:
                    places.append(len(kept))
                kept.append(t)
        times, bad = kept, places
    return list(outages(times, bad, allowed, hold_s))


def outages(times: Sequence[int], bad: Sequence[int], allowed: float, hold_s: float = HOLD_S) -> Iterator[Outage]:
    """The outages among requests at these times, in order, of which those at the places `bad` failed."""
    hold_ns = round(hold_s * 1e9)
    first = last = -1
    for start, end in _bad_stretches(times, bad, allowed):
        if last >= 0 and times[start] - times[last] > hold_ns:
            yield _outage(times, bad, first, last)
            first = start
        first, last = (start if first < 0 else first), max(last, end)
    if last >= 0:
        yield _outage(times, bad, first, last)


def _bad_stretches(times: Sequence[int], bad: Sequence[int], allowed: float) -> Iterator[tuple[int, int]]:
    """The first and last bad place of each stretch that begins with a bad request and holds too many of them."""
    width = round(SLIDING_S * 1e9)
    last = 0
    for at, start in enumerate(bad):
        end = bisect_left(times, times[start] + width, start)
        last = max(last, at)
        while last + 1 < len(bad) and bad[last + 1] < end:
            last += 1
        if last - at + 1 > allowed * (end - start) + 1e-9:
            yield start, bad[last]


def _outage(times: Sequence[int], bad: Sequence[int], first: int, last: int) -> Outage:
    failed = bisect_left(bad, last)
    follows = last + 1 < len(times) and not (failed + 1 < len(bad) and bad[failed + 1] == last + 1)
    return Outage(
        times[first],
        times[last],
        times[last + 1] if follows else None,
        times[first - 1] if first > 0 else None,
    )
