"""What is left behind: pods whose node is gone, claims that are still in use, pods that wait for a claim."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.registry import Obj

from .controlled import PATIENT, World, daemons, job, run, stateful, template, until, workload, world


@pytest.fixture(autouse=True)
def _no_crash() -> Any:
    crashes.clear()
    yield
    assert not crashes


def claim(name: str = "data") -> Obj:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": name}, "spec": spec}


def user(name: str = "db", of: str = "data") -> Obj:
    spec = template()["spec"] | {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": of}}]}
    return {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}


def test_pods_of_a_node_that_stays_away_are_failed_and_removed_and_replaced() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            watch = here.registry.subscribe("pods")
            watch.pending()
            lost = {each["metadata"]["name"] for each in here.pods() if each["spec"]["nodeName"] == "node-1"}
            here.kubelet_runs = False
            began_s = asyncio.get_running_loop().time()
            here.registry.delete("nodes", "", "node-1", actor="test")
            await until(lambda: not lost & {each["metadata"]["name"] for each in here.pods()}, "removed")
            took_s = asyncio.get_running_loop().time() - began_s
            assert took_s >= PATIENT.pod_gc_quarantine_s, "not before the quarantine is over"
            here.kubelet_runs = True
            last = [each.obj for each in watch.pending() if each.obj["metadata"]["name"] in lost][-1]
            assert last["status"]["phase"] == "Failed"
            assert last["status"]["conditions"][-1]["reason"] == "DeletionByPodGC"
            for pod in here.pods():
                here.tend(pod)
            await here.settled()

    run(main())


def test_a_node_out_of_service_frees_its_terminating_pods() -> None:
    async def main() -> None:
        async with world(nodes=2) as here:
            here.apply("deployments", workload("Deployment", replicas=2))
            await here.settled()
            here.kubelet_runs = False
            victim = next(each for each in here.pods() if each["spec"]["nodeName"] == "node-1")["metadata"]["name"]
            here.registry.delete("pods", "shop", victim, actor="test")
            ready = {"type": "Ready", "status": "Unknown"}
            here.registry.set_condition("nodes", "", "node-1", ready, actor="test")
            await asyncio.sleep(0.05)
            assert here.registry.find("pods", "shop", victim) is not None
            taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
            fresh = here.registry.get("nodes", "", "node-1")
            taints = [*fresh["spec"].get("taints", ()), taint]
            here.registry.patch("nodes", "", "node-1", {"spec": {"taints": taints}}, style="merge", actor="test")
            await until(lambda: here.registry.find("pods", "shop", victim) is None, "freed")

    run(main())


def test_a_claim_is_bound_at_once_and_outlives_its_deletion_while_it_is_used() -> None:
    async def main() -> None:
        async with world(nodes=1) as here:
            made = here.apply("persistentvolumeclaims", claim())
            assert made["status"] == {
                "phase": "Bound",
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
            }
            here.apply("pods", user())
            await until(lambda: here.pods()[0]["status"].get("podIP"), "it runs")
            here.registry.delete("persistentvolumeclaims", "shop", "data", actor="test")
            await asyncio.sleep(0.05)
            assert "deletionTimestamp" in here.registry.get("persistentvolumeclaims", "shop", "data")["metadata"]
            here.registry.delete("pods", "shop", "db", actor="test")
            await until(lambda: here.registry.find("persistentvolumeclaims", "shop", "data") is None, "unused, so gone")

    run(main())


def test_a_pod_waits_for_a_claim_that_is_missing() -> None:
    async def main() -> None:
        async with world(nodes=1) as here:
            here.apply("pods", user())
            text = '0/1 nodes are available: persistentvolumeclaim "data" not found. not found'
            await until(lambda: here.events("FailedScheduling") == [text], "the reason")
            here.apply("persistentvolumeclaims", claim())
            await until(lambda: here.pods()[0]["status"].get("podIP"), "it runs")

    run(main())


def test_a_namespace_goes_with_every_kind_in_it() -> None:
    async def main() -> None:
        async with world(nodes=2) as here:
            _furnish(here)
            await until(lambda: len(here.registry.list("pods", "shop")) >= 5, "everything runs")
            here.registry.delete("namespaces", "", "shop", actor="test")
            await until(lambda: here.registry.find("namespaces", "", "shop") is None, "the namespace is gone")
            assert not here.registry.list("pods", "shop")

    run(main())


def _furnish(here: World) -> None:
    here.apply("statefulsets", stateful(replicas=1, volumeClaimTemplates=[claim()]))
    here.apply("daemonsets", daemons())
    here.apply("jobs", job())
    here.apply("deployments", workload("Deployment", replicas=1))
    here.apply("poddisruptionbudgets", {"metadata": {"name": "p"}, "spec": {"minAvailable": 1, "selector": {}}})
