"""Bounds: the formulas, where each second comes from, and recorded times of a real cluster inside them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.semantics.bounds import (
    leaves_service_bound,
    liveness_restart_bound,
    propagation_bound,
    removal_bound,
    replacement_bound,
    returns_to_service_bound,
    start_terms,
)
from chaoskit.semantics.probes import ProbeTimes, probe_times
from tests.histories import deployment, node, pod

NODES = (node("n1"), node("n2"))


def test_a_probe_has_kubernetes_defaults() -> None:
    found = probe_times({"name": "app", "livenessProbe": {"httpGet": {}}}, "livenessProbe")
    assert found == ProbeTimes("spec.containers[app].livenessProbe")
    assert (found.earliest_s, found.latest_s) == (20.0, 31.0)
    assert probe_times({"name": "app"}, "livenessProbe") is None


def test_a_probe_of_zeros_has_the_defaults_too() -> None:
    probe = {"periodSeconds": 0, "timeoutSeconds": 0, "failureThreshold": 0, "terminationGracePeriodSeconds": 0}
    found = probe_times({"name": "app", "livenessProbe": probe}, "livenessProbe")
    assert found is not None
    assert (found.period_s, found.timeout_s, found.failures, found.grace_s) == (10.0, 1.0, 3, 0.0)


def test_a_timeout_longer_than_the_period_sets_the_pace() -> None:
    assert ProbeTimes("x", period_s=1, timeout_s=5, failures=2).latest_s == 15.0
    assert ProbeTimes("x", period_s=30, timeout_s=5, failures=2).latest_s == 65.0


@given(
    period=st.integers(1, 30),
    timeout=st.integers(1, 30),
    failures=st.integers(1, 5),
    phase=st.floats(0, 1, exclude_max=True),
    hang=st.booleans(),
)
def test_the_simulated_kubelet_notices_inside_the_interval(
    period: int, timeout: int, failures: int, phase: float, hang: bool
) -> None:
    """The worker loop: probe, then wait for a tick of the period; a tick that came meanwhile is taken at once."""
    times = ProbeTimes("x", float(period), float(timeout), failures)
    cost = float(timeout) if hang else 0.0
    began = phase * max(period, timeout)  # when the fault begins, within one turn of the loop
    now, tick, failed = 0.0, 0.0, 0
    while failed < failures:
        failed = failed + 1 if now >= began else 0
        now += cost
        if failed == failures:
            break
        tick = tick + period if tick + period >= now else now - (now - tick) % period
        now = max(now, tick)
    assert times.earliest_s - 1e-9 <= now - began <= times.latest_s + 1e-9


def probed(kind: str, name: str = "a", **probe: Any) -> Any:
    return pod(name, container={kind: probe})


def test_recorded_liveness_restarts_lie_inside_the_bound() -> None:
    """Kubernetes 1.36: period 1, threshold 2, timeout 1: SIGTERM 1.12-1.85 s after a 500, 2.2-3.1 s after a hang; seen as restarted 0.08-2 s later."""
    bound = liveness_restart_bound(probed("livenessProbe", periodSeconds=1, failureThreshold=2))
    assert bound is not None
    assert bound.earliest_s <= 1.12
    assert bound.seconds > 3.1 + 2 + 1


def test_recorded_readiness_lies_inside_the_bounds() -> None:
    """Ready=False 2.6-2.7 s after the fault with period 1, threshold 3; back 0.8-1.0 s after it ended."""
    victim = probed("readinessProbe", periodSeconds=1, failureThreshold=3)
    leave, back = leaves_service_bound(victim), returns_to_service_bound(victim)
    assert leave is not None
    assert back is not None
    assert leave.earliest_s == 2.0
    assert leave.seconds == 8.0
    assert back.seconds == 6.0


def test_recorded_replacements_lie_inside_the_bound() -> None:
    """0.9-2.1 s from the DELETE to the replacement's Ready."""
    bound = replacement_bound([pod("a", ready_since="2026-03-01T10:00:00Z")], deployment(), NODES)
    assert bound is not None
    assert 2.2 < bound.seconds == 8.0


def test_the_probes_own_grace_period_wins() -> None:
    bound = liveness_restart_bound(probed("livenessProbe", terminationGracePeriodSeconds=4))
    assert bound is not None
    assert "4 s grace period of the probe (spec.containers[app].livenessProbe.terminationGracePeriodSeconds)" in str(
        bound
    )


