"""NoExecute taints: who is evicted, and when. The scenarios share nodes, so each is alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.behaviour import app
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import condition, dying, gone, holds, ready

TAINTS = "kubernetes.io: Taints and Tolerations, NoExecute"
CONFORMANCE = "conformance.yaml: test/e2e/node/taints.go"
KEY = "chaoskit.test/sick"

pytestmark = pytest.mark.whole_cluster


@pytest.fixture
def node(space: Space) -> str:
    name: str = max(node["metadata"]["name"] for node in space.items("nodes") if ready(node))
    return name


@contextmanager
def _tainted(space: Space, node: str, effect: str = "NoExecute") -> Iterator[float]:
    kept = space.get("nodes", node)["spec"].get("taints", [])
    space.patch("nodes", node, {"spec": {"taints": [*kept, {"key": KEY, "value": "1", "effect": effect}]}})
    try:
        yield time.monotonic()
    finally:
        _clean(space, node)


def _clean(space: Space, node: str) -> None:
    kept = [taint for taint in space.get("nodes", node)["spec"].get("taints", []) if taint["key"] != KEY]
    space.patch("nodes", node, {"spec": {"taints": kept or None}})


def _start(space: Space, node: str, *seconds: int | None, name: str = "p") -> None:
    """A pod on that node that tolerates the taint for so long; None is for ever, nothing not at all."""
    tolerations: list[Obj] = [
        {"key": KEY, "operator": "Exists", "effect": "NoExecute"} | ({} if one is None else {"tolerationSeconds": one})
        for one in seconds
    ]
    there: Obj = {"nodeSelector": {"kubernetes.io/hostname": node}, "tolerations": tolerations}
    space.start(app.pod(name, app.container(), **there), "running")


@scenario(
    "Without a toleration a NoExecute taint evicts at once, marked DisruptionTarget DeletionByTaintManager",
    f"{CONFORMANCE}, evict pods",
)
def test_no_toleration(space: Space, node: str) -> None:
    _start(space, node)
    trace = space.trace("pods")
    with _tainted(space, node) as begun:
        marked = trace.wait("pods", lambda seen: holds(seen.obj, "DisruptionTarget", reason="DeletionByTaintManager"))
        deleting = trace.wait("pods", dying("p"))
        assert marked.step <= deleting.step
        assert space.note("evicted", deleting.at - begun) < 10
        assert space.events("p", "TaintManagerEviction")


@scenario(
    "tolerationSeconds bounds the stay; of several for one taint the first counts",
    f"{CONFORMANCE}; component-helpers, GetMatchingTolerations",
)
@pytest.mark.parametrize("seconds", [(3,), (2, 60)], ids=["one", "the first"])
def test_toleration_seconds(space: Space, node: str, seconds: tuple[int, ...]) -> None:
    _start(space, node, *seconds)
    trace = space.trace("pods")
    with _tainted(space, node) as begun:
        waited = space.note(f"evicted after tolerationSeconds {seconds[0]}", trace.wait("pods", dying("p")).at - begun)
        assert seconds[0] - 1 <= waited <= seconds[0] + 10


@scenario(
    "A taint that is taken away in time cancels the eviction", f"{CONFORMANCE}, remove taint before the toleration ends"
)
@pytest.mark.nightly
def test_a_cancelled_eviction(space: Space, node: str) -> None:
    _start(space, node, 4)
    trace = space.trace("pods")
    with _tainted(space, node):
        time.sleep(1)
    time.sleep(5)
    assert not trace.find("pods", lambda seen: seen.deleting)


@scenario("A toleration without seconds stays for ever, and a NoSchedule taint evicts nobody", TAINTS)
@pytest.mark.parametrize("effect", ["NoExecute", "NoSchedule"])
@pytest.mark.nightly
def test_who_stays(space: Space, node: str, effect: str) -> None:
    _start(space, node, *((None,) if effect == "NoExecute" else ()))
    _start(space, node, *((0,) if effect == "NoExecute" else ()), name="witness")
    trace = space.trace("pods")
    with _tainted(space, node, effect):
        if effect == "NoExecute":
            trace.wait("pods", gone("witness"))
        else:
            time.sleep(1.5)
        assert not any(seen.deleting for seen in trace.seen("pods", "p"))


@scenario("A pod that does not tolerate a NoSchedule taint waits for a node without it", TAINTS)
def test_no_schedule_keeps_off(space: Space, node: str) -> None:
    with _tainted(space, node, "NoSchedule"):
        space.create("pods", app.pod("p", app.container(), nodeSelector={"kubernetes.io/hostname": node}))
        waiting = space.until_pod("p", lambda pod: holds(pod, "PodScheduled", "False", "Unschedulable"))
        assert "untolerated taint" in condition(waiting, "PodScheduled")["message"]
    space.until_pod("p", ready)


@scenario(
    "Every pod tolerates an unready and an unreachable node for 300 s by default",
    f"{TAINTS}, DefaultTolerationSeconds",
    differs="5 s in the fast profile",
)
def test_default_tolerations(space: Space) -> None:
    pod: Obj = space.create("pods", app.pod("p", app.container()))
    found = {t["key"]: (t["operator"], t["effect"], t["tolerationSeconds"]) for t in pod["spec"]["tolerations"]}
    kept = ("Exists", "NoExecute", 300 if space.real else 5)
    assert found == {"node.kubernetes.io/not-ready": kept, "node.kubernetes.io/unreachable": kept}
