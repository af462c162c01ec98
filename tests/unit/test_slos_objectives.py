"""The objectives' other forms: cohorts, confidence, shares, counts, budgets, outages, versions, detection. Both sides of each."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.model.verdict import Grade
from chaoskit.slos import from_value, parse_slo
from chaoskit.slos.cohorts import by_cohort
from chaoskit.slos.judging import judged
from chaoskit.slos.statistics import one_sided
from tests.histories import Told, create_canary, deployment, endpoint_slice, kill, pod, replicaset, window


def killed_at_10(**more: Any) -> Told:
    told = Told(**more).phases(baseline=0, inject=10, revert=20, settle=20, ended=30).done_and_seen(10, kill("a"))
    return told.health(-2, "run.began", wall=1_772_360_000.0).health(0, "clock", offset=0.0, error=0.1)


def grade(text: str, told: Told) -> Grade:
    return judged(parse_slo(text), told.history()).grade


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        ("availability >= 99.9% on fresh with confidence 95%", "availability", {"objective": ">= 99.9%", "policy": "fresh", "confidence": "95%"}),
        ("availability >= 99.9% over recovery", "availability", {"objective": ">= 99.9%", "over": "recovery"}),
        ("latency <= 250ms for 99% on reuse", "latency", {"objective": "<= 250ms for 99%", "policy": "reuse"}),
        ("failed == 0 over run", "failed", {"objective": "== 0", "over": "run"}),
        ("budgetSpent <= 50% of 99.9% over fault", "budgetSpent", {"objective": "<= 50%", "target": "99.9%", "over": "fault"}),
        ("longestOutage < 2s on each", "longestOutage", {"objective": "< 2s", "policy": "each"}),
        ("totalOutage <= 5s over fault", "totalOutage", {"objective": "<= 5s", "over": "fault"}),
        ("errorRate <= 1%", "errorRate", {"objective": "<= 1%"}),
        ("errorRate of v2 <= 1% with confidence 99%", "errorRate", {"version": "v2", "objective": "<= 1%", "confidence": "99%"}),
        ("errorRate of canary <= stable + 0.5%", "errorRate", {"version": "canary", "against": "stable", "margin": "0.5%"}),
        ("detectedWithin 5s by users", "detectedWithin", {"within": "5s", "by": "users"}),
        ("balanced", "balanced", None),
    ],
)  # fmt: skip
def test_text_and_fields_say_the_same(text: str, kind: str, fields: Any) -> None:
    slo = parse_slo(text)
    assert slo == from_value(kind, fields)
    assert slo.kind == kind and str(slo).startswith(kind)


@pytest.mark.parametrize(
    "text",
    [
        "availability >= 99% for 99%",
        "availability >= 99% with confidence 100%",
        "availability >= 99% with confidence 20%",
        "availability >= 99% on both",
        "latency p95 < 300ms for 99%",
        "latency <= 250ms for 100%",
        "latency <= 250ms",
        "failed >= 1",
        "failed == 1%",
        "budgetSpent <= 50%",
        "budgetSpent <= 50% of 100%",
        "longestOutage < 2",
        "errorRate >= 1%",
        "errorRate of canary <= stable",
        "errorRate <= stable + 1%",
        "errorRate of canary <= stable + 0%",
        "detectedWithin 5s by nobody",
        "averageLatency < 3s",
    ],
)
def test_what_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_slo(text)


def test_each_is_two_objectives_and_each_has_a_finding_of_its_own() -> None:
    told = killed_at_10().traffic(0, 30, policy="fresh").traffic(0, 30, policy="reuse", bad=lambda t: 12 <= t < 13)
    fresh, reuse = by_cohort([parse_slo("availability >= 99% on each")])
    assert (str(fresh), str(reuse)) == ("availability >= 99 % on fresh", "availability >= 99 % on reuse")
    assert judged(fresh, told.history()).grade is Grade.PASS
    assert judged(reuse, told.history()).grade is Grade.FAIL
    assert by_cohort([parse_slo("recoveredWithin 5s on each")])[1].over == "run"


@pytest.mark.parametrize(
    ("n", "bad", "wanted"),
    [(2990, 0, Grade.INCONCLUSIVE), (3000, 0, Grade.PASS), (3000, 1, Grade.INCONCLUSIVE), (3000, 6, Grade.INCONCLUSIVE), (3000, 7, Grade.FAIL)],
)  # fmt: skip
def test_with_a_confidence_it_is_an_inference(n: int, bad: int, wanted: Grade) -> None:
    told = Told(rate=None).phases(baseline=0, inject=10, revert=20, ended=30).done_and_seen(10, kill("a"))
    told.traffic(10, 20, rate=n / 10, bad=lambda t: t >= 20 - bad * 10 / n - 1e-6)
    finding = parse_slo("availability >= 99.9% with confidence 95%").judge(told.history(), window("fault", 10, 20))
    assert finding.grade is wanted, finding
    low, high = one_sided(n - bad, n)
    assert wanted is (Grade.PASS if low >= 0.999 else Grade.FAIL if high < 0.999 else Grade.INCONCLUSIVE)
    # The same counts without one speak of this run alone.
    plain = parse_slo("availability >= 99.9%").judge(told.history(), window("fault", 10, 20))
    assert plain.grade is (Grade.PASS if bad <= 3 else Grade.FAIL)


def test_an_early_stop_needs_evidence_and_not_persistence() -> None:
    slo = parse_slo("availability >= 99% with confidence 95%", strict=False)
    told = Told(rate=None).traffic(10, 20, bad=lambda t: 12 <= t < 12.15)
    assert slo.judge(told.history(), window("guard", 10, 20)).grade is Grade.PASS
    told = Told(rate=None).traffic(10, 20, bad=lambda t: 12 <= t < 12.6)
    assert slo.judge(told.history(), window("guard", 10, 20)).grade is Grade.FAIL


def test_a_share_of_the_requests_within_a_time() -> None:
    told = killed_at_10().traffic(0, 30, latency=lambda t: 0.3 if 12 <= t < 12.1 else 0.01)
    finding = judged(parse_slo("latency <= 250ms for 99%"), told.history())
    assert (finding.grade, finding.measured, finding.unit) == (Grade.PASS, 0.99, "ratio")
    assert grade("latency <= 250ms for 99.5%", told) is Grade.FAIL
    assert grade("latency < 300ms for 99.5%", told) is Grade.FAIL
    assert grade("latency <= 300ms for 99.5%", told) is Grade.PASS


def test_failed_requests_are_counted() -> None:
    told = killed_at_10().traffic(0, 30, bad=lambda t: 12 <= t < 12.03)
    assert grade("failed == 0", told) is Grade.FAIL
    assert grade("failed <= 3", told) is Grade.PASS
    assert (
        judged(parse_slo("failed == 0"), told.history()).because
        == "3 of 1000 requests failed, wanted == 0: 3 refused.connect"
    )


def test_the_budget_spent_is_told() -> None:
    told = killed_at_10().traffic(0, 30, bad=lambda t: 12 <= t < 12.15)
    finding = judged(parse_slo("budgetSpent <= 60% of 99%"), told.history())
    assert finding.grade is Grade.PASS
    assert finding.measured == pytest.approx(0.5)
    assert grade("budgetSpent <= 40% of 99%", told) is Grade.FAIL
    assert judged(parse_slo("budgetSpent <= 40% of 99.9%"), told.history()).because.endswith(
        "500 % spent, wanted <= 40 %"
    )


def test_outages_lie_between_limits_and_what_lies_between_is_not_decided() -> None:
    told = killed_at_10().traffic(0, 30, bad=lambda t: 11 <= t < 12 or 20 <= t < 20.5)
    longest = judged(parse_slo("longestOutage < 2s"), told.history())
    assert longest.grade is Grade.PASS
    assert longest.interval == pytest.approx((0.99, 1.01))
    assert grade("longestOutage < 0.9s", told) is Grade.FAIL
    assert grade("longestOutage < 1s", told) is Grade.INCONCLUSIVE
    total = judged(parse_slo("totalOutage < 1.6s"), told.history())
    assert total.grade is Grade.PASS
    assert total.measured == pytest.approx(1.48)
    assert grade("totalOutage < 1.4s", told) is Grade.FAIL
    ongoing = killed_at_10().traffic(0, 30, bad=lambda t: t >= 29)
    assert grade("longestOutage < 3s", ongoing) is Grade.INCONCLUSIVE
    assert grade("longestOutage < 0.5s", ongoing) is Grade.FAIL


def answered_by(told: Told, who: str, rate: float, seconds: float) -> None:
    every = round(1 / rate) if rate else 0
    told.traffic(
        10,
        10 + seconds,
        who=lambda i: who,
        status=500,
        bad=lambda t: bool(every) and round(t * 100) % every == 0,
    )


def canary_story(canary_fails: float, stable_fails: float, seconds: float = 10.0) -> Told:
    told = Told(rate=None).settled_shop().phases(baseline=0, inject=10, revert=10 + seconds, ended=12 + seconds)
    told.done_and_seen(10, create_canary())
    told.see("workloads", 10, deployment("shop-canary", uid="dc", replicas=1))
    told.see("workloads", 10, replicaset("shop-canary-1", uid="rsc", owned_by="dc", replicas=1))
    told.see("pods", 10, pod("k", owned_by="rsc"))
    for who, rate in (("k", canary_fails), ("a", stable_fails), ("b", stable_fails)):
        answered_by(told, who, rate, seconds)
    return told


@pytest.mark.parametrize(
    ("canary_fails", "stable_fails", "wanted"),
    [
        (0.0, 0.0, Grade.PASS),
        (0.05, 0.0, Grade.FAIL),
        (0.01, 0.0, Grade.INCONCLUSIVE),
        (0.02, 0.02, Grade.INCONCLUSIVE),
    ],
)
def test_a_canary_is_compared_with_the_stable_pods(canary_fails: float, stable_fails: float, wanted: Grade) -> None:
    finding = judged(
        parse_slo("errorRate of canary <= stable + 1%"), canary_story(canary_fails, stable_fails).history()
    )
    assert finding.grade is wanted, finding


def test_an_error_rate_of_a_version_needs_its_name() -> None:
    told = killed_at_10().traffic(0, 30)
    assert judged(parse_slo("errorRate of v2 <= 1%"), told.history()).because.startswith("no identity")
    assert grade("errorRate <= 1%", told) is Grade.PASS
    assert grade("errorRate <= 1%", killed_at_10().traffic(0, 30, bad=lambda t: t < 15)) is Grade.FAIL


def test_detection_by_kubernetes_and_by_users() -> None:
    told = killed_at_10().settled_shop().traffic(0, 30, bad=lambda t: 10.5 <= t < 11)
    told.see("endpoints", 13, endpoint_slice("b", "c")).gone("pods", 10.2, pod("a"))
    finding = judged(parse_slo("detectedWithin 5s"), told.history())
    assert (finding.grade, finding.measured) == (Grade.PASS, 3.0)
    assert "users after 0.5 s" in finding.because
    assert grade("detectedWithin 2s", told) is Grade.FAIL
    assert judged(parse_slo("detectedWithin 1s by users"), told.history()).measured == 0.5
    never = killed_at_10().settled_shop().traffic(0, 30)
    assert grade("detectedWithin 5s", never) is Grade.FAIL
    assert grade("detectedWithin 5s by users", never) is Grade.INCONCLUSIVE


def test_what_the_server_stamped_bounds_the_detection_from_below() -> None:
    """The Ready condition turned at 1 s after the injection by the server's clock, cut to seconds; we heard of it at 3 s."""
    out = pod("a", ready=False, ready_since="2026-03-01T10:13:33Z")
    told = (
        killed_at_10().settled_shop().traffic(0, 30).see("pods", 13, out).see("endpoints", 13, endpoint_slice("b", "c"))
    )
    finding = judged(parse_slo("detectedWithin 2s"), told.history())
    assert finding.grade is Grade.INCONCLUSIVE, finding
    assert finding.interval == pytest.approx((0.9, 3.0))


def test_new_connections_are_spread_and_kept_ones_do_not_count() -> None:
    told = killed_at_10().settled_shop().traffic(0, 30)
    assert grade("balanced", told) is Grade.PASS
    uneven = killed_at_10().settled_shop().traffic(0, 30, who=lambda i: "aaaaabc"[i % 7])
    finding = judged(parse_slo("balanced"), uneven.history())
    assert finding.grade is Grade.FAIL
    assert "a 714" in finding.because or "a 715" in finding.because
