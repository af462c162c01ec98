"""Nodes that fall silent, are cordoned or tainted, and the pods on them."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.controllers.node_lifecycle import Heartbeats, silenced
from chaoskit.sandbox.controllers.node_taints import may_evict, wanted_taints, with_taints, zone_state
from chaoskit.sandbox.facts.conditions import condition_is
from chaoskit.sandbox.placement.taints import stay_s, tolerates
from chaoskit.sandbox.registry import Obj
from chaoskit.sandbox.settings import Timings, fast

from .controlled import World, run, set_ready, until, workload, world

QUICK = dataclasses.replace(
    fast(), node_monitor_grace_period_s=0.8, node_monitor_period_s=0.05, default_unreachable_toleration_s=1
)


@pytest.fixture(autouse=True)
def _no_crash() -> Any:
    crashes.clear()
    yield
    assert not crashes


def node(ready: str = "True", name: str = "n", zone: str = "", **spec: Any) -> Obj:
    conditions = [{"type": "Ready", "status": ready}, {"type": "MemoryPressure", "status": "False"}]
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"conditions": conditions}}


def test_silence_is_measured_from_the_last_change_seen() -> None:
    now = [100.0]
    beats = Heartbeats(lambda: now[0])
    assert beats.silent_s("n", "first") == 0.0
    now[0] = 103.0
    assert beats.silent_s("n", "first") == 3.0
    assert beats.silent_s("n", "second") == 0.0


def test_all_that_a_silent_node_reported_turns_unknown_and_times_move_once() -> None:
    told = silenced(node(), 1_700_000_000)
    assert [(each["type"], each["status"], each["reason"]) for each in told] == [
        ("Ready", "Unknown", "NodeStatusUnknown"),
        ("MemoryPressure", "Unknown", "NodeStatusUnknown"),
        ("DiskPressure", "Unknown", "NodeStatusNeverUpdated"),
        ("PIDPressure", "Unknown", "NodeStatusNeverUpdated"),
    ]
    again = silenced({**node(), "status": {"conditions": told[:2]}}, 1_800_000_000)
    assert again[0] == told[0]


@pytest.mark.parametrize(
    ("given", "evict", "expected"),
    [
        (node(), True, set()),
        (node(unschedulable=True), True, {("unschedulable", "NoSchedule")}),
        (node("False"), True, {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")}),
        (node("Unknown"), True, {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}),
        (node("Unknown"), False, {("unreachable", "NoSchedule")}),
    ],
)
def test_taints_follow_conditions_and_cordon(given: Obj, evict: bool, expected: set[tuple[str, str]]) -> None:
    assert wanted_taints(given, evict=evict) == {(f"node.kubernetes.io/{key}", effect) for key, effect in expected}


def test_foreign_taints_and_those_already_there_are_not_touched() -> None:
    own = {"key": "team", "effect": "NoSchedule", "value": "shop"}
    kept = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": "then"}
    stale = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}
    wanted = wanted_taints(node(unschedulable=True), evict=True)
    assert with_taints([own, stale, kept], wanted, 0) == [own, kept]
    assert with_taints([own], wanted, 0)[1]["timeAdded"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("readiness", "state"),
    [
        ([True, True, False], "normal"),
        ([True, False, False], "normal"),
        ([False, False, False], "full"),
        ([True, True, False, False, False], "partial"),
        ([True, True, True, False, False, False], "normal"),
        ([], "normal"),
    ],
)
def test_the_state_of_a_zone(readiness: list[bool], state: str) -> None:
    assert zone_state(readiness) == state


def test_nobody_is_evicted_when_every_zone_is_down_or_a_small_zone_mostly() -> None:
    down, up = node("Unknown", "a", "z1"), node("True", "b", "z2")
    assert may_evict(down, [down, up])
    assert not may_evict(down, [down, node("False", "b", "z2")])
    mostly = [node("Unknown", str(number)) for number in range(3)] + [
        node("True", str(number)) for number in range(3, 5)
    ]
    assert not may_evict(mostly[0], mostly)


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "operator": "Equal", "value": "other"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"value": "v"}, False),
    ],
)
def test_what_a_toleration_covers(toleration: Obj, tolerated: bool) -> None:
    assert tolerates(toleration, {"key": "k", "value": "v", "effect": "NoSchedule"}) is tolerated


def test_a_pod_stays_for_the_shortest_toleration_in_use() -> None:
    taints = [{"key": "a", "effect": "NoExecute"}, {"key": "b", "effect": "NoExecute"}]

    def stay(*tolerations: Obj) -> float | None:
        return stay_s({"spec": {"tolerations": list(tolerations)}}, taints)

    forever, a_while = {"operator": "Exists"}, {"key": "a", "operator": "Exists", "tolerationSeconds": 7}
    assert stay() == 0.0 and stay(a_while) == 0.0
    assert stay(forever) is None
    assert stay(a_while, {"key": "b", "operator": "Exists", "tolerationSeconds": 3}) == 3.0
    assert stay(a_while, forever) == 7.0
    assert stay({"key": "a", "operator": "Exists", "tolerationSeconds": 0}, forever) == 0.0


# -- the running controllers


def taints(here: World, name: str) -> set[tuple[str, str]]:
    found = here.registry.get("nodes", "", name)["spec"].get("taints") or ()
    return {(taint["key"].removeprefix("node.kubernetes.io/"), taint["effect"]) for taint in found}


class Kubelets:
    """Renew the lease of every node but the silent ones, and report those Ready again that are thought silent."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.silent: set[str] = set()

    async def run(self) -> None:
        for count in itertools.count():
            stamp = f"2026-01-01T{count // 3600 % 24:02}:{count // 60 % 60:02}:{count % 60:02}.000000Z"
            for name in {each["metadata"]["name"] for each in self.here.registry.list("nodes")} - self.silent:
                self._renew(name, stamp)
                report = {
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "lastHeartbeatTime": stamp[:19] + "Z",
                }
                if not condition_is(self.here.registry.get("nodes", "", name), "Ready", "True"):
                    self.here.registry.set_condition("nodes", "", name, report, actor=name)
            await asyncio.sleep(0.03)

    def _renew(self, name: str, stamp: str) -> None:
        registry, spec = self.here.registry, {"renewTime": stamp, "holderIdentity": name}
        if registry.find("leases", "kube-node-lease", name) is None:
            registry.create("leases", "kube-node-lease", {"metadata": {"name": name}, "spec": spec}, actor=name)
        else:
            registry.patch("leases", "kube-node-lease", name, {"spec": spec}, style="merge", actor=name)


