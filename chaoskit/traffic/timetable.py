"""When the next request is due and on which kind of connection: one seeded timetable for all processes of a run.

Pure. The process that sends and whoever checks it afterwards compute the same arrivals.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import accumulate, islice
from typing import Literal, NamedTuple

Arrivals = Literal["constant", "poisson"]


class Arrival(NamedTuple):
    """One request to be sent. `after_ns` counts from the start of the traffic."""

    seq: int
    after_ns: int
    policy: str


def timetable(rate_per_s: float, arrivals: Arrivals, policies: Mapping[str, float], seed: int) -> Iterator[Arrival]:
    """All arrivals, without end: evenly spaced, or with exponential gaps of the same mean (a Poisson process).

    The policy of each is drawn by its share, not in turns: taking turns would keep step with a balancer that does the same.
    """
    times = _even(rate_per_s) if arrivals == "constant" else _poisson(rate_per_s, random.Random(f"{seed}/times"))
    names, heights = list(policies), list(accumulate(policies.values()))
    draw = random.Random(f"{seed}/policies").choices
    for seq, after_ns in enumerate(times):
        yield Arrival(seq, after_ns, draw(names, cum_weights=heights)[0])


def share_of(arrivals: Iterator[Arrival], process: int, processes: int) -> Iterator[Arrival]:
    """Every n-th arrival: together the processes keep the one timetable."""
    return islice(arrivals, process, None, processes)


def _even(rate_per_s: float) -> Iterator[int]:
    seq = 0
    while True:
        yield round(seq * 1e9 / rate_per_s)  # from the start, not from the arrival before: errors do not add up
        seq += 1


def _poisson(rate_per_s: float, rng: random.Random) -> Iterator[int]:
    at_s = rng.expovariate(rate_per_s)
    while True:
        yield round(at_s * 1e9)
        at_s += rng.expovariate(rate_per_s)
