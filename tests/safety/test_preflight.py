"""What the preflight finds, and what it does not: each premise broken, and whole. On the fake cluster; the rehearsal on a sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import connect
from chaoskit.experiments.bad_canary import BadCanary, CanaryPatch
from chaoskit.experiments.drain_node import DrainNode
from chaoskit.experiments.fail_readiness import FailReadiness
from chaoskit.experiments.kill_pod import KillPod
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.experiment import Experiment, Guards
from chaoskit.model.operation import ABSENT, Create, Delete, Evict, Field, Operation, Patch, Right
from chaoskit.model.plan import Caveat
from chaoskit.model.resource import Ref, ref_of
from chaoskit.model.seams import Fault, Reply
from chaoskit.model.target import Target
from chaoskit.runner.plan import plan
from chaoskit.runner.preflight import lacking, preflight, refuse_blocked
from chaoskit.runner.rights import Needs, foreseen_needs
from chaoskit.semantics.capacity import quantity, requests_of
from tests.behaviour.access import Access
from tests.fake_cluster import FakeCluster, shop
from tests.virtual_time import run_virtual

CHECKOUT = Target(namespace="shop", deployment="checkout")
NODE = Target(namespace="shop", node_of="checkout")


@dataclass
class Asked(FakeCluster):
    """A fake cluster that also answers reviews and rehearsals."""

    denied: frozenset[Right] = frozenset()
    rehearsals: Mapping[type, Reply] = field(default_factory=dict)
    undo_rehearsal: Reply | None = None

    async def missing(self, rights: frozenset[Right]) -> list[Right]:
        return sorted(rights & self.denied, key=str)

    async def rehearsed(self, op: Operation, mark: str) -> Reply | None:
        return self.rehearsals.get(type(op))

    async def rehearsed_undo(self, undo: Operation) -> Reply | None:
        return self.undo_rehearsal


def asked(**settings: Any) -> Asked:
    of = shop()
    cluster = Asked(store=of.store, **settings)
    cluster.world = of.world
    return cluster


def found(
    fault: Fault,
    target: Target,
    change: Callable[[Asked], Any] = lambda cluster: None,
    guards: Guards | None = None,
    **settings: Any,
) -> tuple[Caveat, ...]:
    async def story() -> tuple[Caveat, ...]:
        cluster = asked(**settings)
        for node in cluster.store.of("Node"):
            cluster.store.put("Node", {**node, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        change(cluster)
        experiment = Experiment(name="asked", target=target, fault=fault, guards=guards or Guards())
        return await preflight(experiment, await plan(experiment, cluster, run="pr3f", seed=1), cluster)

    return run_virtual(story())


def altered(kind: str, name: str, namespace: str = "shop", **parts: Any) -> Callable[[Asked], Any]:
    def change(cluster: Asked) -> None:
        live = cluster.store.find(kind, name, namespace)
        assert live is not None
        cluster.store.change(live, **parts)

    return change


@pytest.mark.parametrize(("fault", "target"), [(KillPod(), CHECKOUT), (DrainNode(), NODE), (FailReadiness(), CHECKOUT)])
def test_of_a_sound_application_nothing_is_said(fault: Fault, target: Target) -> None:
    assert found(fault, target) == ()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"observedGeneration": 0}, "its controller has not seen its latest change"),
        ({"updatedReplicas": 1}, "1 of 3 replicas are of the newest template"),
        ({"replicas": 4}, "1 surplus replicas are still there"),
        ({"readyReplicas": 2}, "2 of 3 replicas are ready"),
    ],
)
def test_a_rollout_in_progress_blocks(status: Mapping[str, int], said: str) -> None:
    (caveat,) = found(KillPod(), CHECKOUT, altered("Deployment", "checkout", status=status))
    assert caveat.blocks
    assert f"deployment shop/checkout is not at rest: {said}" in caveat.what


def test_leftovers_block_and_the_command_is_named() -> None:
    def left(cluster: Asked) -> None:
        labels, notes = {"chaoskit.dev/run": "old1"}, {"chaoskit.dev/mark": "old1/0.0"}
        meta = {"name": "checkout-canary-old1", "namespace": "shop", "labels": labels, "annotations": notes}
        cluster.store.put(
            "Deployment", {"metadata": meta, "spec": {"replicas": 0, "selector": {"matchLabels": labels}}}
        )

    (caveat,) = found(KillPod(), CHECKOUT, left)
    assert caveat.blocks
    assert "leftovers of earlier runs are here (old1)" in caveat.what
    assert "chaoskit recover" in caveat.fix


def budget(name: str = "one", allowed: int = 0, **spec: Any) -> Callable[[Asked], Any]:
    status = {"disruptionsAllowed": allowed, "desiredHealthy": 3, "expectedPods": 3}
    body = {"selector": {"matchLabels": {"app": "checkout"}}, **spec}
    meta = {"name": name, "namespace": "shop"}
    return lambda cluster: cluster.store.put("PodDisruptionBudget", {"metadata": meta, "spec": body, "status": status})


def test_a_budget_that_will_refuse_a_drain_is_told_and_does_not_block() -> None:
    (caveat,) = found(DrainNode(timeout="30s"), NODE, budget())
    assert not caveat.blocks
    assert "budget shop/one allows never that one of its pods is evicted" in caveat.what
    assert "will be refused (429) and asked again for 30 s" in caveat.what
    assert found(DrainNode(), NODE, budget(allowed=1)) == ()
    assert found(KillPod(), CHECKOUT, budget()) == (), "a deletion does not ask budgets"


def test_two_budgets_over_one_pod_are_told() -> None:
    said = found(DrainNode(), NODE, lambda cluster: [budget("one", 1)(cluster), budget("two", 1)(cluster)])
    assert any("falls under several budgets (shop/one, shop/two)" in caveat.what for caveat in said)


def test_an_autoscaler_of_the_workload_is_named() -> None:
    def scaled(name: str) -> Callable[[Asked], Any]:
        spec = {"scaleTargetRef": {"kind": "Deployment", "name": name}, "minReplicas": 2, "maxReplicas": 9}
        body = {"metadata": {"name": "hpa", "namespace": "shop"}, "spec": spec}
        return lambda cluster: cluster.store.put("HorizontalPodAutoscaler", body)

    (caveat,) = found(KillPod(), CHECKOUT, scaled("checkout"))
    assert "autoscaler shop/hpa keeps deployment checkout between 2 and 9 replicas" in caveat.what
    assert found(KillPod(), CHECKOUT, scaled("another")) == ()


@pytest.mark.parametrize(
    ("metadata", "tool"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/checkout"}}, "Argo CD"),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "apps"}}, "Flux"),
    ],
)
def test_gitops_is_named(metadata: Mapping[str, Any], tool: str) -> None:
    (caveat,) = found(KillPod(), CHECKOUT, altered("Deployment", "checkout", metadata=metadata))
    assert f"deployment shop/checkout is kept by {tool}" in caveat.what
    assert not caveat.blocks


def test_a_node_that_is_not_ready_blocks_and_one_of_an_autoscaler_is_named() -> None:
    not_ready = {"conditions": [{"type": "Ready", "status": "False"}]}
    said = found(DrainNode(), Target(node="node-1"), altered("Node", "node-1", "", status=not_ready))
    assert [caveat.what for caveat in said if caveat.blocks] == ["node node-1 is not Ready"]
    pooled = altered("Node", "node-1", "", metadata={"labels": {"karpenter.sh/nodepool": "spot"}})
    (caveat,) = found(DrainNode(), Target(node="node-1"), pooled)
    assert "node node-1 is one of Karpenter" in caveat.what


def test_a_drain_without_room_elsewhere_is_told() -> None:
    def crowded(cpu: str) -> Callable[[Asked], Any]:
        def change(cluster: Asked) -> None:
            for node in cluster.store.of("Node"):
                cluster.store.change(node, status={"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "110"}})
            for pod in cluster.store.of("Pod"):
                wanting = [{**pod["spec"]["containers"][0], "resources": {"requests": {"cpu": "600m"}}}]
                cluster.store.change(pod, spec={"containers": wanting})

        return change

    (caveat,) = found(DrainNode(), NODE, crowded("1"))
    assert "1 of 1 evicted pods will find no place" in caveat.what
    assert "too little room" in caveat.what
    assert found(DrainNode(), NODE, crowded("1200m")) == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [("250m", 0.25), ("1", 1), ("1Gi", 1 << 30), ("128Mi", 128 << 20), ("1e3", 1000), ("2k", 2000), (".5", 0.5)],
)
def test_quantities_are_numbers(text: str, value: float) -> None:
    assert float(quantity(text)) == value


@pytest.mark.parametrize("text", ["", "1 Gi", "one", "1Q", "--1"])
def test_what_is_no_quantity_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity(text)


def test_init_containers_and_sidecars_count_as_the_scheduler_counts_them() -> None:
    def wanting(cpu: str, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {"containers": [wanting("100m"), wanting("200m")], "overhead": {"cpu": "10m"}}
    assert float(requests_of({"spec": spec})["cpu"]) == 0.31
    assert float(requests_of({"spec": {**spec, "initContainers": [wanting("1")]}})["cpu"]) == 1.01
    assert (
        float(requests_of({"spec": {**spec, "initContainers": [wanting("1", restartPolicy="Always")]}})["cpu"]) == 1.31
    )


# -- rights ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "target"),
    [
        (KillPod(), CHECKOUT),
        (DrainNode(), NODE),
        (FailReadiness(), CHECKOUT),
        (BadCanary(patch=CanaryPatch(env={"A": "b"})), CHECKOUT),
    ],
)
def test_each_right_that_is_missing_is_named_those_of_the_undo_included(fault: Fault, target: Target) -> None:
    needed = asyncio.run(foreseen_needs(Experiment(name="asked", target=target, fault=fault)))
    assert needed.must
    for right in needed.all:

        async def story(right: Right = right) -> tuple[Caveat, ...]:
            return await lacking(needed, asked(denied=frozenset({right})))

        (caveat,) = run_virtual(story())
        assert f"{right.verb} {right.resource}" in caveat.what
        assert caveat.blocks == (right in needed.must)


def test_the_undo_of_a_canary_takes_the_right_to_delete_it_and_that_of_a_cordon_to_patch_the_node() -> None:
    canary = Experiment(name="asked", target=CHECKOUT, fault=BadCanary(patch=CanaryPatch(env={"A": "b"})))
    assert Right("delete", "apps", "deployments", "shop") in asyncio.run(foreseen_needs(canary)).must
    drain = Experiment(name="asked", target=NODE, fault=DrainNode())
    assert Right("patch", "", "nodes") in asyncio.run(foreseen_needs(drain)).must


def test_a_fault_in_one_namespace_takes_no_right_outside_of_it() -> None:
    for fault in (KillPod(), FailReadiness()):
        needed = asyncio.run(foreseen_needs(Experiment(name="asked", target=CHECKOUT, fault=fault)))
        assert {right.namespace for right in needed.all} == {"shop"}


def test_what_cannot_be_driven_without_a_cluster_asks_for_nothing_beforehand() -> None:
    wrong = Experiment(name="asked", target=CHECKOUT, fault=DrainNode())
    assert asyncio.run(foreseen_needs(wrong)) == Needs(frozenset())


# -- rehearsal ---------------------------------------------------------------------------------------------------------------


def answer(status: int, message: str) -> Reply:
    return Reply(status, {"message": message})


def test_a_refusal_in_rehearsal_blocks_and_a_budgets_does_not() -> None:
    (caveat,) = found(KillPod(), CHECKOUT, rehearsals={Delete: answer(403, "denied by policy")})
    assert caveat.blocks
    assert "the server would refuse to delete pod shop/checkout-1-" in caveat.what
    assert found(DrainNode(), NODE, rehearsals={Evict: answer(429, "budget")}) == ()


def test_an_undo_that_admission_would_deny_blocks() -> None:
    (caveat,) = found(DrainNode(), NODE, undo_rehearsal=answer(403, "webhook says no"))
    assert caveat.blocks
    assert "the server would refuse to put back what that did to node node-" in caveat.what


def test_a_webhook_that_knows_no_dry_run_is_told_and_does_not_block() -> None:
    words = 'admission webhook "x" does not support dry run'
    (caveat,) = found(KillPod(), CHECKOUT, rehearsals={Delete: answer(400, words)})
    assert not caveat.blocks
    assert "cannot be rehearsed" in caveat.what


def test_everything_that_blocks_is_in_the_refusal_and_nothing_else() -> None:
    with pytest.raises(CouldNotRun, match=r"nothing was touched: one; do this \| two"):
        refuse_blocked([Caveat("one", True, "do this"), Caveat("three"), Caveat("two", True)])
    refuse_blocked([Caveat("three")])


def test_a_rehearsal_on_a_live_cluster_changes_nothing(kubeconfig: Access, namespace: str) -> None:
    async def story() -> None:
        async with connect(read_access(kubeconfig.context, kubeconfig.path)) as cluster:
            meta = {"name": "kept", "namespace": namespace}
            stored = await cluster.keep({"kind": "ConfigMap", "metadata": meta, "data": {"a": "1"}})
            ref, before = ref_of(stored), await cluster.get(ref_of(stored))
            patch = Patch(ref, (Field("/data/a", "1", "2"), Field("/data/b", ABSENT, "3")))
            new = Ref("ConfigMap", "new", namespace)
            replies = [
                await cluster.rehearsed(patch, "r1/0.0"),
                await cluster.rehearsed_undo(Patch(ref, (Field("/data/a", "2", "1"), Field("/data/b", "3", ABSENT)))),
                await cluster.rehearsed(Create(new, {"data": {}}), "r1/0.1"),
                await cluster.rehearsed(Delete(ref), "r1/0.2"),
            ]
            assert [reply.status if reply is not None else 0 for reply in replies] == [200, 200, 201, 200]
            assert await cluster.get(ref) == before
            assert await cluster.find(new) is None
            wrong = await cluster.rehearsed(Create(new, {"data": {"a": 1}}), "r1/0.3")
            assert wrong is not None and wrong.status in (400, 422)

    asyncio.run(story())
