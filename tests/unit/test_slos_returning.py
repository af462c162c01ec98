"""returnsToService: out of the Service in time, never restarted, back in time."""

from __future__ import annotations

from typing import Any

from chaoskit.model.verdict import Grade
from chaoskit.slos.judging import judged
from chaoskit.slos.returning import ReturnsToService
from tests.histories import Told, endpoint_slice, pod, service, shop, switch

SLO = ReturnsToService()
PROBE = {"readinessProbe": {"periodSeconds": 1, "failureThreshold": 3, "timeoutSeconds": 1}}
# leaves within 3 + 1 + 2 + 2 = 8 s; returns within 1 + 1 + 2 + 2 = 6 s


def probed(name: str, **more: Any) -> Any:
    return pod(name, container=PROBE, **more)


def failing(make: Any = probed, *, undone: float | None = 25, ended: float = 40, services: Any = None) -> Told:
    told = Told(shop(*[make(name) for name in "abc"], victims=["a"], services=services)).settled_shop()
    told.phases(baseline=1, inject=10, revert=25, settle=25, ended=ended).intend(10, switch("a")).done(10.1).seen(10.2)
    return told if undone is None else told.undone(undone)


def out_at(told: Told, at: float) -> Told:
    return told.see("pods", at - 0.02, probed("a", ready=False)).see("endpoints", at, endpoint_slice("b", "c"))


def back_at(told: Told, at: float) -> Told:
    return told.see("pods", at - 0.02, probed("a")).see("endpoints", at, endpoint_slice("a", "b", "c"))


def test_out_in_time_and_back_in_time_passes() -> None:
    finding = judged(SLO, back_at(out_at(failing(), 13.2), 26).history())
    assert finding.grade is Grade.PASS
    assert (finding.measured, finding.limit) == (1.0, 6.0)
    assert finding.because.startswith(
        "pod shop/a: out of service 3 s after the fault was seen (allowed 8 s), back 1 s after the fault ended; allowed 6 s = "
    )


def test_staying_in_the_service_fails() -> None:
    finding = judged(SLO, failing().history())
    assert finding.grade is Grade.FAIL
    assert finding.because.startswith(
        "pod shop/a: a ready endpoint still, 14.8 s after the fault was seen; allowed 8 s"
    )


def test_leaving_too_late_fails() -> None:
    assert judged(SLO, back_at(out_at(failing(), 20), 26).history()).grade is Grade.FAIL


def test_coming_back_too_late_or_never_fails() -> None:
    late, never = (
        judged(SLO, back_at(out_at(failing(), 13), 33).history()),
        judged(SLO, out_at(failing(), 13).history()),
    )
    assert late.grade is never.grade is Grade.FAIL
    assert "back 8 s after the fault ended; allowed 6 s" in late.because
    assert "not back 15 s after the fault ended; allowed 6 s" in never.because


def test_a_restart_fails_though_the_pod_returns() -> None:
    told = back_at(out_at(failing(), 13), 26).see("pods", 15, probed("a", restarts=1, ready=False))
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.FAIL
    assert "it was restarted 5 s after the step" in finding.because


def test_a_pod_that_went_away_fails() -> None:
    finding = judged(SLO, out_at(failing(), 13).gone("pods", 14, probed("a")).history())
    assert finding.grade is Grade.FAIL
    assert "it went away" in finding.because


def test_a_pod_without_a_readiness_probe_cannot_leave_and_fails_with_numbers() -> None:
    finding = judged(SLO, failing(pod).history())
    assert finding.grade is Grade.FAIL
    assert finding.because == (
        "pod shop/a: nothing would take it out of its service, no container has a readinessProbe; "
        "it stayed a ready endpoint for 14.8 s of the fault"
    )
    assert SLO.bound(failing(pod).subject) is None


def test_every_service_of_the_pod_has_to_drop_it() -> None:
    told = out_at(failing(services=[service(), service("inner")]), 13)
    told.see("endpoints", 0, endpoint_slice("a", "b", "c", of="inner", uid="inner"))
    assert judged(SLO, told.history()).grade is Grade.FAIL


def test_too_short_a_fault_or_window_is_inconclusive() -> None:
    short = judged(SLO, failing(undone=15).history())
    assert short.grade is Grade.INCONCLUSIVE
    assert "the fault lasted only 4.8 s" in short.because
    assert judged(SLO, out_at(failing(ended=27), 13).history()).grade is Grade.INCONCLUSIVE


def test_a_fault_that_was_not_undone_is_inconclusive() -> None:
    assert judged(SLO, out_at(failing(undone=None), 13).history()).grade is Grade.INCONCLUSIVE
    blocked = out_at(failing(undone=None), 13).undone(25, how="blocked")
    assert "was not undone" in judged(SLO, blocked.history()).because


def test_a_pod_behind_no_service_is_inconclusive() -> None:
    assert judged(SLO, failing(services=[]).history()).grade is Grade.INCONCLUSIVE


def test_the_return_bound_is_the_slowest_victims() -> None:
    bound = SLO.bound(failing().subject)
    assert bound is not None
    assert bound.seconds == 6.0
