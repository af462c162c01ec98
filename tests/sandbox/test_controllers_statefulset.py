"""StatefulSets: what is decided, as tables, and what watchers of the real registry see."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.controllers.ordinals import Members, moves, status_of
from chaoskit.sandbox.registry import Obj

from .controlled import World, run, set_ready, stateful, until, workload, world


@pytest.fixture(autouse=True)
def _no_crash() -> Any:
    crashes.clear()
    yield
    assert not crashes


def owner(replicas: int, policy: str = "OrderedReady", start: int = 0, strategy: Obj | None = None) -> Obj:
    spec = {"replicas": replicas, "podManagementPolicy": policy, "ordinals": {"start": start}, "template": {}}
    strategy = strategy or {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    return {"kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec | {"updateStrategy": strategy}}


def pod(number: int, state: str = "ready", revision: str = "v1") -> Obj:
    """`state`: ready, sick (running, not ready), ending (ready, being deleted), failed, or failed-ending."""
    name = f"db-{number}"
    labels = {"controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": name}
    metadata: Obj = {"name": name, "labels": labels | {"apps.kubernetes.io/pod-index": str(number)}}
    if state.endswith("ending"):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": "True" if state in ("ready", "ending") else "False"}
    phase = "Failed" if state.startswith("failed") else "Running"
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase, "conditions": [ready]}}


def members(set_: Obj, *pods: Obj, update: str = "v1") -> Members:
    by_number = {int(each["metadata"]["name"].removeprefix("db-")): each for each in pods}
    return Members(set_, by_number, "v1", update, 0.0)


def decided(found: Members) -> list[tuple[str, int]]:
    return [(move.act, move.ordinal) for move in moves(found)]


@pytest.mark.parametrize(
    ("replicas", "pods", "expected"),
    [
        (3, [], [("create", 0)]),
        (3, [(0, "sick")], []),
        (3, [(0, "ready")], [("create", 1)]),
        (3, [(0, "ready"), (2, "ready")], [("create", 1)]),
        (3, [(0, "ending"), (1, "ready")], []),
        (3, [(0, "failed"), (1, "ready")], [("delete", 0)]),
        (3, [(0, "failed-ending"), (1, "ready")], []),
        (1, [(0, "ready"), (1, "ready"), (2, "ready")], [("delete", 2)]),
        (1, [(0, "ready"), (1, "ready"), (2, "ending")], []),
        (1, [(0, "sick"), (1, "ready"), (2, "ready")], []),
        (1, [(0, "ready"), (1, "sick"), (2, "sick")], []),
        (1, [(0, "ready"), (1, "ready"), (2, "sick")], [("delete", 2)]),
        (0, [(0, "sick")], [("delete", 0)]),
    ],
)
def test_in_order_one_step_waits_for_the_one_before(
    replicas: int, pods: list[tuple[int, str]], expected: list[tuple[str, int]]
) -> None:
    assert decided(members(owner(replicas), *(pod(*each) for each in pods))) == expected


@pytest.mark.parametrize(
    ("replicas", "pods", "expected"),
    [
        (3, [], [("create", 0), ("create", 1), ("create", 2)]),
        (3, [(0, "sick")], [("create", 1), ("create", 2)]),
        (1, [(0, "sick"), (1, "ready"), (2, "sick")], [("delete", 2), ("delete", 1)]),
        (2, [(0, "failed"), (1, "ending")], [("delete", 0)]),
    ],
)
def test_in_parallel_nothing_waits(replicas: int, pods: list[tuple[int, str]], expected: list[tuple[str, int]]) -> None:
    assert decided(members(owner(replicas, "Parallel"), *(pod(*each) for each in pods))) == expected


@pytest.mark.parametrize(
    ("states", "revisions", "partition", "expected"),
    [
        ("ready ready ready", "v1 v1 v1", 0, [("delete", 2)]),
        ("ready ready ending", "v1 v1 v1", 0, []),
        ("ready ready sick", "v1 v1 v2", 0, []),
        ("ready ready ready", "v1 v1 v2", 0, [("delete", 1)]),
        ("ready ready ready", "v1 v1 v2", 2, []),
        ("ready ready ready", "v2 v2 v2", 0, []),
        ("sick ready ready", "v1 v1 v1", 0, []),
    ],
)
def test_an_update_goes_from_the_top_to_the_partition_and_stops_at_a_sick_pod(
    states: str, revisions: str, partition: int, expected: list[tuple[str, int]]
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    pods = [pod(number, *each) for number, each in enumerate(zip(states.split(), revisions.split(), strict=True))]
    assert decided(members(owner(3, strategy=strategy), *pods, update="v2")) == expected


def test_on_delete_updates_nothing_by_itself_and_ordinals_may_start_elsewhere() -> None:
    pods = [pod(number) for number in range(3)]
    assert decided(members(owner(3, strategy={"type": "OnDelete"}), *pods, update="v2")) == []
    assert decided(members(owner(2, start=5), pod(5), pod(0))) == [("create", 6)]
    assert decided(members(owner(1, start=5), pod(5), pod(0))) == [("delete", 0)]


def test_a_pod_that_ends_is_ready_to_the_last_and_of_no_revision_at_once() -> None:
    found = members(owner(3), pod(0), pod(1), pod(2, "ending"))
    status = status_of(found, [], 0)
    assert (status["replicas"], status["readyReplicas"]) == (3, 3)
    assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 2)


def pods_of(here: World) -> dict[str, Obj]:
    return {each["metadata"]["name"]: each for each in here.pods("db")}


def is_rolled(here: World) -> bool:
    found = here.registry.get("statefulsets", "shop", "db")
    status = found.get("status", {})
    numbers = [status.get(name, 0) for name in ("readyReplicas", "updatedReplicas", "currentReplicas")]
    seen = status.get("observedGeneration") == found["metadata"]["generation"]
    return seen and numbers == [found["spec"]["replicas"]] * 3 and status["currentRevision"] == status["updateRevision"]


def test_pods_come_in_order_with_names_host_names_labels_and_claims() -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }

    async def main() -> None:
        async with world() as here:
            watch = here.registry.subscribe("pods")
            watch.pending()
            body = stateful(volumeClaimTemplates=[claim])
            body["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/d"}]
            here.apply("statefulsets", body)
            await until(lambda: is_rolled(here), "three ready pods")
            ready: set[str] = set()
            for change in watch.pending():
                name = change.obj["metadata"]["name"]
                if change.type == "ADDED":
                    assert len(ready) == int(name[-1]), "a pod comes when all before it are ready"
                if any(
                    each["type"] == "Ready" and each["status"] == "True"
                    for each in change.obj["status"].get("conditions", ())
                ):
                    ready.add(name)
            found = pods_of(here)["db-1"]
            assert (found["spec"]["hostname"], found["spec"]["subdomain"]) == ("db-1", "db")
            labels = found["metadata"]["labels"]
            assert (
                labels["statefulset.kubernetes.io/pod-name"] == "db-1" and labels["apps.kubernetes.io/pod-index"] == "1"
            )
            assert {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}} in found["spec"]["volumes"]
            claims = here.registry.list("persistentvolumeclaims", "shop")
            assert [each["metadata"]["name"] for each in claims] == ["data-db-0", "data-db-1", "data-db-2"]
            assert {each["status"]["phase"] for each in claims} == {"Bound"}
            assert "Create Claim data-db-0 Pod db-0 in StatefulSet db success" in here.events("SuccessfulCreate")
            before = {each["metadata"]["uid"] for each in claims}
            here.registry.delete("statefulsets", "shop", "db", actor="test")
            await until(lambda: not here.pods("db"), "the pods go with the set")
            assert {each["metadata"]["uid"] for each in here.registry.list("persistentvolumeclaims", "shop")} == before

    run(main())


def test_a_replacement_waits_until_the_name_is_free_and_holds_the_order() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("statefulsets", stateful())
            await until(lambda: is_rolled(here), "three ready pods")
            here.graceful_s = 0.1
            old = {name: each["metadata"]["uid"] for name, each in pods_of(here).items()}
            watch = here.registry.subscribe("pods")
            watch.pending()
            for name in ("db-0", "db-2"):
                here.registry.delete("pods", "shop", name, actor="test")
            await until(
                lambda: (
                    is_rolled(here)
                    and not old.items()
                    & {name: each["metadata"]["uid"] for name, each in pods_of(here).items() if name != "db-1"}.items()
                ),
                "both are replaced",
            )
            added = [(each.type, each.obj["metadata"]["name"]) for each in watch.pending() if each.type != "MODIFIED"]
            assert added.index(("DELETED", "db-0")) < added.index(("ADDED", "db-0")) < added.index(("ADDED", "db-2"))
            here.registry.delete("pods", "shop", "db-1", actor="test", grace_s=0)
            assert "db-1" not in pods_of(here), "a forced deletion frees the name at once"
            await until(lambda: "db-1" in pods_of(here) and is_rolled(here), "and its successor takes it")

    run(main())


def roll(here: World, image: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
    here.registry.patch("statefulsets", "shop", "db", body, style="strategic", actor="test")


def images(here: World) -> list[str]:
    return [each["spec"]["containers"][0]["image"] for _, each in sorted(pods_of(here).items())]


def test_an_update_keeps_to_the_partition_also_for_replacements() -> None:
    async def main() -> None:
        async with world() as here:
            strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
            here.apply("statefulsets", stateful(updateStrategy=strategy))
            await until(lambda: is_rolled(here), "three ready pods")
            roll(here, "new:1")
            old = "python:3.11-slim"
            await until(lambda: images(here) == [old, old, "new:1"], "only the last is new")
            uid = pods_of(here)["db-0"]["metadata"]["uid"]
            here.registry.delete("pods", "shop", "db-0", actor="test")
            await until(
                lambda: pods_of(here).get("db-0", {"metadata": {"uid": uid}})["metadata"]["uid"] != uid, "it is back"
            )
            assert images(here) == [old, old, "new:1"], "below the partition the old revision comes back"
            body = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
            here.patch("statefulsets", "db", body)
            await until(lambda: images(here) == ["new:1"] * 3 and is_rolled(here), "all are new")
            roll(here, old)
            await until(lambda: images(here) == [old] * 3 and is_rolled(here), "and back")
            revisions = here.registry.list("controllerrevisions", "shop")
            assert sorted(each["revision"] for each in revisions) == [2, 3], "the first was used again"

    run(main())


def test_a_broken_revision_stays_stuck_after_the_template_is_put_back_until_its_pod_is_deleted() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("statefulsets", stateful())
            await until(lambda: is_rolled(here), "three ready pods")
            here.ready = False
            roll(here, "broken:1")
            await until(
                lambda: images(here)[2:] == ["broken:1"] and pods_of(here)["db-2"]["status"].get("podIP"),
                "the last is broken",
            )
            here.ready = True
            roll(here, "python:3.11-slim")
            await asyncio.sleep(0.2)
            assert images(here)[2] == "broken:1"
            here.registry.delete("pods", "shop", "db-2", actor="test")
            await until(lambda: is_rolled(here), "deleted by hand it comes back well")
            assert images(here) == ["python:3.11-slim"] * 3

    run(main())


def test_scaling_down_goes_from_the_top_one_at_a_time_and_halts_at_a_sick_pod() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("statefulsets", stateful())
            await until(lambda: is_rolled(here), "three ready pods")
            set_ready(here.registry, pods_of(here)["db-0"], False)
            here.patch("statefulsets", "db", {"spec": {"replicas": 1}})
            await asyncio.sleep(0.1)
            assert sorted(pods_of(here)) == ["db-0", "db-1", "db-2"]
            watch = here.registry.subscribe("pods")
            watch.pending()
            set_ready(here.registry, pods_of(here)["db-0"], True)
            await until(lambda: sorted(pods_of(here)) == ["db-0"], "one is left")
            gone = [each.obj["metadata"]["name"] for each in watch.pending() if each.type == "DELETED"]
            assert gone == ["db-2", "db-1"]

    run(main())


def test_an_orphan_of_another_name_is_not_taken_in_and_a_foreign_pod_blocks_the_name() -> None:
    async def main() -> None:
        async with world() as here:
            other = {
                "metadata": {"name": "db-0", "labels": {"app": "else"}},
                "spec": workload("x")["spec"]["template"]["spec"],
            }
            here.apply("pods", other)
            stray = {"metadata": {"name": "stray", "labels": {"app": "db"}}, "spec": other["spec"]}
            here.apply("pods", stray)
            here.apply("statefulsets", stateful(replicas=1))
            await until(lambda: here.events("FailedCreate"), "the name is taken")
            assert "ownerReferences" not in here.registry.get("pods", "shop", "stray")["metadata"]
            here.registry.delete("pods", "shop", "db-0", actor="test")
            await until(lambda: is_rolled(here), "the name is free")

    run(main())


def test_a_set_made_again_takes_its_pods_and_revision_back_without_touching_them() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("statefulsets", stateful(replicas=2))
            await until(lambda: is_rolled(here), "two ready pods")
            before = {name: each["metadata"]["uid"] for name, each in pods_of(here).items()}
            here.registry.delete("statefulsets", "shop", "db", actor="test", propagation="Orphan")
            await until(lambda: here.registry.find("statefulsets", "shop", "db") is None, "the set is gone")
            assert not any(each["metadata"].get("ownerReferences") for each in here.pods("db"))
            here.apply("statefulsets", stateful(replicas=2))
            await until(lambda: is_rolled(here), "taken in")
            assert {name: each["metadata"]["uid"] for name, each in pods_of(here).items()} == before
            (revision,) = here.registry.list("controllerrevisions", "shop")
            assert revision["metadata"]["ownerReferences"][0]["name"] == "db"

    run(main())
