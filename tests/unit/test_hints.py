"""Advice before a run: what the workload's own settings do not allow, and holds that decide nothing. Never a verdict."""

from __future__ import annotations

from typing import Any

from chaoskit.experiments.fail_liveness import FailLiveness
from chaoskit.experiments.fail_readiness import FailReadiness
from chaoskit.experiments.kill_pod import KillPod
from chaoskit.experiments.switches import HttpSwitch
from chaoskit.model.experiment import Experiment, Phases
from chaoskit.model.seams import Fault
from chaoskit.model.target import Target
from chaoskit.runner.plan import hints_of_manifests
from chaoskit.slos import parse_slo

PROBE = {"httpGet": {"path": "/", "port": 80}}


def manifests(**probe: Any) -> list[dict[str, Any]]:
    container = {"name": "app", "readinessProbe": PROBE | probe, "livenessProbe": PROBE | probe}
    template = {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "shop"}}, "template": template}
    return [
        {"kind": "Deployment", "metadata": {"name": "shop", "namespace": "shop"}, "spec": spec},
        {"kind": "Service", "metadata": {"name": "shop", "namespace": "shop"}, "spec": {"selector": {"app": "shop"}}},
    ]


def experiment(fault: Fault, *slos: str, hold: str = "60s") -> Experiment:
    return Experiment(
        name="x",
        target=Target(namespace="shop", deployment="shop"),
        fault=fault,
        slos=tuple(parse_slo(text) for text in slos),
        phases=Phases(hold=hold),
    )


UNREADY = FailReadiness(http=HttpSwitch(port=9090, path="/switches/readiness"))
DEAD = FailLiveness(http=HttpSwitch(port=9090, path="/switches/liveness"))


def test_an_objective_tighter_than_the_probes_gets_the_floor_told() -> None:
    (hint,) = hints_of_manifests(experiment(UNREADY, "recoveredWithin 10s"), manifests())
    assert hint.startswith("recoveredWithin 10s is tighter than the workload's own probe allows")
    assert "33 s = 30 s readiness probe notices, 3 x 10 s (spec.containers[app].readinessProbe)" in hint
    assert hints_of_manifests(experiment(UNREADY, "recoveredWithin 40s"), manifests()) == ()
    assert hints_of_manifests(experiment(UNREADY, "longestOutage < 10s"), manifests(periodSeconds=1)) == ()


def test_a_fault_that_no_probe_has_to_notice_has_no_floor() -> None:
    assert hints_of_manifests(experiment(KillPod(), "recoveredWithin 1s"), manifests()) == ()


def test_a_hold_that_decides_nothing_is_told() -> None:
    (hint,) = hints_of_manifests(experiment(UNREADY, "returnsToService", hold="15s"), manifests())
    assert hint.startswith("phases.hold of 15 s is shorter than returnsToService may need to be decided: 33 s")
    (hint,) = hints_of_manifests(experiment(DEAD, "restartedInPlace", hold="15s"), manifests())
    assert "restartedInPlace may need to be decided: 31 s" in hint
    assert hints_of_manifests(experiment(UNREADY, "returnsToService", hold="60s"), manifests()) == ()


def test_manifests_that_do_not_hold_the_target_say_nothing() -> None:
    assert hints_of_manifests(experiment(UNREADY, "recoveredWithin 1s"), []) == ()
