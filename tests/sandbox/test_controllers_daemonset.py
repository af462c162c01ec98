"""DaemonSets: which nodes want a pod and how an update goes, as tables, and the real registry's answers."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.sandbox.controllers.daemons import Daemons, daemon, fits, placing, status_of, updating
from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.registry import Obj

from .controlled import World, daemons, end_pod, node, run, set_ready, until, world

BAD: Obj = {"key": "bad", "effect": "NoSchedule"}
WORSE: Obj = {"key": "worse", "effect": "NoExecute"}


@pytest.fixture(autouse=True)
def _no_crash() -> Any:
    crashes.clear()
    yield
    assert not crashes


def owner(**strategy: Any) -> Obj:
    found = daemons(updateStrategy={"type": "RollingUpdate", "rollingUpdate": strategy or {"maxUnavailable": 1}})
    found["metadata"] |= {"namespace": "shop", "uid": "u"}
    return found


def tainted(*taints: Obj) -> Obj:
    return node("node-1") | {"spec": {"taints": list(taints)}}


@pytest.mark.parametrize(
    ("taints", "expected"),
    [
        ((), (True, True)),
        (({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},), (True, True)),
        (({"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},), (True, True)),
        (({"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"},), (True, True)),
        ((BAD,), (False, True)),
        ((WORSE,), (False, False)),
    ],
)
def test_taints_decide_who_may_come_and_who_may_stay(taints: tuple[Obj, ...], expected: tuple[bool, bool]) -> None:
    assert fits(owner(), tainted(*taints)) == expected


def test_a_node_selector_decides_both() -> None:
    picky = owner()
    picky["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    assert fits(picky, node("node-1")) == (False, False)
    assert fits(picky, node("node-1", labels={"disk": "ssd"})) == (True, True)


def pod(place: int, state: str = "new") -> Obj:
    """`state`: new, old, sick (old, not ready), fresh (new, not ready), ending, failed, or ended (failed and deleted)."""
    found = daemon(owner(), f"node-{place}", "v1" if state in ("old", "sick") else "v2")
    found["metadata"] |= {"name": f"{state}-{place}", "namespace": "shop"}
    if state in ("ending", "ended"):
        found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": str(state in ("new", "old", "ending"))}
    found["status"] = {"phase": "Failed" if state in ("failed", "ended") else "Running", "conditions": [ready]}
    return found


def found(owner_: Obj, *states: str) -> Daemons:
    """`states`: per node its pods, comma separated."""
    nodes = [node(f"node-{place}") for place in range(len(states))]
    pods = [pod(place, state) for place, each in enumerate(states) for state in each.split(",") if state]
    return Daemons(owner_, nodes, pods, "v2", 0.0)


def names(pods: Any) -> list[str]:
    return sorted(each["metadata"]["name"] for each in pods)


@pytest.mark.parametrize(
    ("states", "create", "delete"),
    [
        (("", "new", "old"), ("node-0",), []),
        (("ending", "new"), (), []),
        (("ended", "new"), ("node-0",), []),
        (("failed", "new"), (), ["failed-0"]),
        (("new,fresh",), (), ["new-0"]),
    ],
)
def test_each_node_gets_one_and_keeps_one(states: tuple[str, ...], create: tuple[str, ...], delete: list[str]) -> None:
    wanted = placing(found(owner(), *states))
    assert (wanted.create, names(wanted.delete)) == (create, delete)


@pytest.mark.parametrize(
    ("limits", "states", "create", "delete"),
    [
        ({"maxUnavailable": 1}, ("old", "old", "old"), 0, 1),
        ({"maxUnavailable": "50%"}, ("old", "old", "old"), 0, 2),
        ({"maxUnavailable": 1}, ("old", "fresh", "old"), 0, 0),
        ({"maxUnavailable": 1}, ("old", "ending", "old"), 0, 0),
        ({"maxUnavailable": 1}, ("old", "sick", "sick"), 0, 2),
        ({"maxUnavailable": 1}, ("new", "new", "old"), 0, 1),
        ({"maxUnavailable": 0, "maxSurge": 1}, ("old", "old", "old"), 1, 0),
        ({"maxUnavailable": 0, "maxSurge": 1}, ("old,fresh", "old", "old"), 0, 0),
        ({"maxUnavailable": 0, "maxSurge": 1}, ("old,new", "old", "old"), 1, 1),
    ],
)
def test_an_update_keeps_its_limits_and_the_sick_go_first(
    limits: Obj, states: tuple[str, ...], create: int, delete: int
) -> None:
    step = updating(found(owner(**limits), *states))
    assert (len(step.create), len(step.delete)) == (create, delete)


def test_the_status_counts_nodes() -> None:
    status = status_of(found(owner(), "new", "old", "fresh", ""), 0)
    assert status["desiredNumberScheduled"] == 4 and status["currentNumberScheduled"] == 3
    assert (status["numberReady"], status["numberAvailable"], status["numberUnavailable"]) == (2, 2, 2)
    assert status["updatedNumberScheduled"] == 2


def pods_by_node(here: World) -> dict[str, Obj]:
    return {each["spec"].get("nodeName", ""): each for each in here.active("agent")}


def status(here: World) -> Obj:
    told: Obj = here.registry.get("daemonsets", "shop", "agent")["status"]
    return told


async def covered(here: World, nodes: int) -> None:
    await until(lambda: status(here).get("numberReady") == nodes == status(here).get("desiredNumberScheduled"), "ready")


def test_a_daemon_runs_everywhere_survives_cordon_and_joins_new_nodes() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("daemonsets", daemons())
            await covered(here, 3)
            before = {name: each["metadata"]["uid"] for name, each in pods_by_node(here).items()}
            here.registry.patch("nodes", "", "node-1", {"spec": {"unschedulable": True}}, style="merge", actor="test")
            body = node("node-4")
            here.registry.create("nodes", "", body, actor="test")
            here.registry.update("nodes", "", "node-4", body, actor="test", subresource="status")
            await covered(here, 4)
            after = {name: each["metadata"]["uid"] for name, each in pods_by_node(here).items()}
            assert before.items() <= after.items()
            here.registry.delete("pods", "shop", pods_by_node(here)["node-1"]["metadata"]["name"], actor="test")
            await until(
                lambda: (
                    pods_by_node(here).get("node-1", {"metadata": {"uid": ""}})["metadata"]["uid"]
                    not in ("", before["node-1"])
                ),
                "a cordoned node gets its daemon back",
            )

    run(main())


def test_a_replacement_comes_when_the_old_one_has_ended_and_not_when_it_is_gone() -> None:
    async def main() -> None:
        async with world(nodes=1) as here:
            here.graceful_s = 60.0
            here.apply("daemonsets", daemons())
            await covered(here, 1)
            (old,) = here.pods("agent")
            here.registry.delete("pods", "shop", old["metadata"]["name"], actor="test")
            await until(lambda: "deletionTimestamp" in here.pods("agent")[0]["metadata"], "it is ending")
            assert len(here.pods("agent")) == 1 and status(here)["numberReady"] == 1
            end_pod(here.registry, here.pods("agent")[0])
            await until(lambda: len(here.pods("agent")) == 2, "both are there")
            assert here.registry.find("pods", "shop", old["metadata"]["name"]) is not None

    run(main())


def test_a_failed_daemon_is_replaced_and_the_event_says_so() -> None:
    async def main() -> None:
        async with world(nodes=1) as here:
            here.apply("daemonsets", daemons())
            await covered(here, 1)
            (old,) = here.pods("agent")
            end_pod(here.registry, old, 1)
            await until(lambda: names(here.pods("agent")) != [old["metadata"]["name"]], "replaced")
            assert here.events("FailedDaemonPod")

    run(main())


def test_an_update_never_has_more_than_one_node_without() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("daemonsets", daemons())
            await covered(here, 3)
            watch = here.registry.subscribe("daemonsets")
            watch.pending()
            here.patch("daemonsets", "agent", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
            await until(lambda: status(here)["observedGeneration"] == 2, "seen")
            await until(
                lambda: status(here).get("updatedNumberScheduled") == 3 == status(here)["numberReady"], "updated"
            )
            assert min(change.obj["status"]["numberReady"] for change in watch.pending()) >= 2
            labels = {each["metadata"]["labels"]["pod-template-generation"] for each in here.pods("agent")}
            assert labels == {"2"}
            told = here.registry.list("controllerrevisions", "shop")
            assert [each["revision"] for each in told] and {each["revision"] for each in told} == {1, 2}

    run(main())


def test_on_delete_waits_for_a_deletion() -> None:
    async def main() -> None:
        async with world(nodes=2) as here:
            here.apply("daemonsets", daemons(updateStrategy={"type": "OnDelete"}))
            await covered(here, 2)
            here.patch("daemonsets", "agent", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
            await until(lambda: status(here)["observedGeneration"] == 2, "seen")
            assert "updatedNumberScheduled" not in status(here)
            here.registry.delete("pods", "shop", here.pods("agent")[0]["metadata"]["name"], actor="test")
            await until(lambda: status(here).get("updatedNumberScheduled") == 1, "one is new")
            set_ready(here.registry, here.pods("agent")[0], True)

    run(main())