@asynccontextmanager
async def living_world(timings: Timings = QUICK) -> AsyncIterator[tuple[World, Kubelets]]:
    """A world with a settled Deployment `web` of three, whose nodes renew their leases."""
    async with world(timings=timings) as here:
        kubelets = Kubelets(here)
        task = asyncio.create_task(kubelets.run())
        try:
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            yield here, kubelets
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_cordon_puts_a_taint_on_and_uncordon_takes_it_off() -> None:
    async def main() -> None:
        async with world() as here:
            here.registry.patch("nodes", "", "node-1", {"spec": {"unschedulable": True}}, style="merge", actor="test")
            await until(lambda: taints(here, "node-1") == {("unschedulable", "NoSchedule")}, "cordoned")
            here.registry.patch("nodes", "", "node-1", {"spec": {"unschedulable": None}}, style="merge", actor="test")
            await until(lambda: not taints(here, "node-1"), "uncordoned")

    run(main())


def test_a_silent_node_turns_unknown_loses_its_pods_and_comes_back() -> None:
    async def main() -> None:
        async with living_world() as (here, kubelets):
            victim = next(pod for pod in here.pods() if pod["spec"]["nodeName"] == "node-2")["metadata"]["name"]
            here.graceful_s = 60.0
            kubelets.silent.add("node-2")

            def ready() -> Obj:
                conditions = here.registry.get("nodes", "", "node-2")["status"]["conditions"]
                return next(each for each in conditions if each["type"] == "Ready")

            await until(lambda: ready()["status"] == "Unknown", "silence is noticed")
            assert (ready()["reason"], ready()["message"]) == (
                "NodeStatusUnknown",
                "Kubelet stopped posting node status.",
            )
            condition = next(
                each
                for each in here.registry.get("pods", "shop", victim)["status"]["conditions"]
                if each["type"] == "Ready"
            )
            assert condition["status"] == "False" and "reason" not in condition and "message" not in condition
            assert taints(here, "node-2") == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
            assert "Node is not ready" in here.events("NodeNotReady")
            await until(
                lambda: "deletionTimestamp" in here.registry.get("pods", "shop", victim)["metadata"],
                "evicted after its toleration",
            )
            targeted = [
                each["reason"]
                for each in here.registry.get("pods", "shop", victim)["status"]["conditions"]
                if each["type"] == "DisruptionTarget"
            ]
            assert targeted == ["DeletionByTaintManager"]
            assert f"Marking for deletion Pod shop/{victim}" in here.events("TaintManagerEviction")
            await until(
                lambda: [bool(pod["spec"].get("nodeName")) for pod in here.active()] == [True] * 3,
                "a replacement elsewhere",
            )
            assert {pod["spec"].get("nodeName") for pod in here.active()} <= {"node-1", "node-3"}
            kubelets.silent.clear()
            await until(lambda: not taints(here, "node-2"), "back without taints")

    run(main())


def test_a_node_that_returns_in_time_cancels_the_eviction() -> None:
    async def main() -> None:
        async with living_world(dataclasses.replace(QUICK, default_unreachable_toleration_s=60)) as (here, kubelets):
            names = {pod["metadata"]["name"] for pod in here.pods()}
            kubelets.silent.add("node-1")
            await until(lambda: ("unreachable", "NoExecute") in taints(here, "node-1"), "tainted")
            kubelets.silent.clear()
            await until(lambda: here.events("TaintManagerEviction"), "the cancelling is told")
            assert here.events("TaintManagerEviction")[0].startswith("Cancelling deletion of Pod shop/web-")
            for pod in here.pods():
                set_ready(here.registry, pod, True)
            assert {pod["metadata"]["name"] for pod in here.active()} == names

    run(main())


def test_when_all_nodes_fall_silent_nobody_is_evicted() -> None:
    async def main() -> None:
        # The nodes are not found silent in the same instant: whoever is first must not be evicted before the last is.
        async with living_world(dataclasses.replace(QUICK, default_unreachable_toleration_s=5)) as (here, kubelets):
            kubelets.silent |= {"node-1", "node-2", "node-3"}
            silent = ("unreachable", "NoSchedule")
            await until(lambda: all(silent in taints(here, name) for name in kubelets.silent), "all unreachable")
            await until(lambda: all(taints(here, name) == {silent} for name in kubelets.silent), "no eviction taints")
            assert len(here.active()) == 3

    run(main())


def test_a_no_execute_taint_evicts_at_once_what_does_not_tolerate_it() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            body = {"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}}
            here.registry.patch("nodes", "", "node-3", body, style="merge", actor="test")
            await until(
                lambda: here.is_settled() and "node-3" not in {pod["spec"].get("nodeName") for pod in here.pods()},
                "moved away",
            )

    run(main())
