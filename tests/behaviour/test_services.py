"""Services: who is behind an address, and what a fresh connection gets. Asked from a pod inside the cluster."""

from __future__ import annotations

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import endpoints, terminal

SERVICES = "kubernetes.io: Service"
RECORDED = "recorded on 1.36; kube-proxy"
REFUSED = "ConnectionRefusedError"
LOST = {REFUSED, "TimeoutError", "ConnectionResetError", "RemoteDisconnected"}


def _behind(space: Space, *names: str, **env: str) -> None:
    """Ready pods behind the Service `web`."""
    for name in names:
        space.create("pods", app.pod(name, app.serving(**env), labels={"app": "web"}))
    for name in names:
        space.until_slice("web", lambda found, name=name: found.get(name) == (True, True, False), 60)


def _serve(space: Space, **more: object) -> str:
    """Create the Service `web`; answers its address."""
    address: str = space.create("services", app.service("web", **more))["spec"]["clusterIP"]
    return address


@scenario(
    "A Service sends connections to all its ready pods",
    "conformance: service.go, should serve a basic endpoint from pods",
)
def test_connections_are_spread(space: Space) -> None:
    address = _serve(space)
    _behind(space, "one", "two")
    space.visitor()
    space.until_knock(address, 8000, lambda word: word in ("one", "two"))
    assert set(space.knock(address, 8000, times=40)) == {"one", "two"}


@scenario("A connection to a Service without endpoints is refused", RECORDED)
def test_without_endpoints_it_refuses(space: Space) -> None:
    address = _serve(space)
    space.visitor()
    space.until_knock(address, 8000, lambda word: word == REFUSED)


@scenario(
    "A selector that matches nothing empties the slice and connections are refused; restored, they are served", RECORDED
)
def test_a_selector_that_matches_nothing(space: Space) -> None:
    address = _serve(space)
    _behind(space, "one")
    space.visitor()
    space.until_knock(address, 8000, lambda word: word == "one")
    space.patch("services", "web", {"spec": {"selector": {"app": "nobody"}}})
    with space.measured("refused after the change"):
        space.until_slice("web", lambda found: not found)
        space.until_knock(address, 8000, lambda word: word == REFUSED)
    space.patch("services", "web", {"spec": {"selector": {"app": "web"}}})
    space.until_knock(address, 8000, lambda word: word == "one")


@scenario("A merge patch of the selector to {} changes nothing", RECORDED)
def test_an_empty_selector_by_merge_patch(space: Space) -> None:
    _serve(space)
    before = space.get("services", "web")
    assert (
        space.patch("services", "web", {"spec": {"selector": {}}})["metadata"]["resourceVersion"]
        == before["metadata"]["resourceVersion"]
    )


