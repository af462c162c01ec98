"""canaryContained: its share and no more, only it fails, and once removed it is gone."""

from __future__ import annotations

from collections.abc import Callable

from chaoskit.model.verdict import Grade
from chaoskit.slos.canary import CanaryContained
from chaoskit.slos.judging import judged
from tests.histories import Told, create_canary, deployment, pod, replicaset

SLO = CanaryContained()


def fair(i: int) -> str:
    return ("a", "b", "c", "x")[i * 7919 % 4]


def released(*, ready: bool = True, gone: float | None = 31, ended: float = 45) -> Told:
    """A canary pod x beside a, b, c, from 12 to 31; created at 10, removed from 30 on."""
    told = Told().settled_shop().phases(baseline=1, inject=10, revert=30, settle=30, ended=ended)
    told.intend(10, create_canary()).done(10.1).seen(10.2).undone(30)
    told.see("workloads", 10.1, deployment("shop-canary", uid="canary", replicas=1))
    told.see("workloads", 10.2, replicaset("shop-canary-1", uid="crs", owned_by="canary", replicas=1))
    told.see("pods", 10.3, pod("x", owned_by="crs", ready=False))
    if ready:
        told.see("pods", 12, pod("x", owned_by="crs"))
    if gone is not None:
        told.gone("pods", gone, pod("x", owned_by="crs"))
    return told


def with_traffic(
    told: Told, who: Callable[[int], str] = fair, *, until: float = 30.5, bad: Callable[[float], bool] = lambda t: False
) -> Told:
    told.traffic(0, 12)
    told.traffic(12, until, who=who, bad=bad, status=500)
    return told.traffic(until, 45)


def test_a_canary_that_gets_its_share_is_contained() -> None:
    finding = judged(SLO, with_traffic(released()).history())
    assert finding.grade is Grade.PASS
    assert finding.measured is not None
    assert finding.limit is not None
    assert abs(finding.measured - 0.25) < 0.01
    assert finding.limit == 0.25
    assert finding.samples == 1900
    assert finding.because.startswith(
        "the canary answered 463 of 1900 requests on new connections (24.4 %, its share 25 %)"
    )
    assert finding.interval is not None


def test_a_canary_that_gets_more_than_its_share_fails() -> None:
    finding = judged(SLO, with_traffic(released(), lambda i: "axbx"[i % 4]).history())
    assert finding.grade is Grade.FAIL
    assert "its share of the pods is" in finding.because


def test_failures_of_the_canary_are_contained_and_failures_of_the_others_are_not() -> None:
    def on_the_canary(t: float) -> bool:
        return fair(round((t - 12) * 100)) == "x"

    contained = judged(SLO, with_traffic(released(), bad=on_the_canary).history())
    assert contained.grade is Grade.PASS
    spread = judged(SLO, with_traffic(released(), bad=lambda t: 15 <= t < 16).history())
    assert spread.grade is Grade.FAIL
    assert "requests failed on stable pods, tolerated 3" in spread.because


def test_a_canary_that_answers_after_its_removal_fails() -> None:
    told = with_traffic(released(gone=44), until=40)
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.FAIL
    assert "new connections were answered by the canary after its removal; allowed 6 s" in finding.because


def test_a_canary_that_never_became_ready_is_contained_with_nothing() -> None:
    finding = judged(SLO, with_traffic(released(ready=False), lambda i: "abc"[i % 3]).history())
    assert finding.grade is Grade.PASS
    assert finding.because == "contained: no canary pod ever became ready, so it answered no request"


def test_a_ready_canary_that_the_traffic_never_reached_is_inconclusive() -> None:
    finding = judged(SLO, with_traffic(released(), lambda i: "abc"[i % 3]).history())
    assert finding.grade is Grade.INCONCLUSIVE
    assert "the traffic does not reach its Service" in finding.because


def test_a_canary_that_flaps_is_measured_while_it_is_ready() -> None:
    told = released()
    for second in range(13, 29, 2):
        told.see("pods", second, pod("x", owned_by="crs", ready=False)).see(
            "pods", second + 1, pod("x", owned_by="crs")
        )
    finding = judged(SLO, with_traffic(told, lambda i: fair(i) if i // 100 % 2 == 0 else "abc"[i % 3]).history())
    assert finding.grade is Grade.PASS
    assert finding.samples == 1100


def test_a_removal_still_under_way_at_the_end_is_inconclusive() -> None:
    finding = judged(SLO, with_traffic(released(gone=None, ended=33), until=30.5).history())
    assert finding.grade is Grade.INCONCLUSIVE
    assert "its pods were still there" in finding.because


def test_kept_connections_say_nothing_about_the_share() -> None:
    told = released().traffic(0, 12).traffic(12, 30.5, who=fair).traffic(12, 30.5, who=lambda i: "x", policy="reuse")
    assert judged(SLO, told.traffic(30.5, 45).history()).grade is Grade.PASS


def test_without_identity_or_a_canary_nothing_is_concluded() -> None:
    nameless = released().traffic(0, 45, who=lambda i: "")
    assert judged(SLO, nameless.history()).because.startswith("no identity")
    none = Told().settled_shop().phases(baseline=1, inject=10, ended=20).intend(10, create_canary()).traffic(0, 20)
    assert judged(SLO, none.history()).because.startswith("no canary")


def test_the_bound_is_the_removals() -> None:
    bound = SLO.bound(Told().subject)
    assert bound is not None
    assert bound.seconds == 6.0
