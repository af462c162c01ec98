"""replicasRestored: every stretch below the wanted number ends within the replacement bound."""

from __future__ import annotations

from chaoskit.model.verdict import Grade
from chaoskit.slos.judging import judged
from chaoskit.slos.replicas import ReplicasRestored
from tests.histories import Told, deployment, evict, kill, node, pod, replicaset, shop, window

SLO = ReplicasRestored()


def killed_at_10(**phases: float) -> Told:
    told = (
        Told().settled_shop().phases(**{"baseline": 1, "inject": 10, "revert": 40, "settle": 40, "ended": 60, **phases})
    )
    return told.done_and_seen(10, kill("a")).see("pods", 10.02, pod("a", terminating=True)).gone("pods", 11, pod("a"))


def test_the_bound_is_a_sum_of_named_seconds() -> None:
    bound = SLO.bound(shop())
    assert bound is not None
    assert bound.seconds == 12.0
    assert str(bound) == (
        "12 s = 5 s a pod created, scheduled and its containers started (assumed (pod-startup-slo=5s))"
        " + 5 s app start, twice the slowest of 2 s, and 1 s resolution of the timestamps (measured (n=3))"
        " + 2 s observation (assumed (slack=2s))"
    )


def test_a_pod_replaced_in_time_passes_with_the_time_it_took() -> None:
    told = killed_at_10().see("pods", 10.1, pod("d", ready=False)).see("pods", 14.02, pod("d"))
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.PASS
    assert finding.measured == 4.0
    assert finding.limit == 12.0
    assert finding.because.startswith("shop/shop: 2 of 3 replicas ready for 4 s, then restored; allowed 12 s = ")


def test_a_pod_replaced_too_late_fails() -> None:
    finding = judged(SLO, killed_at_10().see("pods", 25.02, pod("d")).history())
    assert finding.grade is Grade.FAIL
    assert finding.because.startswith("shop/shop: 2 of 3 replicas ready for 15 s; allowed 12 s = ")
    assert finding.shown_by  # the step that did it


def test_a_pod_never_replaced_fails_once_the_bound_has_passed_and_is_inconclusive_before() -> None:
    late, early = (
        judged(SLO, killed_at_10().history()),
        judged(SLO, killed_at_10(revert=12, settle=12, ended=15).history()),
    )
    assert late.grade is Grade.FAIL
    assert "2 of 3 replicas ready for 50 s and not restored" in late.because
    assert early.grade is Grade.INCONCLUSIVE
    assert "not restored when the window ended" in early.because


def test_never_short_passes_and_a_pod_that_is_not_ours_does_not_count() -> None:
    told = Told().settled_shop().phases(baseline=1, inject=10, revert=20, ended=30).done_and_seen(10, kill("x"))
    finding = judged(SLO, told.see("pods", 12, pod("x", owned_by="other", ready=False)).history())
    assert finding.grade is Grade.PASS
    assert finding.because == "never fewer replicas than wanted; shop/shop: 3 of 3 replicas ready"


def test_a_stranger_does_not_stand_in_for_a_lost_pod() -> None:
    finding = judged(SLO, killed_at_10().see("pods", 11, pod("x", owned_by="other")).history())
    assert finding.grade is Grade.FAIL


def test_the_wanted_number_is_the_watched_one() -> None:
    told = killed_at_10().see("workloads", 12, deployment(replicas=2))
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.PASS
    assert finding.measured == 1.98


def test_a_replacement_by_a_new_replicaset_counts() -> None:
    told = (
        killed_at_10().see("workloads", 10.1, replicaset("shop-2", uid="rs2")).see("pods", 13, pod("d", owned_by="rs2"))
    )
    assert judged(SLO, told.history()).grade is Grade.PASS


def test_the_allowance_is_counted_anew_from_each_act_of_ours() -> None:
    told = killed_at_10().see("pods", 20, pod("d")).see("pods", 20, pod("b", terminating=True))
    told.done_and_seen(19, evict("b"), "1.0").see("pods", 29, pod("e"))
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.PASS
    assert finding.measured == 10.0
    assert "after our last act (19 s in all)" in finding.because


def test_an_undo_that_did_nothing_buys_no_time() -> None:
    told = killed_at_10(revert=20, settle=20, ended=30).undone(20, how="irreversible").see("pods", 29, pod("d"))
    assert judged(SLO, told.history()).grade is Grade.FAIL


def test_over_the_steady_state_the_number_must_hold_throughout() -> None:
    history = killed_at_10().see("pods", 14, pod("d")).history()
    assert judged(SLO, history, window("settle", 15, 20)).grade is Grade.PASS
    broken = judged(SLO, history, window("settle", 13.5, 20))
    assert broken.grade is Grade.FAIL
    assert broken.because == "shop/shop: 2 of 3 replicas ready for 0.5 s"


def test_a_readiness_gate_makes_it_undecidable_unless_nothing_was_missing() -> None:
    gated = [pod(name, readinessGates=[{"conditionType": "x/y"}]) for name in "abc"]
    told = Told(shop(*gated)).settled_shop().phases(baseline=1, inject=10, revert=20, ended=40)
    told.done_and_seen(10, kill("a")).gone("pods", 11, gated[0])
    assert SLO.bound(shop(*gated)) is None
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.INCONCLUSIVE
    assert "readinessGate" in finding.because


def test_the_grace_period_is_added_when_no_other_node_can_take_the_pod() -> None:
    alone = shop()
    alone = type(alone)(**{**{f: getattr(alone, f) for f in alone.__dataclass_fields__}, "nodes": (node("n1"),)})
    bound = SLO.bound(alone)
    assert bound is not None
    assert bound.seconds == 42.0
    assert "30 s grace period, no other node can take the pod" in str(bound)


def test_without_an_injection_nothing_is_concluded() -> None:
    history = Told().settled_shop().phases(baseline=1, ended=10).history()
    assert judged(SLO, history).grade is Grade.INCONCLUSIVE