@scenario(
    "A selector that is taken away freezes the slice: traffic goes on, and a mirrored slice appears beside it", RECORDED
)
def test_a_selector_that_is_taken_away(space: Space) -> None:
    address = _serve(space)
    _behind(space, "one")
    space.visitor()
    space.until_knock(address, 8000, lambda word: word == "one")
    space.patch("services", "web", {"spec": {"selector": None}})

    def keepers() -> set[str]:
        found = space.items("endpointslices", labelSelector="kubernetes.io/service-name=web")
        return {one["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] for one in found}

    both = {"endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"}
    eventually(lambda: keepers() == both, 30, f"two slices, not {keepers()}")
    assert set(space.knock(address, 8000, times=5)) == {"one"}
    space.patch("services", "web", {"spec": {"selector": {"app": "web"}}})
    eventually(lambda: len(keepers()) == 1, 30, "the mirror is gone")


@scenario("A target port that nobody listens on leaves endpoints ready and connections refused", RECORDED)
def test_a_wrong_target_port(space: Space) -> None:
    address = _serve(space)
    _behind(space, "one")
    space.visitor()
    space.patch("services", "web", [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9999}], "json")
    space.until_knock(address, 8000, lambda word: word in (REFUSED, "ConnectionResetError", "RemoteDisconnected"))
    assert space.slice_of("web") == {"one": (True, True, False)}


@scenario("A named port is looked up in each pod; a name that no pod has leaves the slice without ports", RECORDED)
def test_named_ports(space: Space) -> None:
    address = _serve(space, ports=[{"port": 8000, "targetPort": "http"}])
    space.create(
        "pods",
        app.pod(
            "other",
            app.container(env={"PORT": "8181"}, ports=[{"name": "http", "containerPort": 8181}]),
            labels={"app": "web"},
        ),
    )
    _behind(space, "one")
    space.until_slice("web", lambda found: len(found) == 2)
    space.visitor()
    eventually(lambda: set(space.knock(address, 8000, times=20)) == {"one", "other"}, 30, "both pods answer")
    space.patch("services", "web", [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": "nosuch"}], "json")

    def ports() -> list[object]:
        return [
            one.get("ports") or None
            for one in space.items("endpointslices", labelSelector="kubernetes.io/service-name=web")
        ]

    eventually(lambda: ports() == [None], 30, f"no ports, not {ports()}")


@scenario(
    "Each port of a Service leads to its own target port",
    "conformance: service.go, should serve multiport endpoints from pods",
)
def test_several_ports(space: Space) -> None:
    address = _serve(
        space, ports=[{"name": "a", "port": 8000, "targetPort": 8080}, {"name": "b", "port": 8001, "targetPort": 8181}]
    )
    _behind(space, "one")
    two = app.container(env={"PORT": "8181"})
    space.start(app.pod("two", two, labels={"app": "web"}), "running")
    space.visitor()
    eventually(lambda: "one" in space.knock(address, 8000, times=10), 30, "a answers")
    eventually(lambda: "two" in space.knock(address, 8001, times=10), 30, "b answers")
    assert "two" not in space.knock(address, 8000, times=5) and "one" not in space.knock(address, 8001, times=5)


@scenario(
    "When every endpoint is terminating, those that still serve get the connections", "KEP-1669; recorded on 1.36"
)
def test_terminating_endpoints_serve_as_the_last(space: Space) -> None:
    address = _serve(space)
    _behind(space, "one", LINGER="5")
    space.visitor()
    space.until_knock(address, 8000, lambda word: word == "one")
    space.delete("pods", "one", gracePeriodSeconds=20)
    space.until_slice("web", lambda found: found.get("one") == (False, True, True))
    assert space.knock(address, 8000, times=6, every_s=0.2) == ["one"] * 6
    space.until_knock(address, 8000, lambda word: word in LOST)


@scenario("With a ready endpoint beside it a terminating one gets no new connection", "KEP-1669")
def test_a_ready_endpoint_is_preferred(space: Space) -> None:
    address = _serve(space)
    _behind(space, "one", "two", LINGER="8")
    space.visitor()
    space.until_knock(address, 8000, lambda word: word in ("one", "two"))
    space.delete("pods", "one", gracePeriodSeconds=20)
    space.until_slice("web", lambda found: found.get("one") == (False, True, True))
    eventually(lambda: set(space.knock(address, 8000, times=15)) == {"two"}, 8, "only two answers")


@scenario(
    "With ClientIP affinity a client stays with one pod, and moves when that is gone",
    "conformance: service.go, session affinity; recorded on 1.36",
)
def test_client_affinity(space: Space) -> None:
    address = _serve(space, sessionAffinity="ClientIP")
    assert space.get("services", "web")["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    _behind(space, "one", "two")
    space.visitor()
    space.until_knock(address, 8000, lambda word: word in ("one", "two"))
    favourite = space.knock(address, 8000, times=20)
    assert len(set(favourite)) == 1
    other = "two" if favourite[0] == "one" else "one"
    space.delete("pods", favourite[0])
    space.until_knock(address, 8000, lambda word: word == other)


@scenario(
    "publishNotReadyAddresses serves pods that are not ready, and tells them ready",
    f"{SERVICES}, headless; discovery/v1",
)
def test_unready_pods_may_be_published(space: Space) -> None:
    address = _serve(space, publishNotReadyAddresses=True)
    space.create("pods", app.pod("one", app.serving(READY="0"), labels={"app": "web"}))
    space.until_slice("web", lambda found: found.get("one", (False,))[0])
    space.visitor()
    space.until_knock(address, 8000, lambda word: word == "one")


@scenario("A headless Service has no address, but endpoints", f"{SERVICES}, headless Services")
def test_a_headless_service(space: Space) -> None:
    assert _serve(space, clusterIP="None") == "None"
    _behind(space, "one")
    one = space.items("endpointslices", labelSelector="kubernetes.io/service-name=web")[0]
    assert one["endpoints"][0]["addresses"] == [space.get("pods", "one")["status"]["podIP"]]
    assert one["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


@scenario("An endpoint names its pod and node", "discovery/v1, Endpoint")
def test_an_endpoint_names_its_pod(space: Space) -> None:
    _serve(space)
    _behind(space, "one")
    pod = space.get("pods", "one")
    found = space.items("endpointslices", labelSelector="kubernetes.io/service-name=web")[0]
    endpoint = found["endpoints"][0]
    assert endpoint["nodeName"] == pod["spec"]["nodeName"]
    assert {key: endpoint["targetRef"][key] for key in ("kind", "name", "uid")} == {
        "kind": "Pod",
        "name": "one",
        "uid": pod["metadata"]["uid"],
    }
    assert found["metadata"]["ownerReferences"][0]["name"] == "web" and found["addressType"] == "IPv4"


@scenario("A NodePort leads to the same pods on every node", "conformance: service.go, NodePort")
def test_a_node_port(space: Space) -> None:
    _serve(space, type="NodePort")
    port = space.get("services", "web")["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    _behind(space, "one")
    space.visitor()
    for node in space.items("nodes"):
        address = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
        space.until_knock(address, port, lambda word: word == "one")


@scenario(
    "A finished pod gets no more connections: its endpoint is not ready, or gone",
    "endpointslice/util/controller_utils.go, podEndpointsChanged; seen on 1.36",
    differs="Kubernetes keeps the endpoint, not ready, until the Service's next sync: a change of phase alone sets off none",
)
def test_a_finished_pod_is_no_endpoint(space: Space) -> None:
    _serve(space)
    space.create("pods", app.pod("one", app.serving(), labels={"app": "web"}, restartPolicy="Never"))
    space.until_slice("web", lambda found: found.get("one") == (True, True, False), 60)
    space.ask("one", "/exit/0")
    space.until_pod("one", terminal)
    space.until_slice("web", lambda found: found.get("one", (False, False, False)) == (False, False, False))


@scenario(
    "Environment variables tell a pod the Services that were there before it", f"{SERVICES}, environment variables"
)
def test_service_variables(space: Space) -> None:
    address = _serve(space)
    body = app.container(
        code="import os; print(os.environ['WEB_SERVICE_HOST'], os.environ['WEB_SERVICE_PORT'], os.environ['WEB_PORT'])"
    )
    space.create("pods", app.pod("p", body, restartPolicy="Never"))
    space.until_pod("p", lambda pod: pod["status"].get("phase") == "Succeeded")
    assert space.log("p").split() == [address, "8000", f"tcp://{address}:8000"]


@scenario("A deleted Service takes its slices along and its address refuses or drops", SERVICES)
def test_a_deleted_service(space: Space) -> None:
    address = _serve(space)
    _behind(space, "one")
    space.visitor()
    space.until_knock(address, 8000, lambda word: word == "one")
    space.delete("services", "web")
    eventually(lambda: not space.items("endpointslices"), 30, "no slices")
    space.until_knock(address, 8000, lambda word: word in LOST)


@scenario("An endpoint follows the pod's labels", "pkg/controller/endpointslice")
def test_an_endpoint_follows_labels(space: Space) -> None:
    _serve(space)
    _behind(space, "one")
    trace = space.trace("endpointslices")
    space.patch("pods", "one", {"metadata": {"labels": {"app": "other"}}})
    trace.wait("endpointslices", lambda seen: not endpoints(seen.obj))
    space.patch("pods", "one", {"metadata": {"labels": {"app": "web"}}})
    back = trace.wait("endpointslices", lambda seen: endpoints(seen.obj) == {"one": (True, True, False)})
    assert back.type == "MODIFIED"


@pytest.mark.nightly
@scenario("With a ClientIP timeout of 3 s a client that keeps coming stays, whoever pauses longer may move", RECORDED)
def test_affinity_times_out(space: Space) -> None:
    body: Obj = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 3}}}
    address = _serve(space, **body)
    _behind(space, "one", "two", "three")
    space.visitor()
    space.until_knock(address, 8000, lambda word: word in ("one", "two", "three"))
    assert len(set(space.knock(address, 8000, times=8, every_s=1.0))) == 1
    assert len(set(space.knock(address, 8000, times=8, every_s=5.0))) > 1