@pytest.mark.parametrize(("restarts", "waits"), [(0, 0.0), (1, 25.0), (2, 35.0), (3, 55.0), (6, 315.0), (50, 315.0)])
def test_earlier_restarts_have_earned_a_back_off(restarts: int, waits: float) -> None:
    fresh = liveness_restart_bound(pod("a", container={"livenessProbe": {}}))
    worn = liveness_restart_bound(pod("a", container={"livenessProbe": {}}, restarts=restarts))
    assert fresh is not None
    assert worn is not None
    assert worn.seconds - fresh.seconds == waits


def test_without_the_probe_there_is_no_bound() -> None:
    assert liveness_restart_bound(pod("a")) is None
    assert leaves_service_bound(pod("a")) is None
    assert returns_to_service_bound(pod("a")) is None


def test_a_readiness_gate_leaves_no_bound_for_what_ends_in_ready() -> None:
    gated = pod("a", container={"livenessProbe": {}, "readinessProbe": {}}, readinessGates=[{"conditionType": "x"}])
    assert replacement_bound([gated], deployment(), NODES) is None
    assert liveness_restart_bound(gated) is None
    assert returns_to_service_bound(gated) is None
    assert leaves_service_bound(gated) is not None


def test_a_startup_probe_gives_its_budget_and_then_readiness_takes_its_time() -> None:
    container = {
        "startupProbe": {"periodSeconds": 2, "failureThreshold": 10, "initialDelaySeconds": 3},
        "readinessProbe": {"periodSeconds": 5, "successThreshold": 2, "initialDelaySeconds": 1},
    }
    terms = start_terms([pod("a", container=container)])
    assert [term.seconds for term in terms] == [24.0, 1.0, 10.0, 1.0]
    assert terms[0].source == "spec.containers[app].startupProbe"


def test_the_start_is_measured_as_twice_the_slowest_with_the_resolution() -> None:
    (term,) = start_terms([pod("a"), pod("b", ready_since="2026-03-01T10:00:05Z"), pod("c", ready=False)])
    assert term.seconds == 11.0
    assert term.source == "measured (n=2)"
    assert "1 s resolution" in term.why


def test_a_pod_that_lost_its_readiness_since_does_not_count() -> None:
    (term,) = start_terms([pod("a"), pod("b", ready_since="2026-03-01T10:30:00Z")])
    assert (term.seconds, term.source) == (5.0, "measured (n=1)")


def test_without_a_ready_pod_the_start_is_assumed() -> None:
    (term,) = start_terms([pod("a", ready=False)])
    assert term.source.startswith("assumed (")


def test_the_grace_period_is_added_when_no_other_node_can_take_the_pod() -> None:
    usual = replacement_bound([pod("a")], deployment(), NODES)
    cordoned = replacement_bound([pod("a")], deployment(), (node("n1"), node("n2", unschedulable=True)))
    unknown = replacement_bound([pod("a")], deployment(), ())
    assert usual is not None
    assert cordoned is not None
    assert unknown is not None
    assert cordoned.seconds - usual.seconds == unknown.seconds - usual.seconds == 30.0
    assert "is not known" in str(unknown)


def test_a_statefulset_waits_for_the_old_pod() -> None:
    bound = replacement_bound([pod("a")], {**deployment(), "kind": "StatefulSet"}, NODES)
    assert bound is not None
    assert "a StatefulSet waits for the old pod" in str(bound)


def test_init_containers_are_measured_too() -> None:
    built: Any = pod("a", initContainers=[{"name": "init"}])
    for at, which in (("10:00:00", "PodScheduled"), ("10:00:04", "Initialized")):
        built["status"]["conditions"].append(
            {"type": which, "status": "True", "lastTransitionTime": f"2026-03-01T{at}Z"}
        )
    bound = replacement_bound([built], deployment(), NODES)
    assert bound is not None
    assert "9 s init containers, twice the slowest (measured (n=1))" in str(bound)


def test_every_assumption_names_its_flag() -> None:
    terms = (*propagation_bound().latest, *removal_bound().latest)
    assert all(term.source.startswith("assumed (") and "=" in term.source for term in terms)
    assert propagation_bound().seconds == 4.0
    assert removal_bound().seconds == 6.0
