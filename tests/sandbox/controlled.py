"""A registry with its controllers running and nodes that run nothing: a small kubelet of paper answers for them.

Everything is in this process: no sockets, no processes. Facts are waited for with a deadline.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from chaoskit.sandbox import clock
from chaoskit.sandbox.controllers import run_all
from chaoskit.sandbox.registry import ApiError, Obj, Registry, thaw
from chaoskit.sandbox.registry import put_condition as set_condition
from chaoskit.sandbox.settings import ClusterSettings, Timings, fast

T = TypeVar("T")
DEADLINE_S = 10.0
# Paper kubelets renew no lease: nodes must not fall silent in a test that is not about that.
PATIENT = dataclasses.replace(fast(), node_monitor_grace_period_s=600.0)


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


def settings(timings: Timings | None = None, nodes: int = 3, slot: int = 64) -> ClusterSettings:
    names = tuple(f"node-{index}" for index in range(1, nodes + 1))
    here = Path(__file__)
    return ClusterSettings(
        "test", slot, "http://127.0.0.1:1", "token", here, here.parent, timings or PATIENT, "fast", names
    )


async def until(fact: Callable[[], T | bool | None], because: str, deadline_s: float = DEADLINE_S) -> T:
    """Wait until the fact is true; what it returned then."""
    async with asyncio.timeout(deadline_s) as limit:
        while not (found := fact()):
            try:
                await asyncio.sleep(0.002)
            except asyncio.CancelledError:
                if limit.expired():
                    raise AssertionError(f"not seen within {deadline_s} s: {because}") from None
                raise
    return found  # type: ignore[return-value]


def node(name: str, *, cpu: str = "4", pods: str = "110", labels: dict[str, str] | None = None) -> Obj:
    offer = {"cpu": cpu, "memory": "8Gi", "pods": pods}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {},
        "status": {
            "allocatable": offer,
            "capacity": offer,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }


def template(app: str = "web", image: str = "python:3.11-slim", **spec: Any) -> Obj:
    container = {"name": "app", "image": image, "ports": [{"containerPort": 8080, "name": "http"}]}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], **spec}}


def workload(kind: str, name: str = "web", replicas: int = 3, **spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name), **spec},
    }


class World:
    """The registry under test, with shorthands for what tests look at."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._loop = asyncio.get_running_loop()
        self._ending: set[asyncio.Task[None]] = set()
        self.ready = True
        self.graceful_s = 0.01
        self.kubelet_runs = True
        self.down: set[str] = set()
        """Nodes whose kubelet does nothing."""

    def pods(self, app: str = "web", namespace: str = "shop") -> list[Obj]:
        return self.registry.list("pods", namespace, labels=f"app={app}")

    def active(self, app: str = "web") -> list[Obj]:
        return [pod for pod in self.pods(app) if "deletionTimestamp" not in pod["metadata"]]

    def deployment(self, name: str = "web") -> Obj:
        return self.registry.get("deployments", "shop", name)

    def replicasets(self) -> list[Obj]:
        return self.registry.list("replicasets", "shop")

    def apply(self, resource: str, obj: Obj) -> Obj:
        return self.registry.create(resource, "shop", obj, actor="test")

    def patch(self, resource: str, name: str, body: Any, **more: Any) -> Obj:
        return self.registry.patch(resource, "shop", name, body, style="merge", actor="test", **more)

    def tend(self, pod: Obj) -> None:
        """What the pod's kubelet does about it now. Images that begin with `broken` never become ready."""
        node = pod["spec"].get("nodeName")
        if not node or not self.kubelet_runs or node in self.down:
            return
        if "deletionTimestamp" in pod["metadata"]:
            task = self._loop.create_task(_end(self, pod))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        elif not pod.get("status", {}).get("podIP") and pod["status"]["phase"] == "Pending":
            broken = pod["spec"]["containers"][0]["image"].startswith("broken")
            start_pod(self.registry, pod, ready=self.ready and not broken)

    def events(self, reason: str) -> list[str]:
        return [event["message"] for event in self.registry.list("events") if event["reason"] == reason]

    def is_settled(self, name: str = "web") -> bool:
        deployment = self.deployment(name)
        wanted, status = deployment["spec"]["replicas"], deployment.get("status", {})
        numbers = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")]
        seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
        return seen and numbers == [wanted] * 3

    async def settled(self, name: str = "web") -> Obj:
        await until(lambda: self.is_settled(name), f"deployment {name} settles: {self.deployment(name).get('status')}")
        return self.deployment(name)


