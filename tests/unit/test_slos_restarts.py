"""restartedInPlace: the same pod, a new container, neither too late nor too early."""

from __future__ import annotations

from typing import Any

from chaoskit.model.verdict import Grade
from chaoskit.slos.judging import judged
from chaoskit.slos.restarts import RestartedInPlace
from tests.histories import Told, kill, pod, shop, switch

SLO = RestartedInPlace()
PROBE = {"livenessProbe": {"periodSeconds": 3, "failureThreshold": 2, "timeoutSeconds": 1}}
# earliest 3 s; latest 6 + 1 + 2 (grace) + 5 (start) + 2 = 16 s


def probed(name: str, **more: Any) -> Any:
    return pod(name, container=PROBE, terminationGracePeriodSeconds=2, **more)


def failing(make: Any = probed, *, undone: float = 40, ended: float = 60) -> Told:
    told = Told(shop(*[make(name) for name in "abc"], victims=["a"])).settled_shop()
    told.phases(baseline=1, inject=10, revert=undone, settle=undone, ended=ended)
    return told.intend(10, switch("a")).done(10.1).seen(10.2).undone(undone)


def test_the_bound_counts_probe_grace_and_start() -> None:
    bound = SLO.bound(failing().subject)
    assert bound is not None
    assert (bound.earliest_s, bound.seconds) == (3.0, 16.0)
    assert "6 s liveness probe notices, 2 x 3 s (spec.containers[app].livenessProbe)" in str(bound)
    assert "2 s grace period (spec.terminationGracePeriodSeconds)" in str(bound)


def test_a_restart_within_the_bound_passes() -> None:
    told = failing().see("pods", 17.2, probed("a", restarts=1, ready=False)).see("pods", 18.2, probed("a", restarts=1))
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.PASS
    assert (finding.measured, finding.limit) == (8.0, 16.0)
    assert finding.because.startswith(
        "pod shop/a: restarted in place 7 s after the fault was seen, ready again after 8 s; allowed 16 s"
    )


def test_no_restart_fails_once_the_bound_has_passed() -> None:
    finding = judged(SLO, failing().history())
    assert finding.grade is Grade.FAIL
    assert finding.because.startswith("pod shop/a: not restarted within 49.8 s; allowed 16 s = ")


def test_a_restart_that_comes_too_late_fails() -> None:
    assert judged(SLO, failing().see("pods", 27, probed("a", restarts=1)).history()).grade is Grade.FAIL


def test_a_restart_that_never_becomes_ready_fails() -> None:
    finding = judged(SLO, failing().see("pods", 17.2, probed("a", restarts=1, ready=False)).history())
    assert finding.grade is Grade.FAIL
    assert "restarted in place 7 s after the fault was seen, not ready again 49.8 s after it" in finding.because


def test_a_restart_sooner_than_the_probe_could_ask_for_is_somebody_elses() -> None:
    finding = judged(SLO, failing().see("pods", 12, probed("a", restarts=1)).history())
    assert finding.grade is Grade.INCONCLUSIVE
    assert "something else restarted it, 2 s after the step" in finding.because


def test_a_replaced_pod_was_not_restarted_in_place() -> None:
    told = (
        failing()
        .see("pods", 15, probed("a", terminating=True))
        .gone("pods", 16, probed("a"))
        .see("pods", 17, probed("d"))
    )
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.FAIL
    assert "the pod itself went away 4.8 s after the fault was seen" in finding.because


def test_a_higher_count_with_the_same_container_is_no_restart_yet() -> None:
    stale = probed("a", restarts=1)
    stale["status"]["containerStatuses"][0]["containerID"] = "containerd://a-0"
    assert judged(SLO, failing().see("pods", 17, stale).history()).grade is Grade.FAIL


def test_a_pod_without_a_liveness_probe_fails_because_nothing_would_restart_it() -> None:
    finding = judged(SLO, failing(pod).history())
    assert finding.grade is Grade.FAIL
    assert finding.because == (
        "pod shop/a: nothing would restart it, no container has a livenessProbe; failing for 29.8 s, it was not restarted"
    )
    assert SLO.bound(failing(pod).subject) is None


def test_a_fault_lifted_before_the_probe_had_to_notice_is_inconclusive() -> None:
    finding = judged(SLO, failing(undone=15).history())
    assert finding.grade is Grade.INCONCLUSIVE
    assert "the fault lasted 4.8 s only; the probe may take 7 s to notice" in finding.because


def test_a_window_that_ended_before_the_bound_is_inconclusive() -> None:
    assert judged(SLO, failing(undone=20, ended=22).history()).grade is Grade.INCONCLUSIVE


def test_the_worst_of_several_victims_decides() -> None:
    told = failing().intend(10, switch("b"), "0.1").done(10.1, "0.1").seen(10.2, "0.1").undone(40, "0.1")
    told.see("pods", 17.2, probed("a", restarts=1))
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.FAIL
    assert finding.because.startswith("pod shop/b: not restarted")
    assert "pod shop/a: restarted in place" in finding.because


def test_a_readiness_gate_has_no_bound() -> None:
    finding = judged(SLO, failing(lambda name: probed(name, readinessGates=[{"conditionType": "x"}])).history())
    assert finding.grade is Grade.INCONCLUSIVE


def test_nothing_switched_or_a_switch_that_was_not_seen_is_inconclusive() -> None:
    assert (
        judged(SLO, Told().settled_shop().phases(baseline=1, ended=9).done_and_seen(5, kill("a")).history()).grade
        is Grade.INCONCLUSIVE
    )
    unseen = Told().settled_shop().phases(baseline=1, ended=9).intend(5, switch("a")).done(5).unseen(8)
    assert "its fault was not seen" in judged(SLO, unseen.history()).because
