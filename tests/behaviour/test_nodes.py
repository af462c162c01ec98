"""Nodes that are lost and come back: their conditions, their pods, their Services. Needs the nodes' power switches."""

from __future__ import annotations

import time

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.power import Power
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import Trace, condition, dying, endpoints, gone, holds, ready, state

LIFECYCLE = "kubernetes.io: Nodes, node controller; recorded on 1.36"
PACE = "the fast profile's grace is 4 s instead of 50 s"

pytestmark = pytest.mark.whole_cluster


def _last_node(space: Space) -> str:
    """A node that carries nothing of the cluster's own if there is one."""
    names: list[str] = sorted(node["metadata"]["name"] for node in space.items("nodes") if ready(node))
    return names[-1]


def _there(node: str, seconds: int | None = None) -> Obj:
    """On that node, and for so long after its loss."""
    tolerations: list[Obj] = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute"}
        | ({} if seconds is None else {"tolerationSeconds": seconds})
        for key in ("unreachable", "not-ready")
    ]
    return {"nodeSelector": {"kubernetes.io/hostname": node}, "tolerations": tolerations}


def _lost(trace: Trace, node: str) -> float:
    """Wait until the node is Unknown; answers when."""
    seen = trace.wait("nodes", lambda seen: seen.name == node and holds(seen.obj, "Ready", "Unknown"), 90)
    assert condition(seen.obj, "Ready")["reason"] == "NodeStatusUnknown"
    return seen.at


def _taints(obj: Obj) -> set[tuple[str, str]]:
    return {(taint["key"], taint["effect"]) for taint in obj["spec"].get("taints") or ()}


@scenario(
    "A node without power turns Unknown after the grace; its pods Ready False without a reason, endpoints kept; back, the same pods start again",
    LIFECYCLE,
    differs=PACE,
)
@pytest.mark.nightly
def test_a_node_is_lost_and_returns(space: Space, power: Power) -> None:
    node = _last_node(space)
    space.create("services", app.service("web"))
    before = space.start(app.pod("p", app.serving(), labels={"app": "web"}, **_there(node)))
    space.until_slice("web", lambda found: found.get("p") == (True, True, False))
    trace = space.trace("nodes", "pods", "endpointslices")
    begun = time.monotonic()
    power.kill(node)
    lost = space.note("Unknown after the power cut", _lost(trace, node) - begun)
    assert (35 if space.real else 2) <= lost <= (90 if space.real else 20)
    out = trace.wait("pods", lambda seen: holds(seen.obj, "Ready", "False"))
    assert "reason" not in condition(out.obj, "Ready") and holds(out.obj, "ContainersReady")
    assert out.obj["status"]["phase"] == "Running" and not out.deleting
    trace.wait("endpointslices", lambda seen: endpoints(seen.obj).get("p") == (False, False, False))
    first = trace.wait("nodes", lambda seen: ("node.kubernetes.io/unreachable", "NoSchedule") in _taints(seen.obj))
    second = trace.wait("nodes", lambda seen: ("node.kubernetes.io/unreachable", "NoExecute") in _taints(seen.obj))
    assert first.step <= second.step
    power.start(node)
    trace.wait("nodes", lambda seen: seen.name == node and ready(seen.obj), 60, after=second)
    back = trace.wait("pods", lambda seen: ready(seen.obj), 60, after=out)
    assert back.obj["metadata"]["uid"] == before["metadata"]["uid"] and state(back.obj)["restartCount"] == 1
    trace.wait("nodes", lambda seen: seen.name == node and not _taints(seen.obj), 60, after=second)
    space.until_slice("web", lambda found: found.get("p") == (True, True, False), 60)


@scenario(
    "Pods of a lost node are deleted after tolerationSeconds and stay Terminating until it returns; a Deployment replaces them at once, a StatefulSet does not",
    LIFECYCLE,
    differs=PACE,
)
@pytest.mark.nightly
def test_pods_of_a_lost_node(space: Space, power: Power) -> None:
    node = _last_node(space)
    there = _there(node, 2)
    spread = {"tolerations": there["tolerations"], "affinity": _preferring(node)}
    space.create("deployments", app.workload("web", app.spec(app.container(), **spread), replicas=1))
    space.create("statefulsets", app.workload("db", app.spec(app.container(), **spread), replicas=1, serviceName="db"))
    web = space.until_ready(1, app="web")[0]["metadata"]["name"]
    space.until_ready(1, app="db")
    assert {pod["spec"]["nodeName"] for pod in space.items("pods")} == {node}
    trace = space.trace("nodes", "pods")
    power.kill(node)
    _lost(trace, node)
    marked = [trace.wait("pods", dying(name), 60) for name in (web, "db-0")]
    assert all(holds(seen.obj, "DisruptionTarget", reason="DeletionByTaintManager") for seen in marked)
    fresh = trace.wait("pods", lambda seen: seen.type == "ADDED" and seen.name.startswith("web"))
    trace.wait("pods", lambda seen: seen.name == fresh.name and ready(seen.obj))
    time.sleep(3)
    assert not trace.find("pods", gone(web)) and not trace.find("pods", gone("db-0"))
    power.start(node)
    trace.wait("pods", gone(web), 90)
    end = trace.wait("pods", gone("db-0"), 90)
    trace.wait("pods", lambda seen: seen.name == "db-0" and ready(seen.obj), 60, after=end)


def _preferring(node: str) -> Obj:
    want = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": want}]}}


@scenario("A frozen node agent: a deleted pod's process lives on, its object stays, until the thaw", LIFECYCLE)
def test_a_frozen_agent_ends_nothing(space: Space, power: Power) -> None:
    node = _last_node(space)
    space.create("services", app.service("web"))
    space.start(app.pod("p", app.serving(), labels={"app": "web"}, **_there(node)))
    address = space.get("services", "web")["spec"]["clusterIP"]
    elsewhere: Obj = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [node]}]}]}}}}  # fmt: skip
    space.start(app.pod("visitor", app.container(), **elsewhere), "running")
    space.until_knock(address, 8000, lambda word: word == "p")
    trace = space.trace("pods", "nodes")
    power.freeze(node)
    space.delete("pods", "p")
    trace.wait("pods", dying("p"))
    space.until_slice("web", lambda found: found.get("p") == (False, True, True))
    assert set(space.knock(address, 8000, times=8, every_s=0.2)) == {"p"}
    assert not trace.find("pods", gone("p"))
    power.thaw(node)
    trace.wait("pods", gone("p"), 30)
    eventually(lambda: ready(space.get("nodes", node)), 60, "the node is ready")


@scenario(
    "A DaemonSet's pod on a lost node is never evicted",
    "kubernetes.io: DaemonSet, taints and tolerations",
    differs=PACE,
)
@pytest.mark.nightly
def test_daemons_stay_on_a_lost_node(space: Space, power: Power) -> None:
    node = _last_node(space)
    space.create("daemonsets", app.workload("agent", app.spec(app.container())))
    count = len([each for each in space.items("nodes") if ready(each)])
    space.until_ready(count, app="agent")
    space.start(app.pod("witness", app.container(), **_there(node, 1)), "running")
    trace = space.trace("nodes", "pods")
    power.kill(node)
    _lost(trace, node)
    trace.wait("pods", dying("witness"), 60)
    time.sleep(1)
    assert {seen.name for seen in trace.seen("pods") if seen.deleting} == {"witness"}
    power.start(node)
    space.until_ready(count, 120, app="agent")
