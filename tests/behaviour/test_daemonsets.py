"""DaemonSets: one pod a node, whatever becomes of node and pod."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import Look, dying, ending, gone, pod_ready, ready, terminal

DAEMONS = "kubernetes.io: DaemonSet"
CONFORMANCE = "conformance.yaml: test/e2e/apps/daemon_set.go"


def _nodes(space: Space) -> list[str]:
    return sorted(node["metadata"]["name"] for node in space.items("nodes") if ready(node))


def _on(pod: Obj) -> str:
    """The node that a daemon's pod is meant for; it is known before the pod is bound."""
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    name: str = terms[0]["matchFields"][0]["values"][0]
    return name


def _added_for(node: str) -> Look:
    return lambda seen: seen.type == "ADDED" and _on(seen.obj) == node


def _created(space: Space, pod_spec: Obj | None = None, **more: Any) -> list[Obj]:
    space.create("daemonsets", app.workload("agent", pod_spec, **more))
    return space.until_ready(len(_nodes(space)), app="agent")


@contextlib.contextmanager
def _labelled(space: Space, node: str, key: str) -> Iterator[None]:
    space.patch("nodes", node, {"metadata": {"labels": {key: "1"}}})
    try:
        yield
    finally:
        space.patch("nodes", node, {"metadata": {"labels": {key: None}}})


@scenario("One pod runs on each node, and the status counts them", f"{CONFORMANCE}, run and stop simple daemon")
def test_one_pod_a_node(space: Space) -> None:
    pods = _created(space)
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == _nodes(space) == sorted(_on(pod) for pod in pods)
    count = len(pods)
    status = space.until("daemonsets", "agent", lambda found: found["status"].get("numberAvailable") == count)["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"], status["numberMisscheduled"]) == (count, count, 0)


@scenario(
    "The replacement waits for the old pod to be terminal, not for DELETED", "recorded on 1.36; pkg/controller/daemon"
)
def test_a_replacement_waits_for_the_end_of_the_process(space: Space) -> None:
    victim = _created(space, app.spec(app.serving(LINGER="1")))[0]
    name = victim["metadata"]["name"]
    trace = space.trace("pods")
    space.delete("pods", name)
    ended = trace.wait("pods", lambda seen: seen.name == name and terminal(seen.obj))
    fresh = trace.wait("pods", lambda seen: seen.type == "ADDED")
    assert ended.step < fresh.step and _on(fresh.obj) == _on(victim)
    space.note("replacement after the old pod ended", fresh.at - ended.at)
    trace.wait("pods", gone(name))


@scenario("Pods of a DaemonSet tolerate what befalls a node, for ever", f"{DAEMONS}, taints and tolerations")
def test_daemons_tolerate_what_befalls_a_node(space: Space) -> None:
    pod = _created(space, app.spec(app.container()))[0]
    found = {
        (t.get("key", "").removeprefix("node.kubernetes.io/"), t.get("effect")): t.get("tolerationSeconds")
        for t in pod["spec"]["tolerations"]
    }
    for key, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ):
        assert found[key, effect] is None


@scenario(
    "A node selector decides which nodes get a pod, when labels come and when they go", f"{CONFORMANCE}, complex daemon"
)
def test_a_node_selector(space: Space) -> None:
    key = f"chaoskit.test/{secrets.token_hex(4)}"
    node = _nodes(space)[-1]
    space.create("daemonsets", app.workload("agent", app.spec(app.serving(), nodeSelector={key: "1"})))
    space.until("daemonsets", "agent", lambda found: found.get("status", {}).get("observedGeneration") == 1)
    assert not space.pods(app="agent")
    with _labelled(space, node, key):
        assert space.until_ready(1, app="agent")[0]["spec"]["nodeName"] == node
    eventually(lambda: not space.items("pods"), what="no pod without the label")


@scenario(
    "A rolling update ends an old pod before it makes the new one, at most maxUnavailable nodes at a time",
    f"{CONFORMANCE}, RollingUpdate",
)
def test_a_rolling_update_node_by_node(space: Space) -> None:
    before = {pod["metadata"]["name"]: _on(pod) for pod in _created(space)}
    trace = space.trace("pods", "daemonsets")
    space.patch("daemonsets", "agent", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
    count = len(before)
    trace.wait(
        "daemonsets",
        lambda seen: (
            seen.obj["status"].get("updatedNumberScheduled") == count
            and seen.obj["status"].get("numberAvailable") == count
        ),
        90,
    )
    for name, node in before.items():
        assert trace.wait("pods", ending(name)).step < trace.wait("pods", _added_for(node)).step
    marks = sorted(trace.wait("pods", dying(name)).step for name in before)
    fresh_names = {seen.name for seen in trace.seen("pods") if seen.type == "ADDED"}
    ups = sorted(trace.wait("pods", pod_ready(name)).step for name in fresh_names)
    assert all(up < mark for up, mark in zip(ups, marks[1:], strict=False)), (
        "the next node waits until this one's pod is ready"
    )


@scenario("OnDelete changes a daemon's pod only when somebody deletes it", DAEMONS)
def test_on_delete(space: Space) -> None:
    names = [
        pod["metadata"]["name"]
        for pod in _created(space, app.spec(app.container()), updateStrategy={"type": "OnDelete"})
    ]
    trace = space.trace("pods")
    space.patch("daemonsets", "agent", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
    space.until("daemonsets", "agent", lambda found: found["status"]["observedGeneration"] == 2)
    space.delete("pods", names[0])
    fresh = trace.wait("pods", lambda seen: seen.type == "ADDED")
    assert fresh.obj["metadata"]["annotations"]["v"] == "2"
    trace.wait("pods", lambda seen: seen.name == fresh.name and ready(seen.obj))
    assert {seen.name for seen in trace.seen("pods") if seen.deleting} == {names[0]}


@scenario("A Failed pod of a DaemonSet is deleted and made again", f"{CONFORMANCE}, retry creating failed daemon pods")
@pytest.mark.nightly
def test_a_failed_pod_is_made_again(space: Space) -> None:
    victim = _created(space, app.spec(app.container()))[0]
    trace = space.trace("pods")
    space.patch("pods", victim["metadata"]["name"], {"spec": {"activeDeadlineSeconds": 1}})
    trace.wait("pods", gone(victim["metadata"]["name"]))
    fresh = trace.wait("pods", lambda seen: seen.type == "ADDED")
    assert _on(fresh.obj) == _on(victim)


@pytest.mark.whole_cluster
@scenario("Cordoning a node neither ends its daemon nor keeps a new one off", DAEMONS)
def test_daemons_do_not_mind_a_cordon(space: Space) -> None:
    victim = _created(space, app.spec(app.container()))[0]
    node = victim["spec"]["nodeName"]
    trace = space.trace("pods")
    space.patch("nodes", node, {"spec": {"unschedulable": True}})
    try:
        eventually(lambda: space.get("nodes", node)["spec"].get("taints"), what="the taint")
        assert not trace.seen("pods")
        space.delete("pods", victim["metadata"]["name"])
        fresh = trace.wait("pods", lambda seen: ready(seen.obj) and seen.name != victim["metadata"]["name"])
        assert fresh.obj["spec"]["nodeName"] == node
    finally:
        space.patch("nodes", node, {"spec": {"unschedulable": None}})
