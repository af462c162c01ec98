"""The route: every way a Service offers, in order; what cannot work is refused with the ways out."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from chaoskit.model.plan import Route
from chaoskit.traffic.route import RouteError, candidates, choose
from tests.traffic.app import FIN, OK, serving


def service(kind: str = "ClusterIP", *ports: dict[str, Any], ingress: Any = (), **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {"type": kind, "clusterIP": "10.0.0.9", "ports": list(ports) or [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": list(ingress)}},
    }


def node(name: str, *addresses: tuple[str, str], ready: bool = True, unschedulable: bool = False) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"unschedulable": unschedulable},
        "status": {
            "addresses": [{"type": kind, "address": address} for kind, address in addresses],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


NODES = [
    node("cordoned", ("InternalIP", "10.1.0.1"), unschedulable=True),
    node("down", ("InternalIP", "10.1.0.2"), ready=False),
    node("good", ("InternalIP", "10.1.0.3"), ("ExternalIP", "203.0.113.3"), ("Hostname", "good")),
]
BALANCED = service("LoadBalancer", {"port": 80, "nodePort": 30080}, ingress=[{"ip": "203.0.113.9"}])


def urls(routes: list[Route]) -> list[str]:
    return [route.base_url for route in routes]


def test_auto_tries_the_load_balancer_then_node_ports_then_the_cluster_ip() -> None:
    routes = candidates(BALANCED, NODES, "auto", None, None)
    assert [route.kind for route in routes] == ["loadBalancer", "nodePort", "nodePort", "nodePort", "clusterIP"]
    assert urls(routes) == [
        "http://203.0.113.9:80",
        "http://203.0.113.3:30080",
        "http://10.1.0.3:30080",
        "http://10.1.0.1:30080",
        "http://10.0.0.9:80",
    ]


def test_a_url_wins_over_everything_even_for_a_headless_service() -> None:
    headless = service(clusterIP="None")
    assert urls(candidates(headless, [], "auto", "http://shop.example/", None)) == ["http://shop.example"]


@pytest.mark.parametrize(
    ("via", "expected"), [("nodePort", "nodePort"), ("clusterIP", "clusterIP"), ("loadBalancer", "loadBalancer")]
)
def test_via_takes_that_way_only(via: str, expected: str) -> None:
    assert {route.kind for route in candidates(BALANCED, NODES, via, None, None)} == {expected}


def test_a_load_balancer_may_have_a_host_name_and_addresses_may_be_ipv6() -> None:
    named = service("LoadBalancer", ingress=[{"hostname": "lb.example"}], clusterIPs=["10.0.0.9", "fd00::9"])
    assert urls(candidates(named, [], "auto", None, None)) == [
        "http://lb.example:80",
        "http://10.0.0.9:80",
        "http://[fd00::9]:80",
    ]


def test_a_load_balancer_still_pending_is_left_out() -> None:
    pending = service("LoadBalancer", {"port": 80, "nodePort": 30080})
    assert [route.kind for route in candidates(pending, NODES[2:], "auto", None, None)] == [
        "nodePort",
        "nodePort",
        "clusterIP",
    ]


@pytest.mark.parametrize(
    ("port", "number"),
    [("web", 80), (80, 80), ("admin", 9090), (9090, 9090)],
    ids=["name", "number", "name2", "number2"],
)
def test_a_port_is_found_by_name_or_number(port: str | int, number: int) -> None:
    two = service("ClusterIP", {"port": 80, "name": "web"}, {"port": 9090, "name": "admin"})
    assert urls(candidates(two, [], "auto", None, port)) == [f"http://10.0.0.9:{number}"]


@pytest.mark.parametrize(
    ("port", "scheme"),
    [
        ({"port": 443}, "https"),
        ({"port": 8443, "name": "https-web"}, "https"),
        ({"port": 8443, "appProtocol": "https"}, "https"),
        ({"port": 443, "appProtocol": "http"}, "http"),
        ({"port": 8443, "name": "web"}, "http"),
    ],
)
def test_the_scheme_is_what_the_port_says(port: dict[str, Any], scheme: str) -> None:
    assert candidates(service("ClusterIP", port), [], "auto", None, None)[0].base_url.startswith(f"{scheme}://")


@pytest.mark.parametrize(
    ("subject", "via", "port", "because"),
    [
        (service(clusterIP="None"), "auto", None, "headless.*url:"),
        (service("ExternalName", externalName="db.example"), "auto", None, "only a name for db.example.*url:"),
        (service(), "portForward", None, "port-forward.*one pod.*url:"),
        (service(), "port-forward", None, "port-forward.*one pod.*url:"),
        (service(), "url", None, "needs a url:"),
        (service(), "ingress", None, "unknown"),
        (service(), "loadBalancer", None, "no address for via: loadBalancer.*ClusterIP"),
        (service(), "nodePort", None, "no address for via: nodePort.*ClusterIP"),
        (service("NodePort", {"port": 80, "nodePort": 30080}), "nodePort", None, "no address for via: nodePort"),
        (service("ClusterIP", {"port": 80, "name": "a"}, {"port": 81}), "auto", None, r"several ports.*80 \(a\), 81"),
        (service(), "auto", 8080, "no port 8080.*80"),
        (service("ClusterIP", {"port": 53, "protocol": "UDP"}), "auto", None, "no TCP port"),
    ],
)
def test_what_cannot_work_is_refused_with_the_ways_out(subject: Any, via: str, port: Any, because: str) -> None:
    with pytest.raises(RouteError, match=because):
        candidates(subject, [], via, None, port)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_the_first_route_that_answers_is_chosen() -> None:
    async def scenario() -> None:
        async with serving() as app, serving(lambda n: FIN) as broken:
            routes = [
                Route("loadBalancer", closed_port(), "a"),
                Route("nodePort", broken.url, "b"),
                Route("clusterIP", app.url, "c"),
            ]
            chosen = await choose(routes, "/", 2.0)
            assert (chosen.kind, chosen.base_url) == ("clusterIP", app.url)
            assert chosen.why.startswith("c; answered 200, 200, 200")
            assert len(app.requests) == 3

    asyncio.run(scenario())


def test_a_preferred_route_that_works_wins_over_a_later_one() -> None:
    async def scenario() -> None:
        async with serving() as app, serving() as later:
            chosen = await choose([Route("nodePort", app.url, "a"), Route("clusterIP", later.url, "b")], "/", 2.0)
            assert chosen.base_url == app.url

    asyncio.run(scenario())


def test_a_path_that_is_not_there_is_no_route() -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    async def scenario() -> None:
        async with serving(lambda n: missing) as app:
            with pytest.raises(RouteError, match="answered 404 to GET /typo"):
                await choose([Route("clusterIP", app.url, "")], "/typo", 2.0)

    asyncio.run(scenario())


def test_when_no_route_answers_each_is_named_with_what_happened() -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

    async def scenario() -> str:
        async with serving(lambda n: busy if n == 2 else OK) as app, serving(lambda n: FIN) as broken:
            routes = [
                Route("loadBalancer", closed_port(), ""),
                Route("nodePort", broken.url, ""),
                Route("clusterIP", app.url, ""),
            ]
            with pytest.raises(RouteError) as refusal:
                await choose(routes, "/shop", 2.0)
            return str(refusal.value)

    message = asyncio.run(scenario())
    assert "ConnectError" in message
    assert "RemoteProtocolError" in message
    assert "answered 503 to GET /shop" in message
    assert "Give traffic a path" in message
