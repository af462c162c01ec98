"""EndpointSlices: which pods are listed, in which condition, under which ports; pure tables and the running controller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoskit.sandbox.controllers.endpoints import has_endpoints_of_its_own, pair, slices_of
from chaoskit.sandbox.registry import Obj

from .controlled import World, run, set_ready, until, workload, world

PORTS = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]


def service(ports: Any = PORTS, **spec: Any) -> Obj:
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "s"},
        "spec": {"selector": {"app": "web"}, "ports": ports, **spec},
    }


def pod(
    name: str,
    ip: str = "10.0.0.1",
    *,
    ready: bool = True,
    phase: str = "Running",
    port: tuple[str, int] = ("http", 8080),
    **metadata: Any,
) -> Obj:
    container = {"name": "app", "ports": [{"name": port[0], "containerPort": port[1]}]}
    status = {"podIP": ip, "phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
    told = {"name": name, "namespace": "shop", "uid": f"uid-{name}", **metadata}
    return {"metadata": told, "spec": {"nodeName": "node-1", "containers": [container]}, "status": status}


def one(*pods: Obj, **spec: Any) -> Obj:
    (found,) = slices_of(service(**spec), pods)
    return found


@pytest.mark.parametrize(
    ("given", "ready", "serving", "terminating"),
    [
        (pod("a"), True, True, False),
        (pod("a", ready=False), False, False, False),
        (pod("a", deletionTimestamp="t"), False, True, True),
        (pod("a", ready=False, deletionTimestamp="t"), False, False, True),
    ],
)
def test_the_three_conditions_of_an_endpoint(given: Obj, ready: bool, serving: bool, terminating: bool) -> None:
    (endpoint,) = one(given)["endpoints"]
    assert endpoint["conditions"] == {"ready": ready, "serving": serving, "terminating": terminating}
    assert endpoint["targetRef"] == {"kind": "Pod", "namespace": "shop", "name": "a", "uid": "uid-a"}
    assert (endpoint["addresses"], endpoint["nodeName"]) == (["10.0.0.1"], "node-1")


def test_pods_without_address_or_at_their_end_are_not_listed() -> None:
    empty = one(pod("a", ip=""), pod("b", phase="Succeeded"), pod("c", phase="Failed"))
    assert empty == {"ports": None, "endpoints": []}


def test_publishing_not_ready_addresses_makes_them_ready() -> None:
    listed = one(pod("a", ready=False), pod("b", ready=True, deletionTimestamp="t"), publishNotReadyAddresses=True)
    assert [each["conditions"]["ready"] for each in listed["endpoints"]] == [True, True]


def test_a_named_port_is_resolved_per_pod_into_slices_of_their_own() -> None:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 81, "targetPort": 9000}]
    found = slices_of(service(ports), [pod("a"), pod("b", port=("http", 9090)), pod("c", port=("other", 1))])
    told = [
        (
            [(port["name"], port["port"]) for port in each["ports"]],
            [end["targetRef"]["name"] for end in each["endpoints"]],
        )
        for each in found
    ]
    assert told == [
        ([("admin", 9000)], ["c"]),
        ([("web", 8080), ("admin", 9000)], ["a"]),
        ([("web", 9090), ("admin", 9000)], ["b"]),
    ]


def test_an_unknown_port_name_leaves_a_ready_endpoint_without_ports() -> None:
    found = one(pod("a"), ports=[{"port": 80, "targetPort": "nope"}])
    assert found["ports"] is None and found["endpoints"][0]["conditions"]["ready"]


def test_a_slice_holds_a_hundred_endpoints() -> None:
    found = slices_of(service(), [pod(f"p{number:03}", ip=f"10.0.1.{number}") for number in range(150)])
    assert [len(each["endpoints"]) for each in found] == [100, 50]


def test_external_and_selectorless_services_are_somebody_elses() -> None:
    assert has_endpoints_of_its_own(service())
    assert not has_endpoints_of_its_own(service(type="ExternalName"))
    assert not has_endpoints_of_its_own({"spec": {"ports": PORTS}})


def test_stored_slices_are_reused_by_their_ports_first() -> None:
    stored: list[Obj] = [{"name": "x", "ports": None}, {"name": "y", "ports": [1]}, {"name": "z", "ports": [3]}]
    wanted: list[Obj] = [{"ports": [1]}, {"ports": [2]}]
    assert pair(stored, wanted) == [(stored[1], wanted[0]), (stored[0], wanted[1]), (stored[2], None)]
    assert pair([], wanted) == [(None, wanted[0]), (None, wanted[1])]


def test_an_endpoint_tells_the_zone_of_its_node_if_there_is_one() -> None:
    found = pod("a")
    found["spec"]["nodeName"] = "node-1"
    for zones, told in (({"node-1": "east"}, "east"), ({"node-2": "west"}, None)):
        (body,) = slices_of(service(), [found], zones)
        assert body["endpoints"][0].get("zone") == told


# -- the running controller


def slices(here: World, manager: str) -> list[Obj]:
    labels = f"kubernetes.io/service-name=web,endpointslice.kubernetes.io/managed-by={manager}"
    return here.registry.list("endpointslices", "shop", labels=labels)


def endpoints(here: World) -> dict[str, tuple[bool, bool, bool]]:
    """ready, serving, terminating by pod name."""
    return {
        each["targetRef"]["name"]: (
            each["conditions"]["ready"],
            each["conditions"]["serving"],
            each["conditions"]["terminating"],
        )
        for found in slices(here, "endpointslice-controller.k8s.io")
        for each in found.get("endpoints") or ()
    }


def serve(here: World, **spec: Any) -> None:
    here.apply(
        "services",
        {
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}], **spec},
        },
    )


def test_a_pods_way_through_the_slice() -> None:
    async def main() -> None:
        async with world() as here:
            here.graceful_s = 0.2
            serve(here)
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            await until(lambda: list(endpoints(here).values()) == [(True, True, False)] * 3, "three ready")
            here.ready = False
            victim = here.pods()[0]["metadata"]["name"]
            here.registry.delete("pods", "shop", victim, actor="test")
            await until(lambda: endpoints(here)[victim] == (False, True, True), "serving while terminating")
            await until(
                lambda: (False, False, False) in endpoints(here).values(), "the replacement is listed, not ready"
            )
            await until(lambda: victim not in endpoints(here), "gone with the pod")
            for pod in here.pods():
                set_ready(here.registry, pod, True)
            await until(lambda: list(endpoints(here).values()) == [(True, True, False)] * 3, "three ready again")
            (found,) = here.registry.list("endpointslices", "shop")
            assert found["metadata"]["ownerReferences"][0]["kind"] == "Service"
            assert (
                found["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
                == "endpointslice-controller.k8s.io"
            )

    run(main())


def test_a_selector_that_matches_nothing_empties_the_slice_and_none_freezes_it() -> None:
    async def main() -> None:
        async with world() as here:
            serve(here)
            here.apply("deployments", workload("Deployment", replicas=1))
            await here.settled()
            await until(lambda: len(endpoints(here)) == 1, "one endpoint")
            here.patch("services", "web", {"spec": {"selector": {"app": "nobody"}}})
            await until(lambda: not endpoints(here), "none")
            here.patch("services", "web", {"spec": {"selector": {"app": "web"}}})
            await until(lambda: len(endpoints(here)) == 1, "one again")
            here.patch("services", "web", {"spec": {"selector": None}})
            here.registry.delete("pods", "shop", here.pods()[0]["metadata"]["name"], actor="test")
            await until(lambda: len(here.active()) == 1 and here.is_settled(), "another pod")
            await asyncio.sleep(0.02)
            frozen = set(endpoints(here))
            assert frozen and frozen.isdisjoint(pod["metadata"]["name"] for pod in here.active())

    run(main())


def test_a_service_without_its_selector_gets_a_mirror_that_nobody_updates_until_the_selector_is_back() -> None:
    mirror = "endpointslicemirroring-controller.k8s.io"

    async def main() -> None:
        async with world() as here:
            serve(here)
            here.apply("deployments", workload("Deployment", replicas=1))
            await here.settled()
            await until(lambda: list(endpoints(here).values()) == [(True, True, False)], "one endpoint")
            here.patch("services", "web", {"spec": {"selector": None}})
            (made,) = await until(lambda: slices(here, mirror), "the mirror")
            (frozen,) = slices(here, "endpointslice-controller.k8s.io")
            assert made["endpoints"][0]["addresses"] == frozen["endpoints"][0]["addresses"]
            assert made["endpoints"][0]["conditions"] == {"ready": True} and made["ports"] == frozen["ports"]
            here.registry.delete("pods", "shop", here.pods()[0]["metadata"]["name"], actor="test")
            await until(lambda: len(here.active()) == 1 and here.is_settled(), "another pod")
            assert slices(here, mirror) == [made], "the dead address stays"
            here.patch("services", "web", {"spec": {"selector": {"app": "web"}}})
            await until(lambda: not slices(here, mirror), "the mirror is gone")
            await until(
                lambda: set(endpoints(here)) == {here.active()[0]["metadata"]["name"]}, "and the slice corrected"
            )

    run(main())


def test_a_service_that_never_had_a_selector_has_no_mirror() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("services", {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
            await asyncio.sleep(0.05)
            assert not here.registry.list("endpointslices", "shop")

    run(main())


def test_the_slices_of_a_deleted_service_go_with_it() -> None:
    async def main() -> None:
        async with world() as here:
            serve(here)
            await until(lambda: here.registry.list("endpointslices", "shop"), "an empty slice")
            here.registry.delete("services", "shop", "web", actor="test")
            await until(lambda: not here.registry.list("endpointslices", "shop"), "none")

    run(main())
