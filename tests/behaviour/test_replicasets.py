"""ReplicaSets: whom they own, and whom they let go first."""

from __future__ import annotations

import time

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import dying, ready

ADOPTION = "conformance.yaml: test/e2e/apps/replica_set.go, adopt matching pods on creation and release no longer matching pods"


def _owners(pod: Obj) -> list[str]:
    return [owner["kind"] for owner in pod["metadata"].get("ownerReferences", ()) if owner.get("controller")]


@scenario("A ReplicaSet adopts a matching pod that nobody owns instead of creating one", ADOPTION)
def test_an_orphan_is_adopted(space: Space) -> None:
    space.start(app.pod("orphan", app.container(), labels={"app": "web"}), "running")
    space.create("replicasets", app.workload("web", app.spec(app.container()), replicas=1))
    space.until_pod("orphan", lambda pod: _owners(pod) == ["ReplicaSet"])
    space.until("replicasets", "web", lambda found: found["status"].get("readyReplicas") == 1)
    assert [pod["metadata"]["name"] for pod in space.pods(app="web")] == ["orphan"]


@scenario("A pod whose labels no longer match is released, lives on and is replaced", ADOPTION)
def test_a_pod_is_released(space: Space) -> None:
    space.create("replicasets", app.workload("web", app.spec(app.container()), replicas=1))
    name = space.until_ready(1, app="web")[0]["metadata"]["name"]
    space.patch("pods", name, {"metadata": {"labels": {"app": "other"}}})
    released = space.until_pod(name, lambda pod: not _owners(pod))
    fresh = space.until_ready(1, app="web")[0]["metadata"]["name"]
    assert fresh != name and "deletionTimestamp" not in released["metadata"]
    assert space.get("pods", name)["status"]["phase"] == "Running"


@scenario("A pod that another controller owns is not adopted", "pkg/controller/controller_ref_manager.go")
def test_an_owned_pod_is_left_alone(space: Space) -> None:
    first = app.workload("first", app.spec(app.container()), replicas=1)
    first["spec"]["template"]["metadata"]["labels"]["shared"] = "1"
    space.create("replicasets", first)
    name = space.until_ready(1, app="first")[0]["metadata"]["name"]
    second = app.workload("second", app.spec(app.container()), replicas=1)
    second["spec"]["selector"] = {"matchLabels": {"shared": "1"}}
    second["spec"]["template"]["metadata"]["labels"] = {"shared": "1"}
    space.create("replicasets", second)
    eventually(lambda: len(space.pods(shared="1")) == 2, 20, "the second made its own pod")
    owner = space.get("pods", name)["metadata"]["ownerReferences"][0]
    assert owner["name"] == "first"


@scenario("Scaling down deletes first", "pkg/controller/controller_utils.go, ActivePodsWithRanks")
@pytest.mark.parametrize(
    "rule", ["the pod that is not ready", "the lowest pod-deletion-cost", "not ready before a lower cost"]
)
def test_who_goes_first(space: Space, rule: str) -> None:
    space.create("replicasets", app.workload("web", app.spec(app.touchy()), replicas=3))
    names = [pod["metadata"]["name"] for pod in space.until_ready(3, app="web")]
    victim, other = names[1], names[2]
    if "cost" in rule:
        cheap = other if "before" in rule else victim
        space.patch("pods", cheap, {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-10"}}})
    if "not ready" in rule:
        space.tell(victim, ready=False)
        space.until_pod(victim, lambda pod: not ready(pod))
        space.until("replicasets", "web", lambda found: found["status"].get("readyReplicas") == 2)
    space.until(
        "replicasets", "web", lambda found: found["status"]["observedGeneration"] == found["metadata"]["generation"]
    )
    trace = space.trace("pods")
    time.sleep(0.2)  # the controller works on its own copy of the pods, which our changes have to reach
    space.scale("replicasets", "web", 2)
    trace.wait("pods", dying(victim))
    assert all(not seen.deleting for seen in trace.seen("pods") if seen.name != victim)


@scenario("A Failed pod of a ReplicaSet is replaced", "pkg/controller/replicaset, FilterActivePods")
@pytest.mark.nightly
def test_a_failed_pod_is_replaced(space: Space) -> None:
    space.create("replicasets", app.workload("web", app.spec(app.container()), replicas=1))
    first = space.until_ready(1, app="web")[0]["metadata"]["name"]
    space.patch("pods", first, {"spec": {"activeDeadlineSeconds": 1}})
    failed = space.until_pod(first, lambda pod: pod["status"].get("phase") == "Failed")
    assert failed["status"]["reason"] == "DeadlineExceeded"
    eventually(lambda: any(pod["metadata"]["name"] != first for pod in space.pods(app="web")), what="a replacement")


@scenario("Each created pod is told of in an event", "pkg/controller/controller_utils.go, SuccessfulCreatePodReason")
def test_creation_is_an_event(space: Space) -> None:
    space.create("replicasets", app.workload("web", app.spec(app.container()), replicas=1))
    name = space.until_ready(1, app="web")[0]["metadata"]["name"]
    assert space.events("web", "SuccessfulCreate")[0]["message"] == f"Created pod: {name}"
    assert name in space.events(name, "Scheduled")[0]["message"]
    assert space.events(name, "Started")


@scenario(
    "A template whose pods should run for ever takes no deadline", "pkg/apis/apps/validation, pkg/apis/core/validation"
)
@pytest.mark.parametrize("resource", ["replicasets", "deployments", "statefulsets", "daemonsets"])
def test_a_template_without_end(space: Space, resource: str) -> None:
    body = app.workload("web", app.spec(app.container(), activeDeadlineSeconds=2))
    answer = space.http.post(space.path(resource), json=body)
    assert answer.status_code == 422
    assert [cause["field"] for cause in answer.json()["details"]["causes"]] == [
        "spec.template.spec.activeDeadlineSeconds"
    ]
