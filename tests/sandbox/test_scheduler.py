"""The scheduler: what rules a node out and in which words, which node is best, and when a pod tries again."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.placement.filters import Objection, explain, objection, wishes_of
from chaoskit.sandbox.placement.ledger import Ledger, Room
from chaoskit.sandbox.placement.resources import assumed_requests_of, requests_of
from chaoskit.sandbox.placement.scores import best
from chaoskit.sandbox.registry import Obj
from chaoskit.sandbox.scheduler import backoff_s

from .controlled import node, run, template, until, workload, world


@pytest.fixture(autouse=True)
def _no_crash() -> Any:
    crashes.clear()
    yield
    assert not crashes


def pod(
    name: str = "p",
    *,
    on: str = "",
    cpu: str = "",
    memory: str = "",
    owner: str = "",
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> Obj:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    container = {"name": "app", "resources": {"requests": requests}, "ports": spec.pop("ports", [])}
    metadata: Obj = {"name": name, "namespace": "shop", "uid": name, "labels": labels or {"app": "web"}}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    return {
        "metadata": metadata,
        "spec": {"containers": [container], **({"nodeName": on} if on else {}), **spec},
        "status": {},
    }


def ledger(*objects: Obj) -> Ledger:
    book = Ledger()
    for obj in objects:
        (book.note_pod if "containers" in obj["spec"] else book.note_node)(obj)
    return book


def reasons(wanted: Obj, *objects: Obj) -> dict[str, tuple[str, ...]]:
    """Objections by node name; nodes that fit are left out."""
    rooms = ledger(*objects).rooms()
    wishes = wishes_of(wanted, rooms)
    return {room.name: found.reasons for room in rooms if (found := objection(wishes, room)) is not None}


def tainted(name: str, effect: str = "NoSchedule") -> Obj:
    made = node(name)
    made["spec"]["taints"] = [{"key": "team", "value": "shop", "effect": effect}]
    return made


def cordoned(name: str) -> Obj:
    made = node(name)
    made["spec"]["unschedulable"] = True
    return made


def test_a_cordoned_node_is_out_unless_tolerated() -> None:
    assert reasons(pod(), cordoned("a"), node("b")) == {"a": ("node(s) were unschedulable",)}
    tolerant = pod(
        tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]
    )
    assert reasons(tolerant, cordoned("a")) == {}


def test_a_tainted_node_is_out_unless_tolerated() -> None:
    assert reasons(pod(), tainted("a"), tainted("b", "PreferNoSchedule")) == {
        "a": ("node(s) had untolerated taint {team: shop}",)
    }
    assert reasons(pod(tolerations=[{"key": "team", "value": "shop"}]), tainted("a"), tainted("b", "NoExecute")) == {}


def test_node_selector_and_required_affinity_rule_out_what_they_do_not_mean() -> None:
    text = ("node(s) didn't match Pod's node affinity/selector",)
    ssd, plain = node("ssd", labels={"disk": "ssd", "gen": "7"}), node("plain")
    assert reasons(pod(nodeSelector={"disk": "ssd"}), ssd, plain) == {"plain": text}

    def affine(*terms: Obj) -> Obj:
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
        return pod(affinity={"nodeAffinity": required})

    newer = {"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["6"]}]}
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["plain"]}]}
    assert reasons(affine(newer), ssd, plain) == {"plain": text}
    assert reasons(affine(newer, named), ssd, plain) == {}
    assert reasons(affine({}), ssd, plain) == {"ssd": text, "plain": text}


def test_requests_must_fit_into_what_is_left() -> None:
    small = node("small", cpu="1", pods="2")
    assert reasons(pod(cpu="600m"), small, pod("x", on="small", cpu="500m")) == {"small": ("Insufficient cpu",)}
    assert reasons(pod(cpu="500m"), small, pod("x", on="small", cpu="500m")) == {}
    full = (small, pod("x", on="small"), pod("y", on="small"))
    assert reasons(pod(memory="9Gi"), *full) == {"small": ("Too many pods", "Insufficient memory")}
    finished = pod("y", on="small")
    finished["status"]["phase"] = "Succeeded"
    assert reasons(pod(), small, pod("x", on="small"), finished) == {}


def test_a_host_port_is_free_once_per_node() -> None:
    port = [{"containerPort": 80, "hostPort": 8080}]
    found = reasons(pod(ports=port), node("a"), node("b"), pod("x", on="a", ports=port))
    assert found == {"a": ("node(s) didn't have free ports for the requested pod ports",)}


def test_do_not_schedule_keeps_the_skew() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    wanted = pod(topologySpreadConstraints=[constraint])
    text = "node(s) didn't match pod topology spread constraints"
    unlabelled = node("c")
    del unlabelled["metadata"]["labels"]["kubernetes.io/hostname"]
    assert reasons(wanted, node("a"), node("b"), unlabelled, pod("x", on="a")) == {
        "a": (text,),
        "c": (f"{text} (missing required label)",),
    }
    leaving = pod("x", on="a")
    leaving["metadata"]["deletionTimestamp"] = "t"
    assert reasons(wanted, node("a"), node("b"), leaving) == {}


def test_pod_affinity_and_anti_affinity() -> None:
    def wants(kind: str, app: str) -> Obj:
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}
        return pod(affinity={kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})

    running = pod("db", on="a", labels={"app": "db"})
    assert reasons(wants("podAffinity", "db"), node("a"), node("b"), running) == {
        "b": ("node(s) didn't match pod affinity rules",)
    }
    assert reasons(wants("podAntiAffinity", "db"), node("a"), node("b"), running) == {
        "a": ("node(s) didn't match pod anti-affinity rules",)
    }
    assert reasons(wants("podAffinity", "web"), node("a")) == {}, "the first of its kind may start anywhere"
    hermit = wants("podAntiAffinity", "web")
    hermit["spec"]["nodeName"], hermit["metadata"]["uid"] = "a", "hermit"
    assert reasons(pod(), node("a"), hermit) == {"a": ("node(s) didn't satisfy existing pods anti-affinity rules",)}


def test_the_message_counts_and_sorts_reasons() -> None:
    cordon = Objection(("node(s) were unschedulable",), final=True)
    short = Objection(("Insufficient cpu",), final=False)
    assert explain([cordon, short, cordon]) == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: 0/3 nodes are available: "
        "1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
    )
    assert explain([]) == "no nodes available to schedule pods"


def test_requests_sum_containers_and_take_the_maximum_of_init_containers() -> None:
    def container(cpu: str, **more: Any) -> Obj:
        return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "containers": [container("100m"), container("0.2")],
        "initContainers": [container("1"), container("50m", restartPolicy="Always")],
    }
    assert requests_of({"spec": spec}) == {"cpu": 1000}
    spec["initContainers"] = [container("50m", restartPolicy="Always"), container("200m")]
    assert requests_of({"spec": spec}) == {"cpu": 350}
    assert assumed_requests_of({"spec": {"containers": [{"name": "c"}]}}) == {"cpu": 100, "memory": 200 * 2**20}


def place(wanted: Obj, rooms: list[Room], seed: int = 0) -> str:
    return best(wanted, rooms, rooms, random.Random(seed)).name


def test_siblings_spread_over_nodes_even_when_those_are_fuller() -> None:
    crowd = [pod(f"x{number}", on="b", cpu="1", owner="other") for number in range(3)]
    rooms = ledger(node("a"), node("b"), pod("first", on="a", owner="rs"), *crowd).rooms()
    assert {place(pod(owner="rs"), rooms, seed) for seed in range(20)} == {"b"}
    assert {place(pod(owner=""), rooms, seed) for seed in range(20)} == {"a"}


def test_equal_nodes_are_chosen_at_random() -> None:
    rooms = ledger(node("a"), node("b")).rooms()
    assert {place(pod(), rooms, seed) for seed in range(20)} == {"a", "b"}


def test_preferences_and_soft_taints_count() -> None:
    preferred = {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
    wanted = pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}})
    assert place(wanted, ledger(node("a"), node("b", labels={"disk": "ssd"})).rooms()) == "b"
    assert place(pod(), ledger(tainted("a", "PreferNoSchedule"), node("b")).rooms()) == "b"


def test_the_ledger_forgets_what_leaves_and_waits_for_unknown_nodes() -> None:
    book = ledger(pod("early", on="late", cpu="1"), node("late"), node("a"), pod("x", on="a", cpu="1"))
    assert [room.used.get("cpu", 0) for room in book.rooms()] == [1000, 1000]
    book.note_pod(pod("x", on="a", cpu="2"))
    assert [room.used["cpu"] for room in book.rooms()] == [2000, 1000]
    book.forget_pod(pod("x"))
    book.forget_node("late")
    book.note_node(node("late"))
    assert [(room.used.get("cpu", 0), len(room.pods)) for room in book.rooms()] == [(0, 0), (1000, 1)]


def test_the_back_off_doubles_up_to_its_limit() -> None:
    assert [backoff_s(count, 1.0, 10.0) for count in (1, 2, 3, 4, 5, 50)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


# -- the running scheduler


def test_replicas_land_evenly_and_the_event_tells_where() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment", replicas=6))
            await here.settled()
            assert set(Counter(pod["spec"]["nodeName"] for pod in here.pods()).values()) == {2}
            name, where = here.pods()[0]["metadata"]["name"], here.pods()[0]["spec"]["nodeName"]
            assert f"Successfully assigned shop/{name} to {where}" in here.events("Scheduled")

    run(main())


def test_a_pod_that_fits_nowhere_says_why_and_starts_when_there_is_room() -> None:
    async def main() -> None:
        async with world(nodes=2) as here:
            body = workload("Deployment", replicas=1)
            body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "5"}}
            here.apply("deployments", body)
            await until(lambda: here.events("FailedScheduling"), "the refusal")
            text = (
                "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: "
                "2 No preemption victims found for incoming pod."
            )
            assert here.events("FailedScheduling") == [text]
            (waiting,) = here.pods()
            (condition,) = [each for each in waiting["status"]["conditions"] if each["type"] == "PodScheduled"]
            assert (condition["status"], condition["reason"], condition["message"]) == ("False", "Unschedulable", text)
            larger = node("node-9", cpu="8")
            here.registry.create("nodes", "", larger, actor="test")
            here.registry.update("nodes", "", "node-9", larger, actor="test", subresource="status")
            await here.settled()
            assert here.pods()[0]["spec"]["nodeName"] == "node-9"

    run(main())


def test_a_pod_waits_for_another_to_leave() -> None:
    async def main() -> None:
        async with world(nodes=1) as here:

            def greedy(name: str) -> Obj:
                made = {"apiVersion": "v1", "kind": "Pod", **template(name)}
                made["metadata"]["name"] = name
                made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "3"}}
                return made

            here.apply("pods", greedy("first"))
            await until(
                lambda: here.registry.get("pods", "shop", "first")["spec"].get("nodeName"), "the first is placed"
            )
            here.apply("pods", greedy("second"))
            await until(lambda: here.events("FailedScheduling"), "the second waits")
            here.registry.delete("pods", "shop", "first", actor="test")
            await until(
                lambda: here.registry.get("pods", "shop", "second")["spec"].get("nodeName"), "the second is placed"
            )

    run(main())


def test_uncordoning_lets_waiting_pods_start() -> None:
    async def main() -> None:
        async with world(nodes=1) as here:
            here.registry.patch("nodes", "", "node-1", {"spec": {"unschedulable": True}}, style="merge", actor="test")
            here.apply("deployments", workload("Deployment"))
            await until(lambda: here.events("FailedScheduling"), "nowhere to go")
            assert "1 node(s) were unschedulable" in here.events("FailedScheduling")[0]
            here.registry.patch("nodes", "", "node-1", {"spec": {"unschedulable": None}}, style="merge", actor="test")
            await here.settled()

    run(main())


def test_pods_of_another_scheduler_and_gated_ones_are_left_alone() -> None:
    async def main() -> None:
        async with world(nodes=1) as here:
            for name, spec in (("other", {"schedulerName": "mine"}), ("plain", {})):
                made = {"apiVersion": "v1", "kind": "Pod", **template(name, **spec)}
                made["metadata"]["name"] = name
                here.apply("pods", made)
            await until(
                lambda: here.registry.get("pods", "shop", "plain")["spec"].get("nodeName"), "the plain one is placed"
            )
            assert "nodeName" not in here.registry.get("pods", "shop", "other")["spec"]

    run(main())
