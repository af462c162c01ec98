"""Premises and missing evidence: nothing passes for want of a look, and nothing fails for it either."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest

from chaoskit.model.event import Event
from chaoskit.model.history import History
from chaoskit.model.requests import DROPPED
from chaoskit.model.seams import SLO
from chaoskit.model.subject import Subject
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.slos import parse_slo
from chaoskit.slos.evidence import injected, missing, premises
from chaoskit.slos.judging import judged
from chaoskit.slos.missing import gaps
from chaoskit.slos.replicas import ReplicasRestored
from tests.histories import Told, evict, kill, pod, window

SLOS = (parse_slo("availability >= 99%"), ReplicasRestored())
FAULT = window("fault", 10, 20)
BUDGET = "Cannot evict pod as it would violate the pod's disruption budget."


def sound() -> Told:
    return Told().settled_shop().phases(baseline=0.5, inject=10, revert=20, settle=20, ended=30).traffic(0, 30)


def test_a_step_that_was_accepted_and_seen_is_an_injection() -> None:
    baseline, injection = premises(sound().done_and_seen(10, kill("a")).history(), SLOS)
    assert (baseline.slo, baseline.grade) == ("baseline", Grade.PASS)
    assert (injection.slo, injection.grade) == ("injected", Grade.PASS)
    assert injection.because == "1 of 1 steps accepted and seen"
    assert injection.shown_by


def test_accepted_but_unseen_is_not_injected() -> None:
    finding = injected(sound().intend(10, kill("a")).done(10).unseen(20).history())
    assert finding.grade is Grade.INCONCLUSIVE
    assert finding.because == (
        "not injected: step 0.0 (delete pod shop/a) was accepted, but its effect was not seen: not seen within 10 s"
    )


def test_one_unseen_step_among_seen_ones_is_not_injected() -> None:
    told = sound().done_and_seen(10, kill("a"), "0.0").intend(11, kill("b"), "0.1").done(11, "0.1")
    assert injected(told.history()).grade is Grade.INCONCLUSIVE


def test_an_answer_that_was_lost_counts_when_the_effect_was_seen() -> None:
    assert injected(sound().intend(10, kill("a")).seen(11).history()).grade is Grade.PASS


def test_a_refusal_by_a_budget_is_an_answer_and_any_other_is_not() -> None:
    grades = {
        because: injected(sound().intend(10, evict("a")).refused(15, status, because).history()).grade
        for status, because in [(429, BUDGET), (429, "too many requests, slow down"), (403, BUDGET)]
    }
    assert grades == {BUDGET: Grade.INCONCLUSIVE, "too many requests, slow down": Grade.INCONCLUSIVE}
    assert injected(sound().intend(10, evict("a")).refused(15, 429, BUDGET).history()).grade is Grade.PASS


def test_nothing_begun_or_an_object_gone_is_not_injected() -> None:
    assert injected(sound().history()).because == "not injected: no step was begun"
    gone = injected(sound().intend(10, kill("a")).object_gone(10).history())
    assert gone.because == "not injected: step 0.0 (delete pod shop/a) found its object gone"


def test_a_breached_baseline_is_the_first_premise_and_never_fail() -> None:
    told = Told().settled_shop().phases(baseline=0.5, revert=10, ended=11).traffic(0, 12, bad=lambda t: t > 5)
    first, second = premises(told.history(), SLOS)
    assert first.grade is Grade.INCONCLUSIVE
    assert first.because.startswith("baseline breached: availability >= 99 %: ")
    assert second.because == "not injected: no step was begun"


def test_a_baseline_without_traffic_is_not_sound_and_says_no_traffic() -> None:
    told = Told().settled_shop().phases(baseline=0.5, inject=10, ended=20)
    first, _ = premises(told.history(), SLOS)
    assert "no traffic" in first.because


def test_a_run_without_a_baseline_has_no_sound_one() -> None:
    first, _ = premises(Told().history(), SLOS)
    assert first.because == "the run did not reach its baseline"


def test_a_run_without_a_baseline_says_what_ended_it() -> None:
    ended = Told().history()
    ended.add(Event(9, 9, "run.ended", {"restored": "yes", "because": "nothing heard of pods"}))
    first, _ = premises(ended, SLOS)
    assert first.because == "the run did not reach its baseline: nothing heard of pods"


def test_a_feed_that_was_never_heard_is_missing() -> None:
    assert missing(ReplicasRestored(), Told().history(), FAULT) == "the feed pods was never heard"
    assert missing(ReplicasRestored(), sound().history(), FAULT) is None


def test_a_gap_in_a_needed_feed_is_missing_and_one_elsewhere_is_not() -> None:
    history = sound().deaf("pods", 12, 15).deaf("pods", 14, 16).deaf("events", 12, 15).history()
    assert gaps(ReplicasRestored(), history, FAULT) == (4.0, "the feed pods was deaf for 3 s: the watch was cut")
    assert gaps(ReplicasRestored(), history, window("recovery", 20, 30)) == (0.0, "")
    assert gaps(SLOS[0], history, FAULT) == (0.0, "")


@pytest.mark.parametrize(
    ("restored", "deaf", "grade"),
    [(12, 0.5, Grade.PASS), (18, 6.0, Grade.INCONCLUSIVE), (22, 3.0, Grade.INCONCLUSIVE), (30, 3.0, Grade.FAIL)],
)
def test_a_gap_is_an_uncertainty_of_its_own_length_and_the_bound_decides(
    restored: float, deaf: float, grade: Grade
) -> None:
    told = sound().done_and_seen(10, kill("a")).gone("pods", 10, pod("a")).deaf("pods", 11, 11 + deaf)
    if restored < 30:
        told.see("pods", restored, pod("d"))
    finding = judged(ReplicasRestored(), told.history())
    assert finding.grade is grade, finding
    if grade is Grade.INCONCLUSIVE:
        assert finding.because.startswith(f"the feed pods was deaf for {deaf:g} s: the watch was cut; would have been")
    else:
        assert "which leaves it uncertain by as much" in finding.because
        assert finding.interval == pytest.approx((restored - 10 - deaf, restored - 10 + deaf))


def test_missing_evidence_bars_pass_and_fail_alike_and_tells_the_would_be_value() -> None:
    told = sound().done_and_seen(10, kill("a")).health(29, "traffic.ended", error="it was killed")
    finding = judged(SLOS[0], told.history())
    assert finding.grade is Grade.INCONCLUSIVE
    assert finding.because == "the load generator was not sound: it was killed; would have been PASS with 100 %"


def test_a_generator_that_dropped_arrivals_is_not_sound() -> None:
    told = sound().done_and_seen(10, kill("a"))
    dropped = told.requests.index("error", DROPPED)
    for i in range(1200, 1203):
        told.requests.error[i], told.requests.status[i] = dropped, 0
    why = missing(SLOS[0], told.history(), FAULT)
    assert why == "the load generator was not sound: 3 of 1000 arrivals were not sent (0.3 %, allowed 0.1 %)"


def test_a_late_generator_is_not_sound_measured_by_the_latency_objective() -> None:
    history = sound().history()
    late = Told().settled_shop().phases(baseline=0.5, inject=10, revert=20).traffic(0, 22, late=0.04).history()
    assert missing(parse_slo("latency p95 < 300ms"), late, FAULT) is None
    assert "0.04 s late at the 99th percentile, allowed 0.02 s" in str(
        missing(parse_slo("latency p95 < 100ms"), late, FAULT)
    )
    assert missing(parse_slo("latency p95 < 100ms"), history, FAULT) is None


def test_a_generator_that_sent_less_than_planned_is_not_sound() -> None:
    told = sound().health(10, planned=1000, sent=1000).health(20, planned=2000, sent=1985)
    assert "it sent 985 of 1000 planned requests" in str(missing(SLOS[0], told.history(), FAULT))
    told = sound().health(10, planned=1000, sent=1000).health(20, planned=2000, sent=1992)
    assert missing(SLOS[0], told.history(), FAULT) is None


def test_traffic_that_stops_in_the_window_is_noticed() -> None:
    told = Told().settled_shop().phases(baseline=0.5, inject=10, revert=20, ended=30).traffic(0, 14)
    assert "the traffic stopped 6.01 s before the window ended" in str(missing(SLOS[0], told.history(), FAULT))


def test_a_generator_that_died_is_not_sound() -> None:
    told = sound().health(29, "traffic.ended", error="the traffic process ended by itself")
    assert "ended by itself" in str(missing(SLOS[0], told.history(), FAULT))


@dataclasses.dataclass(frozen=True)
class Odd:
    """An SLO for the tests: needs what it is told to, and may crash."""

    kind: ClassVar[str] = "odd"
    needs: ClassVar[frozenset[str]] = frozenset({"identity", "clock"})
    steady: ClassVar[bool] = False
    over: str = "fault"
    crash: bool = False

    def bound(self, subject: Subject) -> Bound | None:
        return None

    def judge(self, history: History, window: Window) -> Finding:
        if self.crash:
            raise ZeroDivisionError("oops")
        return Finding("odd", Grade.PASS, "fine", window)

    def __str__(self) -> str:
        return "odd"


def test_identity_and_clock_are_asked_for() -> None:
    odd: SLO = Odd()
    nameless = Told().phases(baseline=0, inject=10, revert=20).traffic(0, 20, who=lambda i: "").history()
    assert str(missing(odd, nameless, FAULT)).startswith("no identity")
    assert str(missing(odd, sound().history(), FAULT)).startswith("no clock")
    assert missing(odd, sound().health(1, "clock", offset=0.0, error=0.1).history(), FAULT) is None


@pytest.mark.parametrize("crash", [True, False])
def test_a_crashing_slo_is_inconclusive(crash: bool) -> None:
    history = sound().done_and_seen(10, kill("a")).health(1, "clock", offset=0.0, error=0.1).history()
    finding = judged(Odd(crash=crash), history)
    assert finding.grade is (Grade.INCONCLUSIVE if crash else Grade.PASS)
    assert not crash or finding.because == "the SLO itself failed: ZeroDivisionError: oops"


def test_a_window_the_run_never_reached_is_inconclusive() -> None:
    finding = judged(SLOS[0], Told().phases(baseline=0, ended=5).history())
    assert finding.because == "the run has no fault window: it ended before"
