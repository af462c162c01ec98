"""The timetable: the same seed gives the same arrivals, at the rate and in the shares that were asked for."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest

from chaoskit.traffic.timetable import Arrivals, share_of, timetable

HALVES = {"fresh": 0.5, "reuse": 0.5}


def test_constant_arrivals_are_evenly_spaced_and_do_not_drift() -> None:
    arrivals = list(islice(timetable(3.0, "constant", HALVES, 0), 30_001))
    assert [a.after_ns for a in arrivals[:4]] == [0, 333_333_333, 666_666_667, 1_000_000_000]
    assert arrivals[-1].after_ns == 10_000 * 10**9


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_the_same_seed_gives_the_same_timetable_and_another_seed_another(arrivals: Arrivals) -> None:
    first, again, other = (list(islice(timetable(50.0, arrivals, HALVES, seed), 500)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_poisson_arrivals_come_at_the_rate_with_gaps_that_vary_as_much_as_their_mean() -> None:
    times = [a.after_ns / 1e9 for a in islice(timetable(100.0, "poisson", HALVES, 1), 20_000)]
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.01, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.05)


def test_the_policies_have_their_shares() -> None:
    drawn = Counter(a.policy for a in islice(timetable(100.0, "constant", {"fresh": 0.2, "reuse": 0.8}, 3), 20_000))
    assert drawn["fresh"] / 20_000 == pytest.approx(0.2, abs=0.01)
    assert set(drawn) == {"fresh", "reuse"}


def test_processes_share_one_timetable_without_gap_or_overlap() -> None:
    def whole() -> list[int]:
        return [a.after_ns for a in islice(timetable(70.0, "poisson", HALVES, 5), 300)]

    parts = [list(islice(share_of(timetable(70.0, "poisson", HALVES, 5), i, 3), 100)) for i in range(3)]
    together = sorted((arrival for part in parts for arrival in part), key=lambda arrival: arrival.seq)
    assert [arrival.after_ns for arrival in together] == whole()
