"""The guards, one by one and fuzzed: what is protected is never written to, and what may be touched still may."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chaoskit.experiments.bad_canary import BadCanary, CanaryPatch
from chaoskit.experiments.drain_node import DrainNode
from chaoskit.experiments.kill_pod import KillPod
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.experiment import Experiment, Guards, Phases
from chaoskit.model.plan import ANYWHERE, Grounds, Plan
from chaoskit.model.seams import Fault
from chaoskit.model.target import Target
from chaoskit.runner import guard
from chaoskit.runner.guard import grounds
from chaoskit.runner.plan import plan
from chaoskit.semantics.consent import ALLOW_LABEL, OPT_OUT_ANNOTATION, looks_like_production
from tests.fake_cluster import FakeCluster, shop
from tests.live_runs import Story, at
from tests.safety import forbidden
from tests.virtual_time import run_virtual

CHECKOUT = Target(namespace="shop", deployment="checkout")
NODE = Target(namespace="shop", node_of="checkout")
NAMED = Grounds(opt_in=True)


async def planned(
    cluster: FakeCluster, fault: Fault, target: Target, guards: Guards | None = None, rules: Grounds = ANYWHERE
) -> Plan:
    experiment = Experiment(name="guarded", target=target, fault=fault, guards=guards or Guards())
    return await plan(experiment, cluster, run="gu4rd", seed=1, grounds=rules)


def refused(
    fault: Fault, target: Target, because: str, guards: Guards | None = None, rules: Grounds = ANYWHERE, **changes: Any
) -> str:
    """The refusal of a plan on a shop that was changed, after which nothing was sent."""

    async def story() -> str:
        cluster = shop()
        for name, change in changes.items():
            assert name.startswith("change")
            change(cluster)
        with pytest.raises(CouldNotRun, match=because) as raised:
            await planned(cluster, fault, target, guards, rules)
        assert cluster.sent == []
        return str(raised.value)

    return run_virtual(story())


def accepted(
    fault: Fault, target: Target, guards: Guards | None = None, rules: Grounds = ANYWHERE, **changes: Any
) -> Plan:
    async def story() -> Plan:
        cluster = shop()
        for change in changes.values():
            change(cluster)
        return await planned(cluster, fault, target, guards, rules)

    return run_virtual(story())


def annotated(kind: str, name: str, namespace: str = "", **annotations: str) -> Any:
    def change(cluster: FakeCluster) -> None:
        live = cluster.store.find(kind, name, namespace) or {"metadata": {"name": name}}
        meta = {**live["metadata"], "annotations": annotations}
        cluster.store.put(kind, {**live, "metadata": meta})

    return change


def namespace(name: str, **labels: str) -> Any:
    return lambda cluster: cluster.store.put("Namespace", {"metadata": {"name": name, "labels": labels}})


ALLOWED = namespace("shop", **{ALLOW_LABEL: "true"})
OUT = {OPT_OUT_ANNOTATION: "true"}


def stranger(space: str, node: str = "", app: str = "dns") -> Any:
    """Another application with two ready pods, one of them on the given node or on any."""

    def change(cluster: FakeCluster) -> None:
        labels = {"app": app}
        spec = {"containers": [{"name": "app", "image": "python"}]}
        template = {"metadata": {"labels": labels}, "spec": spec}
        meta = {"name": app, "namespace": space, "labels": labels, "generation": 1}
        body = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        cluster.world.roll_out(cluster.store.put("Deployment", {"metadata": meta, "spec": body}), ready=True)
        for pod in cluster.store.of("Pod", space, f"app={app}"):
            cluster.store.put("Pod", {**pod, "spec": {**pod["spec"], "nodeName": node or pod["spec"]["nodeName"]}})

    return change


# -- the blast radius --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "pick"), [(1, 2), ("50%", 2), ("66%", 2), ("33%", 1), ("99%", "all")])
def test_more_pods_than_allowed_are_refused_and_a_percentage_rounds_down(limit: int | str, pick: int | str) -> None:
    target = dataclasses.replace(CHECKOUT, pick=pick)
    refused(KillPod(), target, "guards.maxPods is", Guards(max_pods=limit, min_ready=0))


@pytest.mark.parametrize(("limit", "pick"), [(2, 2), ("50%", 1), ("67%", 2), ("100%", "all")])
def test_as_many_pods_as_allowed_are_accepted(limit: int | str, pick: int | str) -> None:
    found = accepted(KillPod(), dataclasses.replace(CHECKOUT, pick=pick), Guards(max_pods=limit, min_ready=0))
    assert len(found.foreseen[0].steps) == (3 if pick == "all" else pick)


@pytest.mark.parametrize("limit", [0, "0%", "101%", "half", True, 1.5])
def test_a_limit_that_is_none_is_told(limit: Any) -> None:
    with pytest.raises(ValueError, match="is no limit"):
        Guards(max_pods=limit)


def test_more_nodes_than_allowed_are_refused() -> None:
    target = dataclasses.replace(NODE, pick=2)
    refused(DrainNode(), target, "2 nodes would be touched, guards.maxNodes is 1", Guards(min_ready=0))
    assert len(accepted(DrainNode(), target, Guards(max_nodes=2)).foreseen[0].steps) == 2


def test_one_ready_pod_stays_untouched_unless_the_author_wants_to_know() -> None:
    said = refused(KillPod(), dataclasses.replace(CHECKOUT, pick="all"), "0 ready pods of deployment shop/checkout")
    assert "set guards.minReady to 0 if that is what you want to find out" in said
    accepted(KillPod(), dataclasses.replace(CHECKOUT, pick="all"), Guards(min_ready=0))


def test_a_drain_must_leave_a_ready_pod_of_every_workload_it_touches() -> None:
    refused(
        DrainNode(), Target(node="node-1"), "0 ready pods of deployment shop/dns", change=stranger("shop", "node-1")
    )


def test_pods_that_are_not_ready_do_not_count_as_left() -> None:
    def all_but_one_unready(cluster: FakeCluster) -> None:
        for ref in cluster.pods()[1:]:
            live = cluster.store.named(ref)
            assert live is not None
            cluster.world.set_ready(live, False)

    refused(KillPod(), Target(namespace="shop", pod="checkout-1-00001"), "0 ready pods", change=all_but_one_unready)


def test_min_ready_is_counted_again_on_the_live_pods_right_before_the_injection() -> None:
    async def story() -> None:
        cluster = shop()

        def lose_the_others() -> None:
            for ref in cluster.pods()[1:]:
                live = cluster.store.named(ref)
                assert live is not None
                cluster.world.set_ready(live, False)

        short = Phases(baseline="1s", hold="1s", warm_up="2s")
        target = Target(namespace="shop", pod="checkout-1-00001")
        told = Story(cluster, KillPod(), target, slos=("restartedInPlace",), traffic=None, phases=short)
        await told.play(lambda run: at(0.5, lose_the_others))
        assert cluster.sent == []
        assert told.run is not None
        assert "0 ready pods of deployment shop/checkout would be left untouched" in told.run.aborted

    run_virtual(story())


# -- what is protected -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["kube-system", "kube-public", "kube-node-lease"])
def test_the_namespaces_of_the_cluster_are_protected_whatever_they_are_labelled(space: str) -> None:
    labelled = namespace(space, **{ALLOW_LABEL: "true"})
    target = Target(namespace=space, deployment="dns")
    refused(KillPod(), target, f"protected .* pod {space}/dns-1-", change_one=stranger(space), change_two=labelled)
    canary = BadCanary(patch=CanaryPatch(env={"A": "b"}))
    refused(canary, target, "protected", change_one=stranger(space))


def test_also_evict_permits_no_deletion() -> None:
    target = Target(namespace="kube-system", deployment="dns")
    refused(KillPod(), target, "protected", Guards(also_evict=("kube-system",)), change=stranger("kube-system"))


def test_a_drain_that_would_evict_protected_pods_is_refused_with_the_list_and_permitted_by_also_evict() -> None:
    on_it = stranger("kube-system", "node-2")
    said = refused(DrainNode(), Target(node="node-2"), "protected", change=on_it)
    assert "pod kube-system/dns-1-00004, pod kube-system/dns-1-00005" in said
    assert "guards.alsoEvict: [kube-system]" in said
    accepted(DrainNode(), Target(node="node-2"), Guards(also_evict=("kube-system",), min_ready=0), change=on_it)


def test_a_drain_prefers_the_node_without_pods_of_strangers() -> None:
    both = (stranger("kube-system", "node-1"), stranger("elsewhere", "node-3", "other"))
    found = accepted(DrainNode(), NODE, change_one=both[0], change_two=both[1])
    assert found.subject.victims[0] == "node-2"


@pytest.mark.parametrize("role", ["control-plane", "master"])
def test_control_plane_nodes_are_protected(role: str) -> None:
    def control(cluster: FakeCluster) -> None:
        cluster.store.put(
            "Node", {"metadata": {"name": "node-1", "labels": {f"node-role.kubernetes.io/{role}": ""}}, "spec": {}}
        )

    refused(DrainNode(), Target(node="node-1"), r"protected .* node node-1 \(control plane\)", change=control)


def test_the_runners_own_pod_and_node_are_protected() -> None:
    own = Grounds(own_pod="shop/checkout-1-00001")
    refused(
        KillPod(), dataclasses.replace(CHECKOUT, pick="all"), "this runner itself lives there", Guards(min_ready=0), own
    )
    refused(DrainNode(), Target(node="node-1"), "this runner itself lives there: node node-1", Guards(), own)
    refused(DrainNode(), Target(node="node-2"), "this runner itself", Guards(), Grounds(own_node="node-2"))


def test_where_the_runner_lives_is_read_off_its_environment() -> None:
    assert grounds(True, {"POD_NAME": "web-0", "HOSTNAME": "laptop"}) == Grounds(True)
    inside = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "POD_NAMESPACE": "ci", "HOSTNAME": "job-1", "NODE_NAME": "n1"}
    assert grounds(False, inside) == Grounds(False, "ci/job-1", "n1")
    assert grounds(False, {**inside, "POD_NAME": "job-2"}).own_pod == "ci/job-2"


# -- opt-in and opt-out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [KillPod(), BadCanary(patch=CanaryPatch(env={"A": "b"}))])
def test_a_named_cluster_needs_the_opt_in_of_the_namespace(fault: Fault) -> None:
    said = refused(fault, CHECKOUT, "did not opt in", rules=NAMED, change=namespace("shop"))
    assert "kubectl label namespace shop chaoskit.dev/allow=true" in said
    refused(fault, CHECKOUT, "did not opt in", rules=NAMED, change=namespace("shop", **{ALLOW_LABEL: "false"}))
    accepted(fault, CHECKOUT, rules=NAMED, change=ALLOWED)


def test_a_sandbox_needs_no_opt_in() -> None:
    accepted(KillPod(), CHECKOUT, change=namespace("shop"))


def test_a_drain_needs_the_opt_in_of_everybody_on_the_node_or_also_evict() -> None:
    changes = {"change_one": ALLOWED, "change_two": namespace("bank"), "change_three": stranger("bank", "node-2")}
    said = refused(DrainNode(), Target(node="node-2"), "did not opt in", Guards(min_ready=0), NAMED, **changes)
    assert "guards.alsoEvict: [bank]" in said
    accepted(DrainNode(), Target(node="node-2"), Guards(also_evict=("bank",), min_ready=0), NAMED, **changes)


@pytest.mark.parametrize(
    "out",
    [
        annotated("Deployment", "checkout", "shop", **OUT),
        annotated("ReplicaSet", "checkout-1", "shop", **OUT),
        annotated("Namespace", "shop", **OUT),
    ],
)
@pytest.mark.parametrize(("fault", "target"), [(KillPod(), CHECKOUT), (DrainNode(), NODE)])
def test_an_opt_out_anywhere_above_a_pod_protects_it(out: Any, fault: Fault, target: Target) -> None:
    refused(fault, target, "opted out of experiments", change=out)


def test_an_opt_out_of_a_pod_or_a_node_protects_it_alone() -> None:
    def pod(cluster: FakeCluster) -> None:
        annotated("Pod", "checkout-1-00001", "shop", **OUT)(cluster)

    refused(KillPod(), Target(namespace="shop", pod="checkout-1-00001"), "pod shop/checkout-1-00001", change=pod)
    accepted(KillPod(), Target(namespace="shop", pod="checkout-1-00002"), change=pod)
    refused(DrainNode(), Target(node="node-2"), "node node-2", change=annotated("Node", "node-2", **OUT))


def test_an_opt_out_weighs_more_than_also_evict() -> None:
    changes = {
        "change_one": stranger("kube-system", "node-2"),
        "change_two": annotated("Deployment", "dns", "kube-system", **OUT),
    }
    refused(
        DrainNode(), Target(node="node-2"), "opted out", Guards(also_evict=("kube-system",), min_ready=0), **changes
    )


# -- names of production -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["prod", "eu-PROD-1", "my-production", "shop.live", "live", "gke_acme_prod_europe"])
def test_these_look_like_production(name: str) -> None:
    assert looks_like_production(name)


@pytest.mark.parametrize("name", ["staging", "delivery", "kind-kind", "liveness", "olive", "dev"])
def test_these_do_not(name: str) -> None:
    assert not looks_like_production(name)


# -- fuzzed ------------------------------------------------------------------------------------------------------------------


def test_no_random_experiment_writes_to_what_is_protected() -> None:
    """The small part; `python -m tests.safety.forbidden 10000` is the whole."""
    done = [forbidden.attempt(seed) for seed in range(250)]
    assert [wrong for each in done for wrong in each.trespasses] == []
    assert sum(bool(each.sent) for each in done) >= 15, (
        "too few of them got as far as a write: the fuzzing would prove little"
    )
    assert sum("refused" in each.said for each in done) >= 60


def test_without_the_guards_the_same_experiments_would_trespass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sabotage: each guard alone is taken away, and the judge sees it."""
    for name in ("_refuse_protected_namespaces", "_refuse_opted_out", "_refuse_not_opted_in", "_refuse_own"):
        with monkeypatch.context() as patched:
            patched.setattr(guard, name, lambda *_: None)
            assert any(forbidden.attempt(seed).trespasses for seed in range(300)), name


def test_an_eviction_that_a_budget_kept_waiting_is_guarded_again_before_it_is_asked_again() -> None:
    async def story() -> None:
        cluster = shop()
        cluster.budget = lambda pod: "one must stay"

        def lose_the_others() -> None:
            evicted = {sent.op.ref.name for sent in cluster.sent}
            for ref in cluster.pods():
                live = cluster.store.named(ref)
                assert live is not None
                if ref.name not in evicted:
                    cluster.world.set_ready(live, False)

        short = Phases(baseline="1s", hold="1s", warm_up="2s")
        told = Story(cluster, DrainNode(timeout="60s"), NODE, slos=("restartedInPlace",), traffic=None, phases=short)
        await told.play(lambda run: at(3.0, lose_the_others))
        assert told.run is not None
        assert "would be left untouched, guards.minReady is 1" in told.run.aborted
        assert sum(sent.op.__class__.__name__ == "Evict" for sent in cluster.sent) == 1
        assert told.run.restored == "yes"

    run_virtual(story())
