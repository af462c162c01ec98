"""The nodes' power and cables, through the sandbox's own paths, on real sandboxes: what a cluster shows, and what pods go on doing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from chaoskit.sandbox import outages
from chaoskit.sandbox.cluster import SandboxInfo, sandbox
from tests.behaviour.access import Access, eventually

Obj = dict[str, Any]
SERVE = "import http.server, os; http.server.test(http.server.SimpleHTTPRequestHandler, port=8080, bind=os.environ['POD_IP'])"
PODS = "/api/v1/namespaces/default/pods"


@dataclass(frozen=True, slots=True)
class Lab:
    """A sandbox with an HTTP client of its administrator."""

    info: SandboxInfo
    http: httpx.Client

    def get(self, path: str) -> Obj:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def order(self, node: str, verb: str) -> Obj:
        answer = self.http.post(f"/sandbox/v1/nodes/{node}/{verb}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def serve_on(self, node: str, name: str = "web") -> Obj:
        """A ready pod on that node that answers HTTP, behind a Service of its name."""
        probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
        env = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
        container = {"name": "app", "image": "python:3.11-slim", "command": ["python3", "-c", SERVE], "env": env}
        stays = [{"operator": "Exists", "effect": "NoExecute"}]
        spec = {
            "nodeName": node,
            "terminationGracePeriodSeconds": 2,
            "tolerations": stays,
            "containers": [container | {"readinessProbe": probe}],
        }
        metadata = {"name": name, "labels": {"app": name}}
        assert self.http.post(PODS, json={"metadata": metadata, "spec": spec}).status_code == 201
        service = {"selector": {"app": name}, "ports": [{"port": 8080}]}
        made = self.http.post("/api/v1/namespaces/default/services", json={"metadata": {"name": name}, "spec": service})
        assert made.status_code == 201, made.text
        return self.ready(name)

    def ready(self, name: str = "web", holds: Callable[[Obj], bool] = lambda _pod: True) -> Obj:
        return eventually(
            lambda: ((pod := self.get(f"{PODS}/{name}")) and is_true(pod) and holds(pod) and pod) or None, 25
        )

    def node_ready(self, name: str) -> str:
        return str(condition(self.get(f"/api/v1/nodes/{name}"), "Ready").get("status"))


def condition(obj: Obj, kind: str) -> Obj:
    return next((each for each in obj.get("status", {}).get("conditions") or () if each["type"] == kind), {})


def is_true(obj: Obj) -> bool:
    return condition(obj, "Ready").get("status") == "True"


def answers(host: str, port: int = 8080) -> bool:
    try:
        with socket.create_connection((host, port), 2) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(4) == b"HTTP"
    except OSError:
        return False


@asynccontextmanager
async def lab(nodes: int = 2, *, simulated: bool = False) -> AsyncIterator[Lab]:
    async with sandbox(nodes, simulated=simulated) as info:
        with Access(info.kubeconfig, info.context).http() as http:
            yield Lab(info, http)


def test_a_power_cut_takes_the_pods_at_once_and_a_boot_brings_them_back_with_another_address() -> None:
    async def scenario() -> None:
        async with lab() as here:
            before = await asyncio.to_thread(here.serve_on, "node-2")
            address = before["status"]["podIP"]
            assert answers(address)
            assert here.order("node-2", "kill")["powered"] is False
            assert not answers(address)
            assert is_true(here.get(f"{PODS}/web"))  # nobody has noticed yet
            eventually(lambda: here.node_ready("node-2") == "Unknown", 15)
            eventually(lambda: not is_true(here.get(f"{PODS}/web")), 5)
            dark = here.get(f"{PODS}/web")
            assert condition(dark, "Ready").get("reason") is None and dark["status"]["podIP"] == address
            assert here.order("node-2", "kill")["powered"] is False  # twice is as good as once
            assert here.order("node-2", "start")["boots"] == 2
            after = here.ready(holds=lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
            lost = after["status"]["containerStatuses"][0]["lastState"]["terminated"]
            assert after["metadata"]["uid"] == before["metadata"]["uid"] and after["status"]["podIP"] != address
            assert (lost["exitCode"], lost["reason"]) == (255, "Unknown")
            events = here.get("/api/v1/namespaces/default/events")["items"]
            assert "SandboxChanged" in [event["reason"] for event in events]
            eventually(lambda: here.node_ready("node-2") == "True", 5)

    asyncio.run(scenario())


def test_a_frozen_node_goes_on_serving_but_obeys_nobody_until_the_thaw() -> None:
    async def scenario() -> None:
        async with lab() as here:
            address = (await asyncio.to_thread(here.serve_on, "node-2"))["status"]["podIP"]
            assert here.order("node-2", "freeze")["frozen"] is True
            assert here.http.request("DELETE", f"{PODS}/web").status_code == 200
            eventually(lambda: here.node_ready("node-2") == "Unknown", 15)
            assert "deletionTimestamp" in here.get(f"{PODS}/web")["metadata"] and answers(address)
            assert here.order("node-2", "thaw")["frozen"] is False
            eventually(lambda: here.http.get(f"{PODS}/web").status_code == 404, 15)
            eventually(lambda: here.node_ready("node-2") == "True", 5)
            assert not answers(address)

    asyncio.run(scenario())


def test_a_disconnected_node_is_reached_by_nobody_and_its_pods_live_on() -> None:
    async def scenario() -> None:
        async with lab() as here:
            pod = await asyncio.to_thread(here.serve_on, "node-2")
            service = here.get("/api/v1/namespaces/default/services/web")["spec"]["clusterIP"]
            eventually(lambda: answers(service), 5)
            assert here.order("node-2", "disconnect")["connected"] is False
            assert not answers(service)
            assert here.http.get(f"{PODS}/web:8080/proxy/").status_code == 503
            assert here.http.get(f"{PODS}/web/log").status_code == 500
            eventually(lambda: here.node_ready("node-2") == "Unknown", 15)
            assert here.order("node-2", "reconnect")["connected"] is True
            back = here.ready()
            assert back["status"]["containerStatuses"][0]["restartCount"] == 0
            assert back["status"]["podIP"] == pod["status"]["podIP"]
            eventually(lambda: answers(service), 5)

    asyncio.run(scenario())


def test_nodes_come_and_go_while_the_cluster_runs() -> None:
    async def scenario() -> None:
        async with lab(1) as here:
            made = here.http.post("/sandbox/v1/nodes")
            assert made.status_code == 201 and made.json()["name"] == "node-2"
            eventually(
                lambda: here.http.get("/api/v1/nodes/node-2").status_code == 200 and here.node_ready("node-2") == "True"
            )
            address = (await asyncio.to_thread(here.serve_on, "node-2"))["status"]["podIP"]
            assert here.http.delete("/sandbox/v1/nodes/node-2").status_code == 200
            assert here.http.get("/api/v1/nodes/node-2").status_code == 404 and not answers(address)
            assert here.http.post("/sandbox/v1/nodes").json()["name"] == "node-3"  # a number is never used twice
            assert [node["name"] for node in here.get("/sandbox/v1/nodes")["nodes"]] == ["node-1", "node-3"]

    asyncio.run(scenario())


def test_the_switches_are_for_the_administrator_and_say_what_is_wrong() -> None:
    async def scenario() -> None:
        async with lab(1) as here:
            for token, code in (("wrong", 401), ("", 403)):
                headers = {"Authorization": f"Bearer {token}"} if token else {"Authorization": ""}
                assert here.http.post("/sandbox/v1/nodes/node-1/kill", headers=headers).status_code == code
            assert here.http.post("/sandbox/v1/nodes/node-9/kill").status_code == 404
            assert here.http.post("/sandbox/v1/nodes/node-1/explode").status_code == 405
            here.order("node-1", "kill")
            refused = here.http.post("/sandbox/v1/nodes/node-1/freeze").json()
            assert refused["code"] == 409 and "start it before" in refused["message"]
            here.http.get("/apis/autoscaling/v2/horizontalpodautoscalers")
            told = here.get("/sandbox/v1/status")
            assert told["profile"] == "fast" and told["simulatedPods"] is False and told["crashes"] == {}
            assert any("horizontalpodautoscalers" in what for what in told["unsupported"])

    asyncio.run(scenario())


def test_a_simulated_cluster_loses_and_regains_a_node_without_running_a_process() -> None:
    async def scenario() -> None:
        async with lab(5, simulated=True) as here:
            labels = {"app": "web"}
            template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "python:3.11"}]}}
            spec = {"replicas": 10, "selector": {"matchLabels": labels}, "template": template}
            path = "/apis/apps/v1/namespaces/default/deployments"
            assert here.http.post(path, json={"metadata": {"name": "web"}, "spec": spec}).status_code == 201
            eventually(lambda: here.get(f"{path}/web").get("status", {}).get("readyReplicas") == 10)
            on_two = [pod for pod in here.get(PODS)["items"] if pod["spec"]["nodeName"] == "node-2"]
            here.order("node-2", "kill")
            eventually(lambda: here.node_ready("node-2") == "Unknown", 15)
            here.order("node-2", "start")
            name = on_two[0]["metadata"]["name"]
            pod = here.ready(name, lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
            assert pod["status"]["podIP"] != on_two[0]["status"]["podIP"]
            here.http.request("DELETE", f"{PODS}/{name}")
            eventually(lambda: here.http.get(f"{PODS}/{name}").status_code == 404)
            eventually(lambda: here.get(f"{path}/web")["status"].get("readyReplicas") == 10)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("host", "cut"), [("127.64.0.2", True), ("127.64.2.9", True), ("127.64.3.2", False), ("10.0.0.1", False)]
)
def test_an_address_tells_whose_cable_was_pulled(tmp_path: Any, host: str, cut: bool) -> None:
    outages.mark(tmp_path, "node-2", outages.Outage.CUT)
    assert outages.is_cut(tmp_path, host) is outages.is_down(tmp_path, host) is cut
    outages.clear(tmp_path, "node-2", outages.Outage.CUT)
    outages.mark(tmp_path, "node-2", outages.Outage.OFF)
    assert outages.is_down(tmp_path, host) is cut and not outages.is_cut(tmp_path, host)
