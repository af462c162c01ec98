"""When the next request is due, which kind it is and on which kind of connection: one seeded timetable for all processes of a run.

Pure. The process that sends and whoever checks it afterwards compute the same arrivals.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from typing import Literal, NamedTuple, TypeVar

Arrivals = Literal["constant", "poisson"]
T = TypeVar("T")


class Arrival(NamedTuple):
    """One request to be sent. `after_ns` counts from the start of the traffic; `kind` is the number of the request kind."""

    seq: int
    after_ns: int
    policy: str
    kind: int = 0


def timetable(
    rate_per_s: float, arrivals: Arrivals, policies: Mapping[str, float], seed: int, weights: Sequence[float] = (1.0,)
) -> Iterator[Arrival]:
    """All arrivals, without end: evenly spaced, or with exponential gaps of the same mean (a Poisson process).

    Policy and kind of each are drawn by their shares, not in turns: taking turns would keep step with a balancer that does the same.
    """
    times = _even(rate_per_s) if arrivals == "constant" else _poisson(rate_per_s, random.Random(f"{seed}/times"))
    policy = _draw(list(policies), list(policies.values()), random.Random(f"{seed}/policies"))
    kind = _draw(range(len(weights)), weights, random.Random(f"{seed}/kinds"))
    for seq, after_ns in enumerate(times):
        yield Arrival(seq, after_ns, policy(), kind())


def share_of(arrivals: Iterator[Arrival], process: int, processes: int) -> Iterator[Arrival]:
    """Every n-th arrival: together the processes keep the one timetable."""
    return islice(arrivals, process, None, processes)


def _draw(values: Sequence[T], weights: Sequence[float], rng: random.Random) -> Callable[[], T]:
    """One of the values by its weight at each call. What random.choices does, for one value and without its checks: it is in the hot path."""
    if len(values) == 1:
        only = values[0]
        return lambda: only
    heights, last = list(accumulate(weights)), len(values) - 1
    total, uniform = heights[-1], rng.random
    return lambda: values[bisect(heights, uniform() * total, 0, last)]


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
