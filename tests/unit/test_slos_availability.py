"""Availability: the share of good requests, both sides, and what it must not conclude."""

from __future__ import annotations

import pytest

from chaoskit.model.requests import DROPPED
from chaoskit.model.verdict import Grade
from chaoskit.slos import from_value, parse_slo
from chaoskit.slos.judging import judged
from tests.histories import Told, kill, window

NINETY_NINE = parse_slo("availability >= 99%")


def killed_at_10() -> Told:
    return Told().phases(baseline=0, inject=10, revert=20, settle=20, ended=30).done_and_seen(10, kill("a"))


def test_it_passes_when_as_many_were_good_as_wanted() -> None:
    history = killed_at_10().traffic(0, 30, bad=lambda t: 12.0 <= t < 12.1).history()
    finding = judged(NINETY_NINE, history)
    assert finding.grade is Grade.PASS
    assert finding.measured == 0.99
    assert (finding.samples, finding.unit, finding.limit) == (1000, "ratio", 0.99)
    assert finding.interval is not None and finding.interval[0] < 0.99 < finding.interval[1]


def test_it_fails_with_the_numbers_and_what_went_wrong() -> None:
    history = killed_at_10().traffic(0, 30, bad=lambda t: 12.0 <= t < 12.2).history()
    finding = judged(NINETY_NINE, history)
    assert finding.grade is Grade.FAIL
    assert finding.because == "98 % of 1000 requests were good, wanted >= 99 %; 20 failed: 20 refused.connect"


def test_only_requests_meant_for_the_window_count() -> None:
    history = killed_at_10().traffic(0, 30, bad=lambda t: not 10.0 <= t < 20.0).history()
    assert judged(NINETY_NINE, history).grade is Grade.PASS
    assert judged(parse_slo("availability >= 99% over recovery"), history).grade is Grade.FAIL


def test_server_errors_and_late_responses_are_bad_and_client_errors_are_not() -> None:
    told = (
        killed_at_10().traffic(0, 12, bad=lambda t: t >= 11, status=503).traffic(12, 13, bad=lambda t: True, status=404)
    )
    history = told.traffic(13, 20, latency=lambda t: 2.1 if t >= 19 else 0.01).history()
    finding = judged(NINETY_NINE, history)
    assert finding.grade is Grade.FAIL
    assert finding.measured == 0.8
    assert "100 HTTP 503" in finding.because
    assert "100 too late" in finding.because


def test_what_the_generator_did_not_send_is_not_the_services_fault() -> None:
    told = killed_at_10().traffic(0, 20)
    told.traffic(20, 30).requests.error[1500] = told.requests.index("error", DROPPED)
    told.requests.status[1500] = 0
    finding = NINETY_NINE.judge(told.history(), window("fault", 10, 20))
    assert (finding.samples, finding.measured) == (999, 1.0)


def test_too_few_requests_are_inconclusive_with_the_would_be_value() -> None:
    history = killed_at_10().traffic(0, 30, rate=5).history()
    finding = NINETY_NINE.judge(history, window("fault", 10, 20))
    assert finding.grade is Grade.INCONCLUSIVE
    assert finding.measured == 1.0
    assert finding.because.startswith("too few requests to decide, 100 are needed: 100 % of 50 requests")


def test_any_number_of_requests_will_do_for_the_steady_state() -> None:
    history = killed_at_10().traffic(0, 30, rate=5).history()
    assert NINETY_NINE.judge(history, window("settle", 25, 30)).grade is Grade.PASS
    assert NINETY_NINE.judge(history, window("baseline", 40, 50)).grade is Grade.INCONCLUSIVE


def test_no_traffic_is_inconclusive_and_says_so() -> None:
    finding = judged(NINETY_NINE, killed_at_10().history())
    assert finding.grade is Grade.INCONCLUSIVE
    assert finding.because.startswith("no traffic")


def test_what_was_under_way_when_the_fault_struck_is_not_held_against_the_baseline() -> None:
    struck = killed_at_10().traffic(0, 30, bad=lambda t: 9.95 <= t < 10.2, latency=lambda t: 0.06)
    failed = parse_slo("failed == 0")
    assert failed.judge(struck.history(), window("baseline", 0, 10)).grade is Grade.PASS
    ill = killed_at_10().traffic(0, 30, bad=lambda t: 9.9 <= t < 10.2, latency=lambda t: 0.06)
    assert failed.judge(ill.history(), window("baseline", 0, 10)).grade is Grade.FAIL


@pytest.mark.parametrize("text", ["<= 99%", "p95 < 300ms", "== 3"])
def test_an_objective_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="availability is a share"):
        from_value("availability", text)


def test_the_window_may_stand_in_the_objective_or_beside_it_but_not_differ() -> None:
    assert parse_slo("availability >= 99% over recovery").over == "recovery"
    assert from_value("availability", {"objective": ">= 99% over run", "over": "run"}).over == "run"
    with pytest.raises(ValueError, match="expected one of them"):
        from_value("availability", {"objective": ">= 99% over recovery", "over": "run"})
