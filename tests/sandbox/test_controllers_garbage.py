"""Garbage collection and the end of namespaces, against the real registry."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoskit.sandbox.controllers.garbage import propagation_for, sort_owners
from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.errors import ApiError
from chaoskit.sandbox.registry import Obj

from .controlled import run, until, workload, world


@pytest.fixture(autouse=True)
def _no_crash() -> Any:
    crashes.clear()
    yield
    assert not crashes


def config(name: str, *owners: Obj, **reference: Any) -> Obj:
    references = [
        {
            "apiVersion": each["apiVersion"],
            "kind": each["kind"],
            "name": each["metadata"]["name"],
            "uid": each["metadata"]["uid"],
            **reference,
        }
        for each in owners
    ]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": references}}


def test_owners_are_sorted_by_what_became_of_them() -> None:
    def reference(uid: str, blocks: bool = False) -> Obj:
        return {"uid": uid, "blockOwnerDeletion": blocks}

    going = {"metadata": {"uid": "going", "deletionTimestamp": "t", "finalizers": ["foregroundDeletion"]}}
    live: dict[str, Obj] = {"solid": {"metadata": {"uid": "solid"}}, "going": going}
    owners = sort_owners([reference("solid"), reference("gone"), reference("going", True), reference("going")], live)
    assert [each["uid"] for each in owners.solid] == ["solid", "going"]
    assert [each["uid"] for each in owners.gone] == ["gone"]
    assert [each["uid"] for each in owners.waiting] == ["going"]


@pytest.mark.parametrize(
    ("finalizers", "waited_for", "expected"),
    [
        ([], False, "Background"),
        ([], True, "Foreground"),
        (["foregroundDeletion"], False, "Foreground"),
        (["orphan"], True, "Orphan"),
    ],
)
def test_how_a_dependent_is_deleted(finalizers: list[str], waited_for: bool, expected: str) -> None:
    assert propagation_for({"metadata": {"finalizers": finalizers}}, waited_for) == expected


def test_in_the_background_the_owner_goes_first_and_then_all_below_it() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            here.registry.delete("deployments", "shop", "web", actor="test")
            assert here.registry.find("deployments", "shop", "web") is None and here.replicasets()
            await until(lambda: not here.replicasets() and not here.pods(), "nothing is left")

    run(main())


def test_in_the_foreground_the_owner_goes_last() -> None:
    async def main() -> None:
        async with world() as here:
            here.graceful_s = 0.1
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            watch = here.registry.subscribe("deployments", "replicasets", "pods")
            watch.pending()
            here.registry.delete("deployments", "shop", "web", actor="test", propagation="Foreground")
            assert here.registry.find("deployments", "shop", "web") is not None
            await until(lambda: here.registry.find("deployments", "shop", "web") is None, "the deployment goes")
            gone = [change.resource for change in watch.pending() if change.type == "DELETED"]
            assert gone == ["pods"] * 3 + ["replicasets", "deployments"]

    run(main())


def test_orphans_stay_and_lose_their_reference() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("replicasets", workload("ReplicaSet"))
            await until(lambda: len(here.pods()) == 3, "three pods")
            here.registry.delete("replicasets", "shop", "web", actor="test", propagation="Orphan")
            await until(lambda: here.registry.find("replicasets", "shop", "web") is None, "the owner goes")
            await asyncio.sleep(0.02)
            assert len(here.active()) == 3
            assert all(not pod["metadata"].get("ownerReferences") for pod in here.pods())

    run(main())


def test_an_object_with_two_owners_lives_as_long_as_one_of_them() -> None:
    async def main() -> None:
        async with world() as here:
            first, second = (here.apply("configmaps", config(name)) for name in ("first", "second"))
            here.apply("configmaps", config("child", first, second))
            here.registry.delete("configmaps", "shop", "first", actor="test")

            def owners() -> list[str]:
                return [
                    each["name"]
                    for each in here.registry.get("configmaps", "shop", "child")["metadata"]["ownerReferences"]
                ]

            await until(lambda: owners() == ["second"], "the dead reference is dropped")
            here.registry.delete("configmaps", "shop", "second", actor="test")
            await until(lambda: here.registry.find("configmaps", "shop", "child") is None, "now it goes")

    run(main())


def test_an_owner_of_the_same_name_but_another_uid_does_not_count() -> None:
    async def main() -> None:
        async with world() as here:
            owner = here.apply("configmaps", config("owner"))
            stranger = {**owner, "metadata": {**owner["metadata"], "uid": "another"}}
            here.apply("configmaps", config("late", stranger))
            here.apply("configmaps", config("kept", owner))
            await until(lambda: here.registry.find("configmaps", "shop", "late") is None, "collected")
            assert here.registry.find("configmaps", "shop", "kept") is not None

    run(main())


def test_a_deleted_namespace_loses_its_content_and_then_itself() -> None:
    async def main() -> None:
        async with world() as here:
            here.graceful_s = 0.1
            here.apply("deployments", workload("Deployment"))
            here.apply("configmaps", config("settings"))
            await here.settled()
            here.registry.delete("namespaces", "", "shop", actor="test")
            assert here.registry.get("namespaces", "", "shop")["status"]["phase"] == "Terminating"
            with pytest.raises(ApiError) as refused:
                here.apply("configmaps", config("late"))
            assert refused.value.code == 403
            await until(lambda: here.registry.find("namespaces", "", "shop") is None, "finalised")
            assert not here.pods() and not here.replicasets() and not here.registry.list("events", "shop")

    run(main())


def test_a_namespace_waits_for_a_pod_that_does_not_end() -> None:
    async def main() -> None:
        async with world() as here:
            here.graceful_s = 60.0
            here.apply("deployments", workload("Deployment", replicas=1))
            await here.settled()
            here.registry.delete("namespaces", "", "shop", actor="test")

            def told() -> str:
                conditions = here.registry.get("namespaces", "", "shop").get("status", {}).get("conditions", ())
                return next((each["message"] for each in conditions if each["type"] == "NamespaceContentRemaining"), "")

            await until(lambda: "pods has 1 resource instances" in told(), "what is left is told")
            (pod,) = here.pods()
            here.registry.delete("pods", "shop", pod["metadata"]["name"], actor="test", grace_s=0)
            await until(lambda: here.registry.find("namespaces", "", "shop") is None, "finalised")

    run(main())
