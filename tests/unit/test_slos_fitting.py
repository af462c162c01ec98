"""Which promises fit, and how many requests an SLO takes."""

from __future__ import annotations

import dataclasses

import pytest

from chaoskit.slos import parse_slo
from chaoskit.slos.fitting import fitting, samples_needed
from tests.histories import pod, service, shop


def test_a_deployment_behind_a_service_is_held_to_both_promises() -> None:
    found = fitting(shop())
    assert [slo.kind for slo in found.promises] == ["replicasRestored", "onlyReadyEndpoints"]
    assert found.left_out == ()


def test_what_does_not_fit_is_left_out_with_the_reason() -> None:
    bare = dataclasses.replace(shop(services=[]), workloads=())
    reasons = {left.slo: left.because for left in fitting(bare).left_out}
    assert reasons == {
        "replicasRestored": "no Deployment or ReplicaSet controls the target: nothing would replace a pod",
        "onlyReadyEndpoints": "no Service selects the target's pods",
    }


def test_gates_and_services_without_a_selector_are_left_out() -> None:
    found = fitting(shop(pod("a", readinessGates=[{"conditionType": "x"}]), services=[service(selector=None)]))
    assert found.promises == ()
    assert [left.because.split(":")[0] for left in found.left_out] == [
        "a readinessGate decides when a pod is ready",
        "its Services have no selector",
    ]


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("availability >= 99.9%", 1000),
        ("latency p95 < 1s", 20),
        ("recoveredWithin 5s", 100),
        ("replicasRestored", None),
    ],
)
def test_the_requests_that_an_slo_takes(text: str, needed: int | None) -> None:
    assert samples_needed(parse_slo(text)) == needed
