"""Latency: a percentile in which a failed request is slower than anything."""

from __future__ import annotations

import pytest

from chaoskit.model.verdict import Grade
from chaoskit.slos import from_value, parse_slo
from chaoskit.slos.judging import judged
from tests.histories import Told, kill, window

P95 = parse_slo("latency p95 < 300ms")


def killed_at_10() -> Told:
    return Told().phases(baseline=0, inject=10, revert=20, settle=20, ended=30).done_and_seen(10, kill("a"))


def test_it_passes_below_and_fails_above_the_limit() -> None:
    slow_for = {"fast": 0.3, "slow": 0.6}
    grades = {}
    for name, seconds in slow_for.items():
        told = killed_at_10().traffic(0, 30, latency=lambda t, s=seconds: 0.5 if 12 <= t < 12 + s else 0.01)  # type: ignore[misc]
        grades[name] = judged(P95, told.history())
    assert grades["fast"].grade is Grade.PASS
    assert grades["fast"].measured == pytest.approx(0.01)
    assert grades["slow"].grade is Grade.FAIL
    assert grades["slow"].measured == pytest.approx(0.5)
    assert grades["slow"].interval is not None
    assert grades["slow"].because == "p95 of 1000 requests is 0.5 s, wanted p95 < 0.3 s"


def test_it_counts_from_the_intended_start() -> None:
    told = killed_at_10().traffic(0, 30, latency=lambda t: 1.0 if t < 15 else 0.01, late=0.99)
    assert P95.judge(told.history(), window("fault", 10, 20)).grade is Grade.FAIL


def test_failed_requests_are_slower_than_anything() -> None:
    finding = judged(P95, killed_at_10().traffic(0, 30, bad=lambda t: 12 <= t < 12.6).history())
    assert finding.grade is Grade.FAIL
    assert finding.measured is None
    assert "a failed request, slower than anything" in finding.because
    assert "60 failed" in finding.because


def test_a_percentile_takes_enough_requests_to_have_one_above_it() -> None:
    history = killed_at_10().traffic(0, 30, rate=1).history()
    finding = P95.judge(history, window("fault", 10, 20))
    assert finding.grade is Grade.INCONCLUSIVE
    assert finding.because.startswith("too few requests to decide, 20 are needed")
    assert P95.judge(history, window("settle", 20, 25)).grade is Grade.PASS


@pytest.mark.parametrize("text", ["< 300ms", "p95 >= 300ms", "p95 < 99%"])
def test_an_objective_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="latency is a percentile"):
        from_value("latency", text)
