"""PodDisruptionBudgets and the Eviction API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.behaviour import app
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import condition, dying, gone, holds

BUDGETS = "kubernetes.io: Specifying a Disruption Budget"
EVICTION = "kubernetes.io: API-initiated Eviction"
CONFORMANCE = "conformance.yaml: test/e2e/apps/disruption.go"


def _app(space: Space, replicas: int, pod_spec: Obj | None = None) -> list[str]:
    space.create("deployments", app.workload("web", pod_spec, replicas=replicas))
    return [pod["metadata"]["name"] for pod in space.until_ready(replicas, app="web")]


def _budget(space: Space, name: str = "web", **more: Any) -> Obj:
    """A budget for the app, seen by its controller."""
    body = app.budget("web", **more)
    body["metadata"]["name"] = name
    space.create("poddisruptionbudgets", body)
    return _observed(space, name)


def _observed(space: Space, name: str = "web") -> Obj:
    found = space.until(
        "poddisruptionbudgets",
        name,
        lambda found: found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"],
    )
    status: Obj = found["status"]
    return status


@scenario(
    "An eviction that would break the budget is refused with 429, the cause DisruptionBudget and its arithmetic",
    EVICTION,
)
def test_a_budget_blocks(space: Space) -> None:
    pod = _app(space, 2)[0]
    _budget(space, minAvailable=2)
    answer = space.evict(pod)
    status = answer.json()
    assert (answer.status_code, status["reason"]) == (429, "TooManyRequests")
    assert status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert status["details"]["causes"] == [
        {"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods and has 2 currently"}
    ]
    assert "deletionTimestamp" not in space.get("pods", pod)["metadata"]


@scenario("A dry run obeys the budget and evicts nobody", EVICTION)
def test_a_dry_run_obeys_the_budget(space: Space) -> None:
    pod = _app(space, 2)[0]
    _budget(space, minAvailable=2)
    assert space.evict(pod, dry_run=True).status_code == 429
    space.patch("poddisruptionbudgets", "web", {"spec": {"minAvailable": 1}})
    _observed(space)
    assert space.evict(pod, dry_run=True).status_code == 201
    assert "deletionTimestamp" not in space.get("pods", pod)["metadata"]


@scenario(
    "A budget that is relaxed lets the eviction through",
    f"{CONFORMANCE}, block an eviction until the PDB is updated to allow it",
)
def test_a_relaxed_budget_lets_through(space: Space) -> None:
    pod = _app(space, 2)[0]
    _budget(space, minAvailable=2)
    assert space.evict(pod).status_code == 429
    space.patch("poddisruptionbudgets", "web", {"spec": {"minAvailable": 1}})
    _observed(space)
    answer = space.evict(pod)
    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (201, "Success", 201)


@scenario("Two budgets for one pod: its eviction is a 500", EVICTION)
def test_two_budgets_are_an_error(space: Space) -> None:
    pod = _app(space, 1)[0]
    for name in ("a", "b"):
        _budget(space, name, maxUnavailable=1)
    answer = space.evict(pod)
    assert answer.status_code == 500 and "reason" not in answer.json()
    assert answer.json()["message"] == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )


@scenario("Whether a pod that is not ready may be evicted", "KEP-3017, unhealthyPodEvictionPolicy; recorded on 1.36")
@pytest.mark.parametrize(
    ("policy", "least", "code"),
    [(None, 1, 201), (None, 2, 429), ("IfHealthyBudget", 2, 429), ("AlwaysAllow", 2, 201)],
    ids=["default, healthy", "default, unhealthy", "IfHealthyBudget, unhealthy", "AlwaysAllow, unhealthy"],
)
def test_evicting_an_unready_pod(space: Space, policy: str | None, least: int, code: int) -> None:
    victim, _ = _app(space, 2, app.spec(app.touchy()))
    _budget(space, minAvailable=least, **({"unhealthyPodEvictionPolicy": policy} if policy else {}))
    space.tell(victim, ready=False)
    space.until("poddisruptionbudgets", "web", lambda found: found["status"]["currentHealthy"] == 1)
    assert space.evict(victim).status_code == code


@scenario("A pending pod may be evicted whatever the budget", "pkg/registry/core/pod/storage/eviction.go, canIgnorePDB")
def test_a_pending_pod_may_be_evicted(space: Space) -> None:
    space.create(
        "deployments",
        app.workload("web", app.spec(app.container(), nodeSelector={"chaoskit.test/nowhere": "1"}), replicas=1),
    )
    space.until("deployments", "web", lambda found: found.get("status", {}).get("replicas") == 1)
    assert _budget(space, minAvailable=1)["disruptionsAllowed"] == 0
    assert space.evict(space.pods(app="web")[0]["metadata"]["name"]).status_code == 201


@scenario(
    "An eviction takes from the budget, marks the pod DisruptionTarget EvictionByEvictionAPI, then deletes it; its replacement gives back",
    "recorded on 1.36; pkg/registry/core/pod/storage/eviction.go",
)
def test_the_order_of_an_eviction(space: Space) -> None:
    pod = _app(space, 2)[0]
    assert _budget(space, minAvailable=1)["disruptionsAllowed"] == 1
    trace = space.trace("pods", "poddisruptionbudgets")
    assert space.evict(pod).status_code == 201
    taken = trace.wait("poddisruptionbudgets", lambda seen: seen.obj["status"]["disruptionsAllowed"] == 0)
    assert pod in taken.obj["status"].get("disruptedPods", {}) or taken.obj["status"]["currentHealthy"] == 1
    marked = trace.wait("pods", lambda seen: holds(seen.obj, "DisruptionTarget", reason="EvictionByEvictionAPI"))
    deleting = trace.wait("pods", dying(pod))
    assert marked.step < deleting.step and not marked.deleting
    back = trace.wait("poddisruptionbudgets", lambda seen: seen.obj["status"]["disruptionsAllowed"] == 1, after=taken)
    assert back.obj["status"]["currentHealthy"] == 2 and not back.obj["status"].get("disruptedPods")
    assert holds(back.obj, "DisruptionAllowed", reason="SufficientPods")


@scenario("Two evictions in a row, a budget of one: the second is refused", f"{CONFORMANCE}; recorded on 1.36")
def test_the_second_eviction_is_refused(space: Space) -> None:
    first, second = _app(space, 2)
    _budget(space, minAvailable=1)
    assert [space.evict(pod).status_code for pod in (first, second)] == [201, 429]


@scenario("How many healthy pods a budget wants: percentages round up", BUDGETS)
@pytest.mark.parametrize(
    ("limit", "desired", "allowed"),
    [
        ({"minAvailable": "50%"}, 2, 1),
        ({"maxUnavailable": "34%"}, 1, 2),
        ({"maxUnavailable": 0}, 3, 0),
        ({"minAvailable": 5}, 5, 0),
        ({"minAvailable": 0}, 0, 3),
    ],
    ids=[
        "minAvailable 50% of 3",
        "maxUnavailable 34% of 3",
        "maxUnavailable 0",
        "minAvailable 5 of 3",
        "minAvailable 0",
    ],
)
def test_the_arithmetic(space: Space, limit: dict[str, Any], desired: int, allowed: int) -> None:
    _app(space, 3, app.spec(app.container()))
    _budget(space, **limit)
    found = space.until("poddisruptionbudgets", "web", lambda found: found["status"]["currentHealthy"] == 3)["status"]
    assert (found["expectedPods"], found["desiredHealthy"], found["disruptionsAllowed"]) == (3, desired, allowed)


@scenario(
    "A pod that stops being ready takes from the budget at once, and gives back when it is ready",
    f"{CONFORMANCE}, observes status",
)
def test_readiness_moves_the_budget(space: Space) -> None:
    victim = _app(space, 2, app.spec(app.touchy()))[0]
    _budget(space, minAvailable=1)
    trace = space.trace("poddisruptionbudgets", "pods")
    space.tell(victim, ready=False)
    down = trace.wait("pods", lambda seen: condition(seen.obj, "Ready").get("status") == "False")
    taken = trace.wait("poddisruptionbudgets", lambda seen: seen.obj["status"]["disruptionsAllowed"] == 0)
    assert holds(taken.obj, "DisruptionAllowed", "False", "InsufficientPods") and taken.at - down.at < 3
    space.tell(victim, ready=True)
    trace.wait("poddisruptionbudgets", lambda seen: seen.obj["status"]["disruptionsAllowed"] == 1, after=taken)


@scenario("A budget guards against eviction only, not against deletion", BUDGETS)
def test_deletion_minds_no_budget(space: Space) -> None:
    pod = _app(space, 1)[0]
    _budget(space, minAvailable=1)
    trace = space.trace("pods")
    space.delete("pods", pod)
    trace.wait("pods", gone(pod))
    assert not any(condition(seen.obj, "DisruptionTarget") for seen in trace.seen("pods"))


@scenario("A pod without a budget is evicted with its own grace", EVICTION)
def test_without_a_budget(space: Space) -> None:
    space.start(app.pod("alone"), "up")
    trace = space.trace("pods")
    assert space.evict("alone").status_code == 201
    assert trace.wait("pods", dying("alone")).obj["metadata"]["deletionGracePeriodSeconds"] == 5
    trace.wait("pods", gone("alone"))


@scenario(
    "A budget without a selector chooses nothing, one with an empty selector every pod",
    "policy/v1, PodDisruptionBudgetSpec.selector",
)
@pytest.mark.parametrize(("selector", "code"), [(None, 201), ({}, 429)], ids=["null", "empty"])
def test_selectors_of_budgets(space: Space, selector: object, code: int) -> None:
    space.create("replicasets", app.workload("web", app.spec(app.container()), replicas=1))
    pod = space.until_ready(1, app="web")[0]["metadata"]["name"]
    body = app.budget("web", minAvailable=1)
    body["spec"]["selector"] = selector
    space.create("poddisruptionbudgets", body)
    _observed(space)
    assert space.evict(pod).status_code == code