@asynccontextmanager
async def world(nodes: int = 3, timings: Timings | None = None) -> AsyncIterator[World]:
    """Controllers, scheduler and paper kubelets over a fresh registry with a namespace `shop`."""
    configured = settings(timings, nodes)
    registry = Registry(configured)
    for name in ("default", "kube-node-lease", "shop"):
        registry.create("namespaces", "", {"metadata": {"name": name}}, actor="test")
    for name in configured.nodes:
        body = node(name)
        registry.create("nodes", "", body, actor="test")
        registry.update("nodes", "", name, body, actor="test", subresource="status")
    here = World(registry)
    tasks = [asyncio.create_task(run_all(registry, configured)), asyncio.create_task(_kubelet(here))]
    try:
        yield here
    finally:
        tasks += here._ending
        for task in tasks:
            task.cancel()
        failures = [
            each for each in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(each, Exception)
        ]
        assert not failures, failures


async def _kubelet(here: World) -> None:
    """Start what is bound, end what is deleted; as far as the API shows it."""
    subscription = here.registry.subscribe("pods")
    async for change in subscription:
        pod = here.registry.find("pods", *change.key)
        if pod is not None:
            here.tend(pod)


async def _end(here: World, pod: Obj) -> None:
    await asyncio.sleep(here.graceful_s)
    metadata = pod["metadata"]
    try:
        here.registry.delete(
            "pods", metadata["namespace"], metadata["name"], actor="kubelet", uid=metadata["uid"], grace_s=0
        )
    except ApiError:
        return


def start_pod(registry: Registry, pod: Obj, *, ready: bool = True) -> Obj:
    """Report a bound pod as running, with an address of its own."""
    fresh = thaw(pod)
    status = fresh.setdefault("status", {})
    number = int(pod["metadata"]["resourceVersion"]) % 60_000
    status |= {"phase": "Running", "podIP": f"10.1.{number // 250}.{number % 250 + 1}"}
    metadata = pod["metadata"]
    started = registry.update(
        "pods", metadata["namespace"], metadata["name"], fresh, actor="kubelet", subresource="status"
    )
    return set_ready(registry, started, ready)


def set_ready(registry: Registry, pod: Obj, ready: bool) -> Obj:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return registry.set_condition(
        "pods", pod["metadata"]["namespace"], pod["metadata"]["name"], condition, actor="kubelet"
    )


def stateful(name: str = "db", replicas: int = 3, **spec: Any) -> Obj:
    return workload("StatefulSet", name, replicas, serviceName=name, **spec)


def daemons(name: str = "agent", **spec: Any) -> Obj:
    body = workload("DaemonSet", name, **spec)
    del body["spec"]["replicas"]
    return body


def job(name: str = "work", *, restart: str = "Never", **spec: Any) -> Obj:
    pods = template(name, restartPolicy=restart)
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": pods, **spec}}


def end_pod(registry: Registry, pod: Obj, code: int = 0) -> Obj:
    """Report a pod's only container, and so the pod, as ended."""
    metadata = pod["metadata"]
    fresh = thaw(registry.get("pods", metadata["namespace"], metadata["name"]))
    moment = clock.stamp()
    reason = "Completed" if code == 0 else "Error"
    ended = {"exitCode": code, "reason": reason, "startedAt": moment, "finishedAt": moment}
    told = {"name": "app", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
    fresh["status"] |= {
        "phase": "Failed" if code else "Succeeded",
        "containerStatuses": [told | {"state": {"terminated": ended}}],
    }
    set_condition(fresh, {"type": "Ready", "status": "False", "reason": "PodFailed" if code else "PodCompleted"})
    return registry.update(
        "pods", metadata["namespace"], metadata["name"], fresh, actor="kubelet", subresource="status"
    )
