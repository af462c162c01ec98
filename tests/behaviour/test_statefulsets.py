"""StatefulSets: the order of ordinals, identity, updates from the end, partitions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import Seen, Trace, dying, gone, pod_ready, ready, terminal

STATEFUL = "kubernetes.io: StatefulSets"
CONFORMANCE = "conformance.yaml: test/e2e/apps/statefulset.go"


def _create(space: Space, replicas: int, pod_spec: Obj | None = None, **more: Any) -> None:
    space.create("statefulsets", app.workload("db", pod_spec, replicas=replicas, serviceName="db", **more))


def _created(space: Space, replicas: int, pod_spec: Obj | None = None, **more: Any) -> None:
    _create(space, replicas, pod_spec, **more)
    space.until_ready(replicas, app="db")
    space.until("statefulsets", "db", lambda found: found["status"].get("readyReplicas", 0) == replicas)


def _added(trace: Trace, name: str, after: Seen | None = None) -> Seen:
    return trace.wait("pods", lambda seen: seen.type == "ADDED" and seen.name == name, 60, after=after)


def _change(space: Space, value: str) -> None:
    space.patch("statefulsets", "db", {"spec": {"template": {"metadata": {"annotations": {"v": value}}}}})


@scenario(
    "OrderedReady creates the next ordinal only when the one before is ready", f"{CONFORMANCE}, predictable order"
)
def test_ordered_creation(space: Space) -> None:
    trace = space.trace("pods")
    _create(space, 3)
    for before, name in (("db-0", "db-1"), ("db-1", "db-2")):
        up = trace.wait("pods", pod_ready(before), 60)
        assert up.step < _added(trace, name).step
    trace.wait("pods", pod_ready("db-2"), 60)


@scenario("Parallel creates all ordinals at once", f"{CONFORMANCE}, burst scaling")
def test_parallel_creation(space: Space) -> None:
    trace = space.trace("pods")
    _create(space, 3, podManagementPolicy="Parallel")
    last = max(_added(trace, f"db-{ordinal}").step for ordinal in range(3))
    assert last < trace.wait("pods", lambda seen: ready(seen.obj), 60).step


@scenario("OrderedReady creates no further ordinal while one is not ready", f"{CONFORMANCE}, halts when unhealthy")
@pytest.mark.nightly
def test_creation_halts_at_an_unready_pod(space: Space) -> None:
    _created(space, 1)
    trace = space.trace("pods")
    space.tell("db-0", ready=False)
    trace.wait("pods", lambda seen: not ready(seen.obj))
    space.until("statefulsets", "db", lambda found: not found["status"].get("readyReplicas"))
    space.scale("statefulsets", "db", 2)
    space.until(
        "statefulsets", "db", lambda found: found["status"]["observedGeneration"] == found["metadata"]["generation"]
    )
    space.tell("db-0", ready=True)
    again = trace.wait("pods", pod_ready("db-0"))
    assert again.step < _added(trace, "db-1").step


@scenario(
    "A deleted pod comes back under its name, with a new uid, only after DELETED", f"{STATEFUL}; recorded on 1.36"
)
def test_a_name_is_never_used_twice(space: Space) -> None:
    _created(space, 1, app.spec(app.serving(LINGER="1")))
    uid = space.get("pods", "db-0")["metadata"]["uid"]
    trace = space.trace("pods")
    space.delete("pods", "db-0")
    ended = trace.wait("pods", lambda seen: terminal(seen.obj))
    end = trace.wait("pods", gone("db-0"))
    fresh = _added(trace, "db-0")
    assert ended.step < end.step < fresh.step
    assert fresh.obj["metadata"]["uid"] != uid
    space.note("recreated after DELETED", fresh.at - end.at)
    assert fresh.at - end.at < 5


@scenario("Of two deleted pods the higher ordinal waits until the lower is ready again", "recorded on 1.36")
@pytest.mark.nightly
def test_replacement_is_ordered_too(space: Space) -> None:
    _created(space, 3)
    trace = space.trace("pods")
    space.delete("pods", "db-2")
    space.delete("pods", "db-0")
    trace.wait("pods", gone("db-0"))
    trace.wait("pods", gone("db-2"))
    first = _added(trace, "db-0")
    up = trace.wait("pods", pod_ready("db-0"), after=first)
    second = trace.wait("pods", lambda seen: seen.type == "ADDED" and seen.name == "db-2", after=None)
    assert first.step < up.step < second.step


@scenario(
    "Scaling down goes from the highest ordinal, each waiting for the one before to be gone",
    f"{CONFORMANCE}, reverse order",
)
def test_ordered_scaling_down(space: Space) -> None:
    _created(space, 3)
    trace = space.trace("pods")
    space.scale("statefulsets", "db", 1)
    last = trace.wait("pods", dying("db-2"))
    end = trace.wait("pods", gone("db-2"))
    middle = trace.wait("pods", dying("db-1"))
    assert last.step < end.step < middle.step
    trace.wait("pods", gone("db-1"))
    assert not trace.find("pods", dying("db-0"))


@scenario(
    "A rolling update goes from the highest ordinal and waits for each to be ready", f"{CONFORMANCE}, rolling updates"
)
def test_updates_go_from_the_end(space: Space) -> None:
    _created(space, 2)
    trace = space.trace("pods", "statefulsets")
    _change(space, "2")
    last = trace.wait("pods", dying("db-1"))
    up = trace.wait("pods", pod_ready("db-1"), 60, after=trace.wait("pods", gone("db-1")))
    first = trace.wait("pods", dying("db-0"), 60)
    assert last.step < up.step < first.step
    done = trace.wait("statefulsets", lambda seen: _finished(seen.obj), 60)
    assert done.obj["status"]["currentRevision"] == done.obj["status"]["updateRevision"]


def _finished(stateful: Obj) -> bool:
    status = stateful["status"]
    return bool(
        status["currentRevision"] == status["updateRevision"]
        and status.get("updatedReplicas") == status.get("readyReplicas") == stateful["spec"]["replicas"]
        and status["observedGeneration"] == stateful["metadata"]["generation"]
    )


@scenario(
    "Below the partition pods stay at, and come back with, the old revision",
    f"{CONFORMANCE}, canary and phased rolling updates",
)
def test_a_partition_holds_back(space: Space) -> None:
    _created(space, 2, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    old = space.get("statefulsets", "db")["status"]["updateRevision"]
    trace = space.trace("pods")
    _change(space, "2")
    trace.wait("pods", pod_ready("db-1"), 60, after=trace.wait("pods", gone("db-1")))
    status = space.until("statefulsets", "db", lambda found: found["status"].get("updatedReplicas") == 1)["status"]
    assert status["currentRevision"] == old != status["updateRevision"]
    space.delete("pods", "db-0")
    back = trace.wait("pods", pod_ready("db-0"), 60, after=trace.wait("pods", gone("db-0")))
    assert back.obj["metadata"]["labels"]["controller-revision-hash"] == old
    assert space.get("pods", "db-1")["metadata"]["labels"]["controller-revision-hash"] == status["updateRevision"]


@scenario("OnDelete changes a pod only when somebody deletes it", STATEFUL)
def test_on_delete(space: Space) -> None:
    _created(space, 2, updateStrategy={"type": "OnDelete"}, podManagementPolicy="Parallel")
    trace = space.trace("pods")
    _change(space, "2")
    fresh = space.until(
        "statefulsets", "db", lambda found: found["status"]["updateRevision"] != found["status"]["currentRevision"]
    )
    space.delete("pods", "db-0")
    back = trace.wait("pods", pod_ready("db-0"), 60, after=trace.wait("pods", gone("db-0")))
    assert back.obj["metadata"]["labels"]["controller-revision-hash"] == fresh["status"]["updateRevision"]
    assert not trace.find("pods", dying("db-1"))


@scenario("A pod's name is its host name and is in its labels, with its index", STATEFUL)
def test_identity(space: Space) -> None:
    _created(space, 2, podManagementPolicy="Parallel")
    pod = space.get("pods", "db-1")
    labels = pod["metadata"]["labels"]
    assert (labels["statefulset.kubernetes.io/pod-name"], labels["apps.kubernetes.io/pod-index"]) == ("db-1", "1")
    assert pod["spec"]["hostname"] == "db-1" and pod["spec"]["subdomain"] == "db"
    assert space.ask("db-1", "/").text == "db-1"


@scenario("Ordinals may start elsewhere than at 0", "KEP-3335, spec.ordinals.start")
def test_ordinals_may_start_elsewhere(space: Space) -> None:
    _created(space, 2, app.spec(app.container()), ordinals={"start": 5})
    assert [pod["metadata"]["name"] for pod in space.pods(app="db")] == ["db-5", "db-6"]


@scenario(
    "Force-deleted, two processes may hold one identity: the new pod starts while the old process gets its 2 s",
    "recorded on 1.36",
)
def test_force_deletion_doubles_an_identity(space: Space) -> None:
    _created(space, 1, app.spec(app.serving(LINGER="60")))
    log = space.follow("db-0")
    log.at("up")
    trace = space.trace("pods")
    space.delete("pods", "db-0", gracePeriodSeconds=0)
    end = trace.wait("pods", gone("db-0"))
    fresh = _added(trace, "db-0")
    assert end.step < fresh.step
    assert log.over.wait(20)
    last_beat = log.lines[-1][0]
    assert log.has("TERM") and last_beat > fresh.at, "the old process outlived the start of the new pod"


@scenario(
    "A pod of a StatefulSet that fails is deleted and made again",
    "pkg/controller/statefulset, failed pods are recreated",
)
def test_a_failed_pod_is_made_again(space: Space) -> None:
    _created(space, 1)
    uid = space.get("pods", "db-0")["metadata"]["uid"]
    space.patch("pods", "db-0", {"spec": {"activeDeadlineSeconds": 1}})
    space.until_pod("db-0", lambda pod: pod["metadata"]["uid"] != uid and ready(pod))


@scenario("Each template becomes a ControllerRevision", "pkg/controller/history")
def test_revisions_are_kept(space: Space) -> None:
    _created(space, 1, app.spec(app.container()))
    _change(space, "2")

    def look() -> list[int] | None:
        found = sorted(int(one["revision"]) for one in space.items("controllerrevisions"))
        return found if len(found) == 2 else None

    assert eventually(look, what="two revisions") == [1, 2]


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@scenario("Scaled to 0 and up again, names are the same", STATEFUL)
@pytest.mark.nightly
def test_names_return(space: Space, policy: str) -> None:
    _created(space, 2, app.spec(app.container()), podManagementPolicy=policy)
    space.scale("statefulsets", "db", 0)
    eventually(lambda: not space.items("pods"), 40, "no pods")
    space.scale("statefulsets", "db", 2)
    assert [pod["metadata"]["name"] for pod in space.until_ready(2, app="db")] == ["db-0", "db-1"]
