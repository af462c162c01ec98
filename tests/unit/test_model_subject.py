"""Subjects carry no secrets, targets name exactly one thing, verdicts say what decided."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaoskit.model.experiment import Connections, Traffic
from chaoskit.model.subject import pruned, subject_from_json, subject_to_json
from chaoskit.model.target import Target, checked_name
from chaoskit.model.verdict import (
    Bound,
    Finding,
    Grade,
    Term,
    Verdict,
    bound_to_json,
    deciding,
    finding_to_json,
    verdict_to_json,
    worst,
)
from tests.histories import deployment, endpoint_slice, pod, shop, window


def test_a_subject_survives_json_and_ignores_what_later_versions_add() -> None:
    subject = shop(victims=["a"])
    data = json.loads(json.dumps(subject_to_json(subject)))
    assert subject_from_json({**data, "moons": []}) == subject
    assert subject.namespaces == ("shop",)


def test_victims_are_picked_pods_and_the_pods_of_picked_nodes() -> None:
    pods = (pod("a"), pod("b", node="n2"))
    assert [each["metadata"]["name"] for each in shop(*pods, victims=["a"]).victim_pods()] == ["a"]
    assert [each["metadata"]["name"] for each in shop(*pods, victims=["n2"]).victim_pods()] == ["b"]


def test_pruning_keeps_what_judging_needs_and_drops_what_could_carry_a_secret() -> None:
    full: Any = pod("a", containers=[{"name": "app", "env": [{"name": "K", "value": "hidden"}], "livenessProbe": {}}])
    full["metadata"]["annotations"] = {"chaoskit.dev/run": "x", "other.io/token": "hidden"}
    full["metadata"]["managedFields"] = ["hidden"]
    full["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "hidden"}}]
    lean = pruned(full)
    assert "hidden" not in json.dumps(lean)
    assert lean["spec"]["containers"] == [{"name": "app", "livenessProbe": {}}]
    assert lean["spec"]["volumes"] == [{"name": "v", "secret": {}}]
    assert lean["metadata"]["annotations"] == {"chaoskit.dev/run": "x"}
    assert lean["status"] == full["status"]


def test_templates_are_pruned_like_pods_and_slices_keep_their_endpoints() -> None:
    workload: Any = deployment()
    workload["spec"]["template"] = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "x", "env": [1]}]},
    }
    lean = pruned(workload)
    assert lean["spec"]["template"]["spec"]["containers"] == [{"name": "x"}]
    assert lean["spec"]["selector"] == workload["spec"]["selector"]
    assert pruned(endpoint_slice("a"))["endpoints"] == endpoint_slice("a")["endpoints"]


def test_a_target_names_exactly_one_thing_and_its_namespace() -> None:
    assert str(Target(namespace="shop", deployment="checkout")) == "deployment shop/checkout"
    assert str(Target(node="n1")) == "node n1"
    assert Target(namespace="shop", selector={"app": "x"}).kind == "selector"
    with pytest.raises(ValueError, match="exactly one of"):
        Target(namespace="shop")
    with pytest.raises(ValueError, match="this one names deployment, pod"):
        Target(namespace="shop", deployment="a", pod="b")
    with pytest.raises(ValueError, match="needs a namespace"):
        Target(deployment="a")


@pytest.mark.parametrize("pick", [0, -1, True, "0%", "100%", "some", 1.5])
def test_a_pick_of_nothing_is_refused(pick: Any) -> None:
    with pytest.raises(ValueError, match="picks nothing"):
        Target(namespace="shop", deployment="a", pick=pick)


@pytest.mark.parametrize("selector", [{}, {"a b": "c"}, {"a": "c d"}, {"a": 1}, {"-/x": "y"}])
def test_an_empty_or_malformed_selector_is_refused(selector: Any) -> None:
    with pytest.raises(ValueError):
        Target(namespace="shop", selector=selector)


@pytest.mark.parametrize("name", ["", "Shop", "a/b", "../x", "a" * 254, None, 3])
def test_a_name_that_could_lead_elsewhere_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes name"):
        checked_name(name)


def test_traffic_goes_somewhere_and_its_shares_add_up() -> None:
    with pytest.raises(ValueError, match="needs a service or a url"):
        Traffic()
    with pytest.raises(ValueError, match="belong together"):
        Traffic(service="shop", users=3)
    with pytest.raises(ValueError, match="add up"):
        Connections(fresh="30%", reuse="30%")


BOUND = Bound(
    (Term(6.0, "probe", "spec.x"), Term(0.0, "nothing", "spec.y"), Term(2.0, "observation", "assumed (slack=2s)"))
)


def test_a_bound_shows_its_sum() -> None:
    assert str(BOUND) == "8 s = 6 s probe (spec.x) + 2 s observation (assumed (slack=2s))"
    assert (BOUND.seconds, BOUND.earliest_s) == (8.0, 0.0)
    assert bound_to_json(BOUND)["seconds"] == 8.0


def test_windows_are_half_open() -> None:
    fault = window("fault", 1, 2)
    assert fault.holds(fault.start_ns)
    assert not fault.holds(fault.end_ns)
    assert fault.seconds == 1.0


def found(grade: Grade, because: str) -> Finding:
    return Finding("x", grade, because, window("fault", 0, 1), 1.0, 2.0, "s", BOUND, 3, (0.0, 1.0), (7,))


def test_a_broken_premise_decides_before_any_finding() -> None:
    verdict = Verdict(Grade.INCONCLUSIVE, (found(Grade.INCONCLUSIVE, "not injected"),), (found(Grade.FAIL, "bad"),))
    assert verdict.because == "not injected"
    assert not verdict.passed


def test_else_the_worst_finding_decides() -> None:
    fine, bad = found(Grade.PASS, "fine"), found(Grade.FAIL, "bad")
    assert deciding(Verdict(Grade.FAIL, (fine,), (fine, bad))).because == "bad"
    assert worst([fine, bad]) is Grade.FAIL
    assert worst([]) is Grade.INCONCLUSIVE
    assert Verdict(Grade.INCONCLUSIVE, (), ()).because == "nothing was judged"


def test_a_pass_counts_only_when_all_was_put_back() -> None:
    fine = (found(Grade.PASS, "fine"),)
    assert Verdict(Grade.PASS, (), fine).passed
    assert not Verdict(Grade.PASS, (), fine, "unknown").passed


def test_findings_and_verdicts_are_plain_data_for_reports() -> None:
    data = json.loads(json.dumps(verdict_to_json(Verdict(Grade.FAIL, (), (found(Grade.FAIL, "bad"),), "no"))))
    assert (data["verdict"], data["restored"], data["because"]) == ("FAIL", "no", "bad")
    assert data["findings"][0]["window"] == {"name": "fault", "round": 0, "seconds": 1.0}
    assert finding_to_json(Finding("x", Grade.PASS, ""))["window"] is None
