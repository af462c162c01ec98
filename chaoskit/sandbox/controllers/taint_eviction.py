"""Taint eviction: deletes pods from nodes with NoExecute taints, once their toleration has run out.

A pod that tolerates for ever stays; a taint that goes cancels the eviction. The time counts from the moment the taint was
first seen on the pod's node. Rules: pkg/controller/tainteviction/taint_eviction.go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chaoskit.sandbox.controllers.loop import Controller, Key, drive, key_of
from chaoskit.sandbox.events import record
from chaoskit.sandbox.facts.pods import is_deleting, is_finished
from chaoskit.sandbox.placement.taints import stay_s, taints_of
from chaoskit.sandbox.registry import ApiError, Change, Registry
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "taint-eviction-controller"
TARGETED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "DeletionByTaintManager",
    "message": "Taint manager: deleting due to NoExecute taint",
}


class TaintEviction:
    """The controller's memory: since when each pod, by uid, has been under a taint it tolerates for a while."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._since: dict[Key, tuple[str, float]] = {}

    def reconcile(self, registry: Registry, key: Key) -> float | None:
        """Evict one pod if its time is up; else the seconds that are left to it."""
        pod = registry.find("pods", *key)
        node = None if pod is None else registry.find("nodes", "", pod["spec"].get("nodeName", ""))
        if pod is None or node is None or is_deleting(pod) or is_finished(pod):
            self._since.pop(key, None)
            return None
        taints = taints_of(node, "NoExecute")
        limit_s = stay_s(pod, taints) if taints else None
        if limit_s is None:
            self._cancel(registry, key, pod)
            return None
        uid, since_s = self._since.setdefault(key, (pod["metadata"]["uid"], self._clock_s()))
        if uid != pod["metadata"]["uid"]:
            uid, since_s = self._since[key] = (pod["metadata"]["uid"], self._clock_s())
        left_s = since_s + limit_s - self._clock_s()
        if left_s > 0:
            return left_s
        self._since.pop(key, None)
        _evict(registry, pod)
        return None

    def controller(self) -> Controller:
        return Controller("taint-eviction", {"pods": _of_pod, "nodes": _of_node}, self.reconcile)

    def _cancel(self, registry: Registry, key: Key, pod: Obj) -> None:
        if self._since.pop(key, None) is not None:
            text = f"Cancelling deletion of Pod {'/'.join(key)}"
            record(registry, pod, "Normal", "TaintManagerEviction", text, ACTOR)


def _evict(registry: Registry, pod: Obj) -> None:
    namespace, name, uid = (pod["metadata"][field] for field in ("namespace", "name", "uid"))
    text = f"Marking for deletion Pod {namespace}/{name}"
    record(registry, pod, "Normal", "TaintManagerEviction", text, ACTOR)
    try:
        registry.set_condition("pods", namespace, name, TARGETED, actor=ACTOR)
        registry.delete("pods", namespace, name, actor=ACTOR, uid=uid)
    except ApiError as error:
        if error.code not in (404, 409):
            raise


def _of_pod(_registry: Registry, change: Change) -> list[Key]:
    """Only what decides: the node it is on, its tolerations, its end."""
    if change.old is not None and change.type == "MODIFIED" and _deciding(change.old) == _deciding(change.obj):
        return []
    return [key_of(change.obj)] if change.obj["spec"].get("nodeName") else []


def _deciding(pod: Obj) -> tuple[Any, ...]:
    return pod["spec"].get("nodeName"), pod["spec"].get("tolerations"), is_deleting(pod), is_finished(pod)


def _of_node(registry: Registry, change: Change) -> list[Key]:
    before = [] if change.old is None or change.type == "DELETED" else taints_of(change.old, "NoExecute")
    if before == taints_of(change.obj, "NoExecute") and change.type != "DELETED":
        return []
    name = change.obj["metadata"]["name"]
    return [key_of(pod) for pod in registry.list("pods") if pod["spec"].get("nodeName") == name]


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(TaintEviction().controller(), registry)
