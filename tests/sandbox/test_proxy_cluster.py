"""Services of a running sandbox, from the manifest to the connection: real pods behind the real proxy process."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.behaviour.access import Access, eventually
from tests.behaviour.manifests import ADDRESS, deployment, service
from tests.conftest import CONTEXT_OPTION

NAME = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
# Says its name on each connection. After SIGTERM it goes on as long as it is told to.
NAMED = """
import os, signal, socket, sys, threading, time
def leave(*_):
    threading.Timer(float(os.environ["LINGER_S"]), lambda: os._exit(0)).start()
signal.signal(signal.SIGTERM, leave)
server = socket.create_server((os.environ["POD_IP"], 8080), backlog=128)
while True:
    connection, _ = server.accept()
    connection.sendall(os.environ["POD_NAME"].encode())
    connection.close()
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A Deployment `web` with a Service in front of it, and plain HTTPS to look at both."""

    api: httpx.Client
    namespace: str
    host: str
    port: int

    def get(self, path: str) -> Any:
        return self.api.get(path).raise_for_status().json()

    def pods(self) -> list[str]:
        items = self.get(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=app=web")["items"]
        return [pod["metadata"]["name"] for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def ready(self) -> int:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/web"
        return int(self.get(path).get("status", {}).get("availableReplicas", 0))

    def scale(self, replicas: int) -> None:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/web"
        headers = {"Content-Type": "application/merge-patch+json"}
        self.api.patch(path, json={"spec": {"replicas": replicas}}, headers=headers).raise_for_status()

    def ask(self, host: str = "", port: int = 0) -> str:
        """The name of the pod that answers, or how the connection failed."""
        try:
            with socket.create_connection((host or self.host, port or self.port), timeout=5) as connection:
                return connection.recv(100).decode() or "nothing"
        except ConnectionRefusedError:
            return "refused"
        except ConnectionResetError:
            return "reset"


@pytest.fixture
def shop(kubeconfig: Access, namespace: str, request: pytest.FixtureRequest) -> Iterator[Shop]:
    if request.config.getoption(CONTEXT_OPTION) is not None:
        pytest.skip("cluster addresses of a named cluster cannot be reached from here")
    with kubeconfig.http() as api, _shop(api, namespace, linger_s=0.0) as made:
        yield made


@contextmanager
def _shop(api: httpx.Client, namespace: str, linger_s: float) -> Iterator[Shop]:
    body = deployment("web", replicas=3, script=NAMED)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [ADDRESS, NAME, {"name": "LINGER_S", "value": str(linger_s)}]
    container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    api.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", json=body).raise_for_status()
    made = api.post(f"/api/v1/namespaces/{namespace}/services", json=service("web", type="NodePort"))
    found = Shop(api, namespace, made.raise_for_status().json()["spec"]["clusterIP"], 8000)
    eventually(lambda: found.ready() == 3, what="three pods are available")
    eventually(lambda: found.ask() in found.pods(), what="the service answers")
    yield found


def test_new_connections_reach_every_pod_by_cluster_address_and_by_node_port(shop: Shop) -> None:
    eventually(lambda: {shop.ask() for _ in range(30)} == set(shop.pods()), what="all three answer")
    node_port = shop.get(f"/api/v1/namespaces/{shop.namespace}/services/web")["spec"]["ports"][0]["nodePort"]
    nodes = shop.get("/api/v1/nodes")["items"]
    addresses = [
        each["address"] for node in nodes for each in node["status"]["addresses"] if each["type"] == "InternalIP"
    ]
    assert len(addresses) == 3
    for address in addresses:
        assert {shop.ask(address, node_port) for _ in range(30)} == set(shop.pods())


def test_a_killed_pod_is_replaced_and_leaves_the_service(shop: Shop) -> None:
    victim, *others = shop.pods()
    shop.api.delete(f"/api/v1/namespaces/{shop.namespace}/pods/{victim}").raise_for_status()
    eventually(lambda: shop.ready() == 3 and victim not in shop.pods(), what="three are available again")
    (replacement,) = set(shop.pods()) - set(others)
    eventually(lambda: shop.ask() == replacement, what="the replacement answers")
    answers = Counter(shop.ask() for _ in range(60))
    assert set(answers) == {replacement, *others}


def test_without_pods_connections_are_refused_until_there_are_some_again(shop: Shop) -> None:
    shop.scale(0)
    eventually(lambda: shop.ask() == "refused", what="the service refuses")
    assert Counter(shop.ask() for _ in range(20)) == {"refused": 20}
    shop.scale(2)
    eventually(lambda: shop.ready() == 2 and shop.ask() in shop.pods(), what="the service answers again")


def test_pods_that_serve_while_they_terminate_are_used_when_no_other_is_left(
    kubeconfig: Access, namespace: str, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption(CONTEXT_OPTION) is not None:
        pytest.skip("cluster addresses of a named cluster cannot be reached from here")
    with kubeconfig.http() as api, _shop(api, namespace, linger_s=1.0) as shop:
        shop.scale(0)
        began = time.monotonic()
        eventually(lambda: not shop.pods(), what="all are terminating")
        while time.monotonic() - began < 0.7:
            assert shop.ask().startswith("web-")
        eventually(lambda: shop.ask() == "refused", what="refused once they are gone")
