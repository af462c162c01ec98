"""Cordon and drain, by kubectl: its rules, its exit codes, its patience."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import dying, gone, holds, ready

DRAIN = "kubernetes.io: Safely Drain a Node; kubectl pkg/drain/filters.go"
Kubectl = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [
    pytest.mark.whole_cluster,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on PATH"),
]


@pytest.fixture
def kubectl(space: Space) -> Kubectl:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        base = [
            "kubectl",
            "--kubeconfig",
            str(space.access.path),
            "--context",
            space.access.context,
            "-n",
            space.namespace,
        ]
        return subprocess.run([*base, *words], capture_output=True, text=True, timeout=100)

    return run


@pytest.fixture
def node(space: Space) -> Iterator[str]:
    """The node to drain, by name; schedulable again at the end."""
    name = max(node["metadata"]["name"] for node in space.items("nodes") if ready(node))
    try:
        yield name
    finally:
        space.patch("nodes", name, {"spec": {"unschedulable": None}})


def _on(node: str, **more: object) -> Obj:
    return app.spec(app.serving(), affinity=_preferring(node), **more)


def _preferring(node: str) -> Obj:
    want = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": want}]}}


def _cordoned(space: Space, node: str) -> bool:
    return bool(space.get("nodes", node)["spec"].get("unschedulable"))


@scenario(
    "A cordoned node gets the taint unschedulable:NoSchedule and no new pod, and loses the taint with the cordon",
    "kubernetes.io: Nodes, manual node administration",
)
def test_cordon(space: Space, kubectl: Kubectl, node: str) -> None:
    assert kubectl("cordon", node).stdout == f"node/{node} cordoned\n"
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}

    def tainted() -> bool:
        return any(taint.items() <= found.items() for found in space.get("nodes", node)["spec"].get("taints", ()))

    eventually(tainted, 5, "the taint")
    space.create("pods", app.pod("kept-off", app.container(), nodeSelector={"kubernetes.io/hostname": node}))
    space.until_pod("kept-off", lambda pod: holds(pod, "PodScheduled", "False", "Unschedulable"))
    assert kubectl("uncordon", node).stdout == f"node/{node} uncordoned\n"
    eventually(lambda: not tainted(), 5, "no taint")
    space.until_pod("kept-off", lambda pod: pod["spec"].get("nodeName") == node)


@scenario("A drain evicts, waits for the pods to be gone, and leaves the node cordoned", DRAIN)
def test_a_drain_evicts(space: Space, kubectl: Kubectl, node: str) -> None:
    space.create("replicasets", app.workload("web", _on(node), replicas=2))
    victims = [pod["metadata"]["name"] for pod in space.until_ready(2, app="web") if pod["spec"]["nodeName"] == node]
    assert victims
    trace = space.trace("pods")
    done = kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app=web")
    assert done.returncode == 0 and f"node/{node} drained" in done.stdout, done.stderr
    assert all(f"pod/{name} evicted" in done.stdout and trace.find("pods", gone(name)) for name in victims)
    assert _cordoned(space, node)
    assert all(pod["spec"]["nodeName"] != node for pod in space.until_ready(2, app="web"))


@scenario("A drain that a budget blocks tries again every 5 s until it may", f"{DRAIN}; recorded on 1.36")
def test_a_budget_delays_a_drain(space: Space, kubectl: Kubectl, node: str) -> None:
    space.create("replicasets", app.workload("web", _on(node), replicas=1))
    name = space.until_ready(1, app="web")[0]["metadata"]["name"]
    space.create("poddisruptionbudgets", app.budget("web", minAvailable=1))
    space.until("poddisruptionbudgets", "web", lambda found: found.get("status", {}).get("currentHealthy") == 1)
    trace = space.trace("pods")
    answers: list[subprocess.CompletedProcess[str]] = []
    drain = threading.Thread(
        target=lambda: answers.append(
            kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app=web")
        )
    )
    drain.start()
    eventually(lambda: _cordoned(space, node), what="the cordon")
    drain.join(2)
    assert drain.is_alive() and not trace.find("pods", dying(name))
    space.patch("poddisruptionbudgets", "web", {"spec": {"minAvailable": 0}})
    trace.wait("pods", dying(name), 15)
    drain.join(60)
    assert answers[0].returncode == 0
    assert (
        "(will retry after 5s): Cannot evict pod as it would violate the pod's disruption budget." in answers[0].stderr
    )


@scenario("A drain refuses and evicts nobody, but leaves the node cordoned, when it meets", DRAIN)
@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("a daemon", "cannot delete DaemonSet-managed Pods"),
        ("a bare pod", "cannot delete Pods that declare no controller"),
        ("an emptyDir", "cannot delete Pods with local storage"),
    ],
)
def test_what_a_drain_refuses(space: Space, kubectl: Kubectl, node: str, kind: str, complaint: str) -> None:
    there = {"nodeSelector": {"kubernetes.io/hostname": node}}
    if kind == "a bare pod":
        space.start(app.pod("web", app.container(), **there), "running")
    elif kind == "a daemon":
        space.create("daemonsets", app.workload("web", app.spec(app.container(), **there)))
    else:
        space.create(
            "replicasets",
            app.workload(
                "web", app.spec(app.container(), volumes=[{"name": "s", "emptyDir": {}}], **there), replicas=1
            ),
        )
    space.until_ready(1, app="web")
    done = kubectl("drain", node, "--pod-selector=app=web")
    assert done.returncode == 1 and complaint in done.stderr
    assert _cordoned(space, node) and len(space.pods(app="web")) == 1
