"""`chaoskit rbac`: the role is the smallest that runs the experiment. Without a cluster; the proof on real RBAC is `tests/safety/minimal_rbac.py`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import connect
from chaoskit.experiments import FAULTS, fault_class
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.experiment import Experiment
from chaoskit.model.operation import Right, rights
from chaoskit.model.resource import Ref
from chaoskit.model.seams import Fault
from chaoskit.model.step import Answers, Exits, FieldIs, Gone
from chaoskit.model.target import Target
from chaoskit.reports.role import render_roles, rules, without_implied
from chaoskit.runner.load import load
from chaoskit.runner.mirage import Mirage
from chaoskit.runner.plan import foresee
from chaoskit.runner.rights import Recorder, foreseen_needs, needs, rights_of_witness
from tests.behaviour.access import Access
from tests.cli.command import ROOT, chaoskit
from tests.fake_cluster import shop
from tests.virtual_time import run_virtual

EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
POD = Ref("Pod", "web", "shop", "u1")


def granted(documents: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """(namespace, group, resource, verb) of every rule."""
    return {
        (document["metadata"].get("namespace", ""), group, resource, verb)
        for document in documents
        if document["kind"] in ("Role", "ClusterRole")
        for rule in document["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_role_of_each_experiment_grants_what_it_needs_and_nothing_else(path: Path) -> None:
    said = chaoskit("rbac", str(path))
    assert said.code == 0, said.err
    needed = asyncio.run(foreseen_needs(load(path)))
    wanted = {(r.namespace, r.group, r.resource, r.verb) for r in without_implied(needed.all)}
    documents = list(yaml.safe_load_all(said.out))
    assert granted(documents) == wanted
    assert not any("*" in part for right in wanted for part in right)
    assert not any(right[2] == "secrets" for right in wanted)
    for document in documents:
        if document["kind"].endswith("Binding"):
            assert document["roleRef"]["name"] == document["metadata"]["name"]


@pytest.mark.parametrize("path", [p for p in EXPERIMENTS if "drained" not in p.name], ids=lambda path: path.stem)
def test_what_stays_in_one_namespace_needs_no_cluster_role(path: Path) -> None:
    documents = list(yaml.safe_load_all(chaoskit("rbac", str(path)).out))
    assert {document["kind"] for document in documents} == {"Role", "RoleBinding"}
    assert {document["metadata"]["namespace"] for document in documents} == {"shop"}


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_every_fault_of_the_library_can_be_driven_without_a_cluster(kind: str) -> None:
    fields: dict[str, Any] = {"badCanary": {"patch": {"env": {"A": "b"}}}}.get(kind, {})
    made: Fault = fault_class(kind)(**fields)
    target = (
        Target(namespace="shop", node_of="web") if kind == "drainNode" else Target(namespace="shop", deployment="web")
    )
    found = asyncio.run(
        needs(
            Experiment(name="each", target=target, fault=made),
            Mirage(Experiment(name="each", target=target, fault=made)),
        )
    )
    assert found.must


@pytest.mark.parametrize(
    "target",
    [
        Target(namespace="shop", deployment="web", pick="all"),
        Target(namespace="shop", deployment="web", pick="1%"),
        Target(namespace="shop", replica_set="web-7", pick=2),
        Target(namespace="shop", pod="web-1"),
        Target(namespace="shop", selector={"app": "web", "tier": "front"}, pick="oldest"),
    ],
    ids=str,
)
def test_every_kind_of_target_can_be_imagined(target: Target) -> None:
    fault: Fault = fault_class("killPod")()
    needed = asyncio.run(foreseen_needs(Experiment(name="each", target=target, fault=fault)))
    assert Right("delete", "", "pods", "shop") in needed.must


def test_a_fault_that_finds_nothing_to_do_is_told(tmp_path: Path) -> None:
    text = (ROOT / "experiments" / "storefront-survives-a-drained-node.yaml").read_text()
    wrong = "\n".join(line for line in text.splitlines() if "setup:" not in line).replace("nodeOf:", "deployment:")
    (tmp_path / "wrong.yaml").write_text(wrong)
    said = chaoskit("rbac", "wrong.yaml", folder=tmp_path)
    assert said.code == 3
    assert "this fault needs a target of kind node or nodeOf" in said.err
    with pytest.raises(CouldNotRun):
        asyncio.run(needs(load(tmp_path / "wrong.yaml"), Mirage(load(tmp_path / "wrong.yaml"))))


def test_the_rights_read_off_a_cluster_are_those_read_off_the_file() -> None:
    async def story() -> None:
        for name in ("killPod", "failReadiness"):
            fault: Fault = fault_class(name)()
            experiment = Experiment(name="each", target=Target(namespace="shop", deployment="checkout"), fault=fault)
            assert await needs(experiment, shop()) == await foreseen_needs(experiment)

    run_virtual(story())


def test_every_look_is_recorded_with_the_right_it_takes() -> None:
    async def story() -> None:
        recorder = Recorder(shop())
        await recorder.find(Ref("Namespace", "shop"))
        await recorder.list("Pod", fields="spec.nodeName=node-1")
        async for _ in recorder.watch("EndpointSlice", "shop"):
            break
        await recorder.holds(Gone(POD))
        assert recorder.rights == {
            Right("get", "", "namespaces", "shop"),
            Right("list", "", "pods"),
            Right("list", "discovery.k8s.io", "endpointslices", "shop"),
            Right("watch", "discovery.k8s.io", "endpointslices", "shop"),
            Right("get", "", "pods", "shop"),
        }

    run_virtual(story())


def test_a_witness_takes_the_right_to_look_where_it_looks() -> None:
    pods = {Right("get", "", "pods", "shop")}
    assert rights_of_witness(FieldIs(POD, "/spec", 1)) == pods
    assert rights_of_witness(Answers(POD, 80, "/", 200)) == pods | {Right("get", "", "pods/proxy", "shop")}
    both = {Right("get", "", "pods/exec", "shop"), Right("create", "", "pods/exec", "shop")}
    assert rights_of_witness(Exits(POD, "app", ("true",), 0)) == pods | both


def test_the_operations_of_a_plan_are_all_covered_by_its_role() -> None:
    async def story() -> None:
        for path in EXPERIMENTS:
            experiment = load(path)
            from chaoskit.model.step import Aim

            stages = await foresee(experiment.fault, Mirage(experiment), Aim(experiment.target, 1, "r1"))
            taken = {
                (right.verb, right.group, right.resource)
                for stage in stages
                for step in stage.steps
                for op in (step.do, step.undo)
                if op is not None
                for right in rights(op)
            }
            assert taken <= {(r.verb, r.group, r.resource) for r in (await foreseen_needs(experiment)).must}

    asyncio.run(story())


def test_rules_with_the_same_verbs_stand_together_and_what_is_implied_is_left_out() -> None:
    found = [
        Right("get", "", "pods", "a"),
        Right("get", "", "services", "a"),
        Right("list", "", "pods", "a"),
        Right("list", "", "pods"),
    ]
    assert without_implied(found) == frozenset(found) - {found[2]}
    assert rules(found[:2]) == [{"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get"]}]
    assert render_roles(found, "r", ["one", "two"]).startswith(
        "# one\n# two\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n"
    )


def test_a_sandbox_says_who_may_and_everything_is_allowed_to_its_administrator(
    kubeconfig: Access, namespace: str
) -> None:
    async def story() -> None:
        async with connect(read_access(kubeconfig.context, kubeconfig.path)) as cluster:
            needed = await foreseen_needs(load(EXPERIMENTS[0]))
            assert await cluster.missing(needed.all) == []

    asyncio.run(story())
