"""The node as the cluster sees it: registers it, renews its lease, reports its conditions. Runs no pods."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from typing import Any, TypeAlias

from chaoskit.sandbox.client import ApiFailure, Client
from chaoskit.sandbox.node.states import micro_stamp, stamp
from chaoskit.sandbox.settings import ClusterSettings

Obj: TypeAlias = dict[str, Any]
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_ZONES = 3
_CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "20Gi"}
_VERSION = "v1.36.2"
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


def node_object(name: str, index: int) -> Obj:
    """The Node to create: its labels and its empty spec."""
    machine = _architecture()
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": machine,
        "topology.kubernetes.io/zone": f"zone-{(index - 1) % _ZONES + 1}",
        "topology.kubernetes.io/region": "sandbox",
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}}


def node_status(settings: ClusterSettings, name: str, index: int, before: Obj, now: float) -> Obj:
    """The status to report. A condition that did not change keeps its lastTransitionTime."""
    return {
        "capacity": dict(_CAPACITY),
        "allocatable": dict(_CAPACITY),
        "addresses": [
            {"type": "InternalIP", "address": settings.node_address(index)},
            {"type": "Hostname", "address": name},
        ],
        "conditions": _conditions(before.get("conditions") or [], now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": _node_info(settings, name),
        "images": [],
    }


def _conditions(before: list[Obj], now: float) -> list[Obj]:
    old = {each["type"]: each for each in before}
    ours = [
        _condition(old.get(kind, {}), kind, status, reason, message, now)
        for kind, status, reason, message in _CONDITIONS
    ]
    foreign = [each for each in before if each["type"] not in {kind for kind, *_ in _CONDITIONS}]
    return ours + foreign


def _condition(old: Obj, kind: str, status: str, reason: str, message: str, now: float) -> Obj:
    since = old["lastTransitionTime"] if old.get("status") == status else stamp(now)
    times = {"lastHeartbeatTime": stamp(now), "lastTransitionTime": since}
    return {"type": kind, "status": status, "reason": reason, "message": message, **times}


def _node_info(settings: ClusterSettings, name: str) -> Obj:
    return {
        "machineID": settings.id,
        "systemUUID": f"{settings.id}-{name}",
        "bootID": settings.id,
        "kernelVersion": platform.release(),
        "osImage": f"chaoskit sandbox, Python {sys.version.split()[0]}",
        "containerRuntimeVersion": "containerd://2.1.0-chaoskit",
        "kubeletVersion": _VERSION,
        "kubeProxyVersion": _VERSION,
        "operatingSystem": "linux",
        "architecture": _architecture(),
    }


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


class Registration:
    """Keeps one Node registered and alive."""

    def __init__(self, client: Client, settings: ClusterSettings, name: str, index: int) -> None:
        self._client = client
        self._settings = settings
        self._name = name
        self._index = index

    async def register(self) -> None:
        """Create the Node unless it is there, and report it Ready. Asks again until the API server answers."""
        while True:
            try:
                await self._create()
                await self._report()
                await self._renew()
                return
            except ApiFailure as failure:
                if failure.code not in (0, 404, 409, 429, 500, 503):
                    raise
                await asyncio.sleep(0.05)

    async def run(self) -> None:
        """Renew the lease and, when the cluster thinks otherwise, report Ready again; each node-status-update-frequency."""
        loop = asyncio.get_running_loop()
        period = self._settings.timings.node_status_update_frequency_s
        due = loop.time() + period
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + period, loop.time())
            try:
                await self.beat()
            except ApiFailure:
                continue

    async def beat(self, *, look: bool = True) -> None:
        """Renew the lease once and, with a `look`, see whether the cluster thinks otherwise. Raises ApiFailure."""
        await self._renew()
        if look:
            await self._correct()

    async def _create(self) -> None:
        try:
            await self._client.create("/api/v1/nodes", node_object(self._name, self._index))
        except ApiFailure as failure:
            if failure.code != 409:
                raise

    async def _correct(self) -> None:
        node = await self._client.get(f"/api/v1/nodes/{self._name}")
        conditions = {each["type"]: each["status"] for each in node.get("status", {}).get("conditions") or ()}
        if any(conditions.get(kind) != status for kind, status, *_ in _CONDITIONS):
            await self._report(node)

    async def _report(self, node: Obj | None = None) -> None:
        path = f"/api/v1/nodes/{self._name}"
        node = await self._client.get(path) if node is None else node
        status = node_status(self._settings, self._name, self._index, node.get("status") or {}, time.time())
        version = {"resourceVersion": node["metadata"]["resourceVersion"]}
        await self._client.merge(f"{path}/status", {"metadata": version, "status": status})

    async def _renew(self) -> None:
        times = {"renewTime": micro_stamp(time.time())}
        try:
            await self._client.merge(f"{_LEASES}/{self._name}", {"spec": times})
            return
        except ApiFailure as failure:
            if failure.code != 404:
                raise
        spec = {"holderIdentity": self._name, "leaseDurationSeconds": 40, "acquireTime": times["renewTime"], **times}
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name},
            "spec": spec,
        }
        await self._client.create(_LEASES, lease)
