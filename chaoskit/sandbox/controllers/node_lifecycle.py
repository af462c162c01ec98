"""Node lifecycle controller: notices that a node fell silent, says so, and taints nodes by their conditions and cordon.

A node is silent when neither its lease nor its Ready condition was renewed for the grace period, measured on our own
clock from the moment a renewal was seen. Its pods are then marked not ready at once; evicting them is taint_eviction's part.
Rules: pkg/controller/nodelifecycle/node_lifecycle_controller.go; order and texts as recorded on a real cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chaoskit.sandbox.controllers.loop import Controller, Key, drive, itself
from chaoskit.sandbox.controllers.node_taints import may_evict, ready_status, wanted_taints, with_taints
from chaoskit.sandbox.events import record
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.conditions import conditions_of, find_condition
from chaoskit.sandbox.facts.pods import is_ready
from chaoskit.sandbox.registry import ApiError, Change, Registry, thaw
from chaoskit.sandbox.settings import ClusterSettings, Timings

Obj = dict[str, Any]
ACTOR = "node-controller"
LEASE_NAMESPACE = "kube-node-lease"
_REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


class Heartbeats:
    """When each node was last seen to renew something, on our own monotonic clock."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._seen: dict[str, tuple[object, float]] = {}

    def silent_s(self, name: str, sign: object) -> float:
        """Seconds since the node's sign of life last changed; 0.0 at the first look."""
        now_s = self._clock_s()
        before = self._seen.get(name)
        if before is None or before[0] != sign:
            self._seen[name] = (sign, now_s)
            return 0.0
        return now_s - before[1]

    def forget(self, name: str) -> None:
        self._seen.pop(name, None)


def silenced(node: Obj, now_s: float) -> list[Obj]:
    """The conditions of a node that stopped reporting: all that kubelets report turn Unknown. Pure."""
    conditions = conditions_of(node)
    for kind in _REPORTED:
        old = find_condition(conditions, kind)
        never = old is None
        new: Obj = {} if old is None else dict(old)
        if new.get("status") != "Unknown":
            new["lastTransitionTime"] = clock.render_time(now_s)
        new |= {
            "type": kind,
            "status": "Unknown",
            "reason": "NodeStatusNeverUpdated" if never else "NodeStatusUnknown",
            "message": "Kubelet never posted node status." if never else "Kubelet stopped posting node status.",
        }
        conditions = [new if each is old else each for each in conditions] if old is not None else [*conditions, new]
    return conditions


class NodeLifecycle:
    """The controller's memory (heartbeats) and its timings; `reconcile` settles one node."""

    def __init__(self, timings: Timings, heartbeats: Heartbeats | None = None) -> None:
        self._grace_s = timings.node_monitor_grace_period_s
        self._period_s = timings.node_monitor_period_s
        self._heartbeats = Heartbeats() if heartbeats is None else heartbeats

    def reconcile(self, registry: Registry, key: Key) -> float | None:
        """Look at one node; due again after the monitor period, as upstream's monitor loop."""
        node = registry.find("nodes", *key)
        if node is None:
            self._heartbeats.forget(key[1])
            return None
        if self._heartbeats.silent_s(key[1], _sign_of_life(registry, node)) >= self._grace_s:
            node = _silence(registry, node)
        # Upstream's order: the pods turn not ready, then come the taints.
        if ready_status(node) != "True":
            _mark_pods(registry, node)
        _taint(registry, node)
        return self._period_s

    def controller(self) -> Controller:
        return Controller("node-lifecycle", {"nodes": itself, "leases": _of_lease}, self.reconcile)


def _sign_of_life(registry: Registry, node: Obj) -> object:
    lease = registry.find("leases", LEASE_NAMESPACE, node["metadata"]["name"])
    renewed = None if lease is None else lease["spec"].get("renewTime")
    ready = find_condition(conditions_of(node), "Ready") or {}
    return renewed, ready.get("lastHeartbeatTime")


def _silence(registry: Registry, node: Obj) -> Obj:
    fresh = thaw(node)
    fresh.setdefault("status", {})["conditions"] = silenced(node, clock.now())
    if fresh["status"]["conditions"] == conditions_of(node):
        return node
    name = node["metadata"]["name"]
    changed = registry.update("nodes", "", name, fresh, actor=ACTOR, subresource="status")
    if ready_status(node) == "True":
        record(registry, changed, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady", ACTOR)
    return changed


def _mark_pods(registry: Registry, node: Obj) -> None:
    """Ready=False, without reason or message and leaving ContainersReady as it is: so it was recorded."""
    for pod in _pods_on(registry, node["metadata"]["name"]):
        if not is_ready(pod):
            continue
        metadata = pod["metadata"]
        try:
            marked = registry.set_condition(
                "pods", metadata["namespace"], metadata["name"], {"type": "Ready", "status": "False"}, actor=ACTOR
            )
        except ApiError as error:
            if error.code == 404:
                continue
            raise
        record(registry, marked, "Warning", "NodeNotReady", "Node is not ready", ACTOR)


def _taint(registry: Registry, node: Obj) -> None:
    evict = may_evict(node, registry.list("nodes"))
    taints = node["spec"].get("taints") or []
    wanted = with_taints(taints, wanted_taints(node, evict=evict), clock.now())
    if wanted == taints:
        return
    fresh = thaw(node)
    fresh["spec"]["taints"] = wanted
    registry.update("nodes", "", node["metadata"]["name"], fresh, actor=ACTOR)


def _pods_on(registry: Registry, name: str) -> list[Obj]:
    return [pod for pod in registry.list("pods") if pod["spec"].get("nodeName") == name]


def _of_lease(_registry: Registry, change: Change) -> list[Key]:
    """A lease of a node that is well changes nothing but its heartbeat."""
    metadata = change.obj["metadata"]
    return [("", metadata["name"])] if metadata["namespace"] == LEASE_NAMESPACE else []


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(NodeLifecycle(settings.timings).controller(), registry)
