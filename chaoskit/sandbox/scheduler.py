"""The scheduler: gives each waiting pod the best node that fits, or says why none does.

It runs in the API server's loop and binds through the registry. What fits and what is best is decided in placement/; this
module keeps the book, the back-off and the events. A pod that fits nowhere waits for a change of nodes or pods that might
help; there is no preemption. Rules: kubernetes.io, Kubernetes Scheduler; pkg/scheduler/schedule_one.go, backend/queue.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaoskit.sandbox.controllers.loop import Controller, Key, drive, key_of
from chaoskit.sandbox.events import record
from chaoskit.sandbox.facts.pods import claims_of, is_deleting, is_finished
from chaoskit.sandbox.placement.filters import explain, objection, wishes_of
from chaoskit.sandbox.placement.ledger import Ledger
from chaoskit.sandbox.placement.scores import best
from chaoskit.sandbox.registry import ApiError, Change, Registry
from chaoskit.sandbox.settings import ClusterSettings, Timings

Obj = dict[str, Any]
ACTOR = "default-scheduler"


@dataclass(frozen=True, slots=True)
class Attempt:
    """How often a pod has found no node, and when it may try again (on our monotonic clock)."""

    count: int
    not_before_s: float


def backoff_s(attempts: int, first_s: float, last_s: float) -> float:
    """Doubling from the first to the last (podInitialBackoffSeconds, podMaxBackoffSeconds)."""
    return float(min(last_s, first_s * 2 ** max(0, attempts - 1)))


class Scheduler:
    """The book of nodes, the pods that found no place, and the rule for trying again."""

    def __init__(
        self, timings: Timings, rng: random.Random | None = None, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._timings = timings
        self._rng = random.Random() if rng is None else rng
        self._clock_s = clock_s
        self._ledger = Ledger()
        self._waiting: dict[Key, Attempt] = {}

    def controller(self) -> Controller:
        triggers = {"nodes": self.on_node, "pods": self.on_pod, "persistentvolumeclaims": self.on_claim}
        return Controller("scheduler", triggers, self.reconcile)

    def on_node(self, _registry: Registry, change: Change) -> list[Key]:
        """Book a node change; waiting pods try again when it might help them."""
        if change.type == "DELETED":
            self._ledger.forget_node(change.obj["metadata"]["name"])
            return []
        self._ledger.note_node(change.obj)
        helps = change.old is None or _offer(change.old) != _offer(change.obj)
        return list(self._waiting) if helps else []

    def on_pod(self, _registry: Registry, change: Change) -> list[Key]:
        """Book a pod change: a new pod wants a node, and one that goes (or comes) may help those that wait."""
        pod, key = change.obj, key_of(change.obj)
        if change.type == "DELETED" or is_finished(pod):
            self._waiting.pop(key, None)
            self._ledger.forget_pod(pod)
            return list(self._waiting)
        if pod["spec"].get("nodeName"):
            self._waiting.pop(key, None)
            self._ledger.note_pod(pod)
            return list(self._waiting) if _moved(change) else []
        return [key] if change.old is None or change.old["spec"] != pod["spec"] or key not in self._waiting else []

    def on_claim(self, _registry: Registry, change: Change) -> list[Key]:
        """A claim that was missing may be what a waiting pod wants."""
        return list(self._waiting) if change.type == "ADDED" else []

    def reconcile(self, registry: Registry, key: Key) -> float | None:
        """Place one pod; while it backs off, the seconds until it may try again."""
        pod = registry.find("pods", *key)
        if pod is None or not _is_ours(pod):
            self._waiting.pop(key, None)
            return None
        attempt = self._waiting.get(key)
        if attempt is not None and attempt.not_before_s > self._clock_s():
            return attempt.not_before_s - self._clock_s()
        rooms = self._ledger.rooms()
        missing = _missing_claim(registry, pod)
        if missing is not None:
            why = f'0/{len(rooms)} nodes are available: persistentvolumeclaim "{missing}" not found. not found'
            self._postpone(registry, key, pod, why)
            return None
        wishes = wishes_of(pod, rooms)
        objections = [(room, objection(wishes, room)) for room in rooms]
        fitting = [room for room, found in objections if found is None]
        if not fitting:
            self._postpone(registry, key, pod, explain([found for _, found in objections if found is not None]))
            return None
        self._bind(registry, pod, best(pod, fitting, rooms, self._rng).name)
        self._waiting.pop(key, None)
        return None

    def _bind(self, registry: Registry, pod: Obj, node: str) -> None:
        namespace, name = key_of(pod)
        try:
            bound = registry.bind(namespace, name, node, actor=ACTOR)
        except ApiError as error:
            if error.code in (404, 409):
                return
            raise
        # Booked now and not when the change arrives, or the next pod would find the room still free.
        self._ledger.note_pod(bound)
        record(registry, bound, "Normal", "Scheduled", f"Successfully assigned {namespace}/{name} to {node}", ACTOR)

    def _postpone(self, registry: Registry, key: Key, pod: Obj, why: str) -> None:
        before = self._waiting.get(key)
        count = 1 if before is None else before.count + 1
        pause_s = backoff_s(count, self._timings.pod_initial_backoff_s, self._timings.pod_max_backoff_s)
        self._waiting[key] = Attempt(count, self._clock_s() + pause_s)
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        registry.set_condition("pods", key[0], key[1], condition, actor=ACTOR)
        record(registry, pod, "Warning", "FailedScheduling", why, ACTOR)


def _is_ours(pod: Obj) -> bool:
    """Waiting, alive, meant for this scheduler, and not held back by a scheduling gate."""
    spec = pod["spec"]
    held = spec.get("nodeName") or spec.get("schedulingGates") or is_deleting(pod) or is_finished(pod)
    return not held and spec.get("schedulerName", ACTOR) == ACTOR


def _missing_claim(registry: Registry, pod: Obj) -> str | None:
    """The first claim the pod mounts that does not exist, or is about to go."""
    for name in claims_of(pod):
        claim = registry.find("persistentvolumeclaims", pod["metadata"]["namespace"], name)
        if claim is None or is_deleting(claim):
            return name
    return None


def _offer(node: Obj) -> tuple[Any, ...]:
    """What of a node decides whether pods fit."""
    spec = node["spec"]
    return (
        spec.get("unschedulable"),
        spec.get("taints"),
        node["metadata"].get("labels"),
        node.get("status", {}).get("allocatable"),
    )


def _moved(change: Change) -> bool:
    """Did a bound pod appear on a node, or change what affinity and spreading look at?"""
    if change.old is None:
        return True
    old, new = change.old, change.obj
    if is_deleting(old) != is_deleting(new) or old["spec"].get("nodeName") != new["spec"].get("nodeName"):
        return True
    return bool(old["metadata"].get("labels") != new["metadata"].get("labels"))


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(Scheduler(settings.timings).controller(), registry)
