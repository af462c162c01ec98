"""recoveredWithin: outages, their end, and what a stray error must not do."""

from __future__ import annotations

import random

import pytest

from chaoskit.model.verdict import Grade
from chaoskit.slos import from_value, parse_slo
from chaoskit.slos.judging import judged
from chaoskit.slos.outages import Outage, outages
from tests.histories import Told, kill, ns

FIVE = parse_slo("recoveredWithin 5s")


def killed_at_10(**phases: float) -> Told:
    return (
        Told()
        .phases(**{"baseline": 0, "inject": 10, "revert": 20, "settle": 20, "ended": 30, **phases})
        .done_and_seen(10, kill("a"))
    )


def test_an_outage_that_ends_in_time_passes_with_its_interval() -> None:
    finding = judged(FIVE, killed_at_10().traffic(0, 30, bad=lambda t: 10.5 <= t < 12).history())
    assert finding.grade is Grade.PASS
    assert finding.measured == pytest.approx(1.99)
    assert finding.interval == pytest.approx((1.99, 2.0))
    assert finding.because == "recovered 1.99 s after the first mutation, allowed 5 s; 1 outage, the longest 1.49 s"


def test_an_outage_that_lasts_too_long_fails() -> None:
    finding = judged(FIVE, killed_at_10().traffic(0, 30, bad=lambda t: 10 <= t < 18).history())
    assert finding.grade is Grade.FAIL
    assert finding.measured == pytest.approx(7.99)


def test_a_relapse_is_part_of_the_outage() -> None:
    told = killed_at_10().traffic(0, 30, bad=lambda t: 10 <= t < 11 or 16 <= t < 16.2)
    assert judged(FIVE, told.history()).grade is Grade.FAIL


def test_a_stray_error_later_does_not_move_the_recovery() -> None:
    told = killed_at_10().traffic(0, 30, bad=lambda t: 10 <= t < 11 or t == 24.0)
    finding = judged(FIVE, told.history())
    assert finding.grade is Grade.PASS
    assert finding.measured == pytest.approx(0.99)


def test_no_outage_is_no_time() -> None:
    finding = judged(FIVE, killed_at_10().traffic(0, 30, bad=lambda t: t == 15.0).history())
    assert (finding.grade, finding.measured) == (Grade.PASS, 0.0)
    assert finding.because.startswith("no outage")


def test_an_outage_before_the_first_mutation_is_not_ours() -> None:
    assert judged(FIVE, killed_at_10().traffic(0, 30, bad=lambda t: 2 <= t < 9).history()).measured == 0.0


def test_a_recovery_that_was_not_sustained_when_the_window_ended_is_inconclusive() -> None:
    finding = judged(FIVE, killed_at_10(ended=14).traffic(0, 14, bad=lambda t: 10 <= t < 12).history())
    assert finding.grade is Grade.INCONCLUSIVE
    assert "5 s are needed" in finding.because


def test_an_outage_that_lasts_at_the_end_fails_once_the_limit_has_passed() -> None:
    finding = judged(FIVE, killed_at_10().traffic(0, 30, bad=lambda t: t >= 10).history())
    assert finding.grade is Grade.FAIL
    assert finding.because == "not recovered 20 s after the first mutation, allowed 5 s"


def test_too_few_requests_are_inconclusive() -> None:
    assert judged(FIVE, killed_at_10().traffic(0, 30, rate=4).history()).grade is Grade.INCONCLUSIVE


def split(answered: list[tuple[int, bool]]) -> tuple[list[int], list[int]]:
    return [t for t, _ in answered], [i for i, (_, good) in enumerate(answered) if not good]


def test_a_third_of_the_requests_failing_is_found_to_the_truth() -> None:
    rng = random.Random(7)
    for _ in range(50):
        end = 12 + rng.random()
        answered = [(ns(i / 200), not (2000 <= i < end * 200 and rng.random() < 1 / 3)) for i in range(6000)]
        found = list(outages(*split(answered), 0.01))
        assert len(found) == 1
        assert abs(found[0].last_bad_ns / 1e9 - end) < 0.15


def test_outages_further_apart_than_the_hold_are_two() -> None:
    answered = [(ns(i / 100), not (100 <= i < 200 or 1000 <= i < 1050)) for i in range(2000)]
    assert list(outages(*split(answered), 0.01)) == [
        Outage(ns(1.0), ns(1.99), ns(2.0), ns(0.99)),
        Outage(ns(10.0), ns(10.49), ns(10.5), ns(9.99)),
    ]


def test_a_limit_between_the_last_bad_and_the_next_good_request_is_not_decided() -> None:
    told = killed_at_10().traffic(0, 30, rate=10, bad=lambda t: 10 <= t < 12)
    for within, grade in (("1.8s", Grade.FAIL), ("1.95s", Grade.INCONCLUSIVE), ("2.1s", Grade.PASS)):
        assert judged(parse_slo(f"recoveredWithin {within}"), told.history()).grade is grade


def test_how_long_it_has_to_hold_is_the_authors() -> None:
    told = killed_at_10(ended=14).traffic(0, 14, bad=lambda t: 10 <= t < 12)
    slo = parse_slo("recoveredWithin 5s sustained 1s")
    assert str(slo) == "recoveredWithin 5s sustained 1s"
    assert judged(slo, told.history()).grade is Grade.PASS


def test_the_text_and_the_fields_say_the_same() -> None:
    text = parse_slo("recoveredWithin 5s to 95% sustained 3s on fresh")
    assert text == from_value(
        "recoveredWithin", {"within": "5s", "availability": "95%", "sustain": "3s", "policy": "fresh"}
    )
