"""Pods, owners, selectors, Services, nodes, rounding: Kubernetes' own rules, as recorded on a real cluster."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.model.resource import Obj
from chaoskit.semantics.nodes import others_for, takes
from chaoskit.semantics.owners import controller_uid, desired, named, pods_of, roots
from chaoskit.semantics.pods import (
    condition,
    container_id,
    grace_s,
    is_active,
    is_ready,
    is_terminating,
    ready_at,
    restart_count,
    seconds_to_initialize,
    seconds_to_ready,
    serves,
    started_at,
)
from chaoskit.semantics.rounding import rolling_update, scaled
from chaoskit.semantics.selectors import matches, service_selects
from chaoskit.semantics.services import expected_ready, listed_ready, services_of, should_be_ready, slices_of
from chaoskit.semantics.timestamps import parse_timestamp
from tests.histories import deployment, endpoint_slice, node, owner, pod, replicaset, service

NEW: Obj = {"metadata": {"name": "new", "namespace": "shop", "uid": "new"}, "spec": {"containers": [{"name": "app"}]}}
"""A pod the kubelet has not reported on."""


def test_a_gracefully_deleted_pod_stays_ready_but_does_not_serve() -> None:
    dying = pod("a", terminating=True)
    assert is_ready(dying)
    assert is_terminating(dying)
    assert not serves(dying)
    assert not is_active(dying)


def test_a_pod_that_ended_is_no_replica() -> None:
    assert not is_active(pod("a", ready=False, phase="Succeeded"))
    assert is_active(pod("a", ready=False))


def test_a_pod_without_a_status_is_neither_ready_nor_restarted() -> None:
    assert not is_ready(NEW)
    assert condition(NEW, "Ready") is None
    assert restart_count(NEW, "app") == 0
    assert container_id(NEW, "app") == ""
    assert started_at(NEW) is ready_at(NEW) is seconds_to_ready(NEW) is seconds_to_initialize(NEW) is None


def test_an_unready_pod_has_no_time_to_ready() -> None:
    assert seconds_to_ready(pod("a")) == 2.0
    assert seconds_to_ready(pod("a", ready=False)) is None
    assert seconds_to_ready(pod("a", started="2026-03-01T11:00:00Z")) is None  # Ready dates from before the restart


def test_init_containers_take_from_scheduled_to_initialized() -> None:
    built: Any = pod("a")
    for at, which in (("10:00:00", "PodScheduled"), ("10:00:07", "Initialized")):
        built["status"]["conditions"].append(
            {"type": which, "status": "True", "lastTransitionTime": f"2026-03-01T{at}Z"}
        )
    assert seconds_to_initialize(built) == 7.0


def test_grace_is_30_s_unless_said_and_0_is_a_value() -> None:
    assert grace_s(pod("a")) == 30.0
    assert grace_s(pod("a", terminationGracePeriodSeconds=0)) == 0.0


def test_timestamps_that_are_none_are_none() -> None:
    assert parse_timestamp("2026-03-01T10:00:00Z") == 1772359200.0
    assert parse_timestamp(None) is None
    assert parse_timestamp("yesterday") is None


def test_pods_belong_by_the_uid_chain_and_never_by_labels() -> None:
    replicasets = [replicaset(), replicaset("other", uid="rs-other", owned_by="d-other")]
    pods = [pod("a"), pod("b", owned_by="rs-other"), pod("c", owned_by=""), pod("d", owned_by="d")]
    assert [each["metadata"]["name"] for each in pods_of(deployment(), replicasets, pods)] == ["a", "d"]


def test_an_owner_that_does_not_control_is_no_controller() -> None:
    adopted: Any = pod("a", owned_by="")
    adopted["metadata"]["ownerReferences"] = [{**owner("ReplicaSet", "rs"), "controller": False}]
    assert controller_uid(adopted) == ""


def test_roots_are_what_nobody_else_here_controls() -> None:
    alone = replicaset("alone", uid="alone", owned_by="elsewhere")
    assert [named(root) for root in roots([deployment(), replicaset(), alone])] == ["shop/shop", "shop/alone"]


def test_replicas_default_to_one_and_0_is_a_value() -> None:
    assert desired(deployment(replicas=None)) == 1
    assert desired(deployment(replicas=0)) == 0


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({"matchLabels": {"app": "shop"}}, True),
        ({"matchLabels": {"app": "shop", "tier": "web"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop", "x"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({}, True),
        (None, False),
    ],
)
def test_label_selectors(selector: Obj | None, fits: bool) -> None:
    assert matches(selector, {"app": "shop"}) is fits


def test_an_operator_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="Gt"):
        matches({"matchExpressions": [{"key": "a", "operator": "Gt"}]}, {})


def test_a_service_without_a_selector_selects_nothing() -> None:
    assert service_selects(service(), {"app": "shop", "more": "x"})
    assert not service_selects(service(selector=None), {"app": "shop"})
    assert not service_selects({"metadata": {}, "spec": {"selector": {}}}, {"app": "shop"})


def test_services_select_in_their_own_namespace_only() -> None:
    elsewhere: Any = service("far")
    elsewhere["metadata"]["namespace"] = "other"
    assert [each["metadata"]["name"] for each in services_of(pod("a"), [service(), elsewhere])] == ["shop"]


def test_expected_endpoints_are_ready_have_an_address_and_are_not_on_their_way_out() -> None:
    pods = [pod("a"), pod("b", ready=False), pod("c", terminating=True), pod("d", ip=""), pod("e", labels={"app": "x"})]
    assert expected_ready(service(), pods) == {"a"}


def test_publish_not_ready_addresses_lists_all_but_ended_ones() -> None:
    published = service(publishNotReadyAddresses=True)
    assert should_be_ready(published, pod("a", ready=False))
    assert should_be_ready(published, pod("a", terminating=True))
    assert not should_be_ready(published, pod("a", ready=False, phase="Failed"))


def test_an_absent_ready_condition_means_ready_and_null_endpoints_none() -> None:
    found: Any = endpoint_slice("a", draining=["b"])
    found["endpoints"].append({"targetRef": {"uid": "c"}})
    found["endpoints"].append({"addresses": ["10.0.0.9"]})
    assert listed_ready(found) == {"a", "c"}
    assert listed_ready({**found, "endpoints": None}) == frozenset()


def test_slices_belong_to_the_service_they_name() -> None:
    assert slices_of(service(), [endpoint_slice("a"), endpoint_slice("a", of="other")]) == [endpoint_slice("a")]


@pytest.mark.parametrize(
    ("replicas", "rolling", "expected"),
    [
        (1, {}, (1, 0)),
        (3, {}, (1, 0)),
        (4, {}, (1, 1)),
        (10, {}, (3, 2)),
        (3, {"maxSurge": 0, "maxUnavailable": "10%"}, (0, 1)),
    ],
)
def test_surge_rounds_up_and_unavailable_down(replicas: int, rolling: Obj, expected: tuple[int, int]) -> None:
    spec = {"replicas": replicas, "strategy": {"rollingUpdate": rolling}}
    assert rolling_update({"metadata": {}, "spec": spec}) == expected


def test_what_is_neither_a_number_nor_a_percentage_is_refused() -> None:
    assert scaled(2, 10, up=True) == 2
    with pytest.raises(ValueError, match="half"):
        scaled("half", 10, up=True)


TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("candidate", "spec", "fits"),
    [
        (node("n2"), {}, True),
        (node("n2", ready=False), {}, False),
        (node("n2", unschedulable=True), {}, False),
        (node("n2", taints=[TAINT]), {}, False),
        (node("n2", taints=[{**TAINT, "effect": "PreferNoSchedule"}]), {}, True),
        (node("n2", taints=[TAINT]), {"tolerations": [{"key": "gpu", "operator": "Exists"}]}, True),
        (node("n2", taints=[TAINT]), {"tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}, True),
        (node("n2", taints=[TAINT]), {"tolerations": [{"key": "gpu", "value": "no"}]}, False),
        (
            node("n2", taints=[TAINT]),
            {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]},
            False,
        ),
        (node("n2", taints=[TAINT]), {"tolerations": [{"operator": "Exists"}]}, True),
        (node("n2"), {"nodeSelector": {"disk": "ssd"}}, False),
        (node("n2", labels={"disk": "ssd"}), {"nodeSelector": {"disk": "ssd"}}, True),
    ],
)
def test_whether_a_node_takes_a_pod(candidate: Obj, spec: dict[str, Any], fits: bool) -> None:
    assert takes(candidate, pod("a", **spec)) is fits


def test_a_pods_own_node_is_not_another() -> None:
    assert others_for(pod("a", node="n1"), [node("n1")]) == []
    assert others_for(pod("a", node="n1"), [node("n1"), node("n2")]) == [node("n2")]
