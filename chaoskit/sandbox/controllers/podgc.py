"""Pod garbage collector: removes pods that no kubelet will ever remove.

Pods of a node that is gone, pods that were deleted before they got a node, and pods on a node that an operator declared
out of service. Rules: pkg/controller/podgc/gc_controller.go; kubernetes.io, Non-graceful node shutdown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chaoskit.sandbox.controllers.loop import Controller, Key, drive, key_of
from chaoskit.sandbox.controllers.node_taints import ready_status
from chaoskit.sandbox.facts.pods import is_deleting, is_finished
from chaoskit.sandbox.registry import ApiError, Change, Registry, put_condition, thaw
from chaoskit.sandbox.settings import ClusterSettings, Timings

Obj = dict[str, Any]
ACTOR = "pod-garbage-collector"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def target(message: str) -> Obj:
    return {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message}


class PodGarbage:
    """The controller's memory: since when each node that pods name has been missing."""

    def __init__(self, timings: Timings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._period_s = timings.pod_gc_period_s
        self._quarantine_s = timings.pod_gc_quarantine_s
        self._clock_s = clock_s
        self._missing: dict[str, float] = {}

    def reconcile(self, registry: Registry, key: Key) -> float | None:
        """Look at one pod. Returns when to look again at one that may yet have to go."""
        pod = registry.find("pods", *key)
        if pod is None:
            return None
        name = pod["spec"].get("nodeName")
        if not name:
            return self._unbound(registry, pod)
        node = registry.find("nodes", "", name)
        if node is None:
            return self._homeless(registry, pod, name)
        if is_deleting(pod) and _is_out_of_service(node):
            _remove(registry, pod, target("PodGC: node is out-of-service"))
        return None

    def _unbound(self, registry: Registry, pod: Obj) -> float | None:
        if is_deleting(pod):
            _remove(registry, pod, None)
        return None

    def _homeless(self, registry: Registry, pod: Obj, node: str) -> float | None:
        """A node may be registered again: only one that stays away for the quarantine is gone."""
        gone_s = self._clock_s() - self._missing.setdefault(node, self._clock_s())
        if gone_s < self._quarantine_s:
            return min(self._period_s, self._quarantine_s - gone_s + 0.001)
        _remove(registry, pod, target("PodGC: node no longer exists"))
        return None

    def controller(self) -> Controller:
        return Controller("pod-garbage", {"pods": _of_pod, "nodes": self._of_node}, self.reconcile)

    def _of_node(self, registry: Registry, change: Change) -> list[Key]:
        """A node that is there again has never been missing."""
        name = change.obj["metadata"]["name"]
        if change.type != "DELETED":
            self._missing.pop(name, None)
        if change.type != "DELETED" and not _is_out_of_service(change.obj):
            return []
        return [key_of(pod) for pod in registry.list("pods") if pod["spec"].get("nodeName") == name]


def _is_out_of_service(node: Obj) -> bool:
    tainted = any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints") or ())
    return tainted and ready_status(node) != "True"


def _remove(registry: Registry, pod: Obj, condition: Obj | None) -> None:
    """Force the pod out; one that has not ended fails first, so that its controller counts it."""
    namespace, name = key_of(pod)
    try:
        if condition is not None and not is_finished(pod):
            fresh = thaw(pod)
            fresh.setdefault("status", {})["phase"] = "Failed"
            put_condition(fresh, condition)
            registry.update("pods", namespace, name, fresh, actor=ACTOR, subresource="status")
        registry.delete("pods", namespace, name, actor=ACTOR, uid=pod["metadata"]["uid"], grace_s=0)
    except ApiError as error:
        if error.code not in (404, 409):
            raise


def _of_pod(registry: Registry, change: Change) -> list[Key]:
    """A pod without a node it could live on, or one that ends where nothing ends any more."""
    if change.type == "DELETED":
        return []
    name = change.obj["spec"].get("nodeName")
    node = registry.find("nodes", "", name) if name else None
    due = node is None if name else is_deleting(change.obj)
    return [key_of(change.obj)] if due or (node is not None and _is_out_of_service(node)) else []


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(PodGarbage(settings.timings).controller(), registry)
