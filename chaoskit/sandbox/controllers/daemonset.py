"""DaemonSet controller: one pod on every node that wants one.

Applies what daemons.py decides and history.py keeps. Rules: pkg/controller/daemon/daemon_controller.go; orders as
recorded on a real cluster. A daemon that failed is replaced with a growing delay, kept per node.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chaoskit.sandbox.controllers import history
from chaoskit.sandbox.controllers.daemons import (
    HASH_LABEL,
    Changes,
    Daemons,
    daemon,
    home_of,
    next_look_in,
    placing,
    status_of,
    updating,
    why_deleted,
)
from chaoskit.sandbox.controllers.loop import Controller, Key, RetryLater, drive, itself, key_of
from chaoskit.sandbox.controllers.ownership import claim, concerned_owners
from chaoskit.sandbox.controllers.podwork import create_pod, delete_pod
from chaoskit.sandbox.events import record
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.facts.selection import labels_of
from chaoskit.sandbox.registry import Change, Registry, thaw
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "daemonset-controller"
STYLE = history.Style(ACTOR, HASH_LABEL)
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 900.0


class DaemonSets:
    """The controller's memory: until when a daemon that failed on a node is left as it is."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._pauses: dict[tuple[str, str], tuple[float, float]] = {}

    def reconcile(self, registry: Registry, key: Key) -> float | None:
        """Bring one DaemonSet a step on; returns when it should be looked at again."""
        owner = registry.find("daemonsets", *key)
        if owner is None:
            return None
        daemons, collisions = _survey(registry, owner)
        refusal, pause_s = None, None
        if not is_deleting(owner):
            refusal, pause_s = self._settle(registry, daemons)
            daemons, _ = _survey(registry, owner)
            refusal = refusal or self._settle_update(registry, daemons)
            daemons, _ = _survey(registry, owner)
            live = {f"{owner['metadata']['name']}-{labels_of(pod).get(HASH_LABEL)}" for pod in daemons.pods}
            history.prune(registry, owner, live | {f"{owner['metadata']['name']}-{daemons.mark}"}, STYLE)
        _publish(registry, owner, status_of(daemons, collisions))
        if refusal is not None:
            raise RetryLater(refusal)
        return min((each for each in (pause_s, next_look_in(daemons)) if each is not None), default=None)

    def _settle(self, registry: Registry, daemons: Daemons) -> tuple[str | None, float | None]:
        """Place pods; answers why one was refused, and when a failed one may be replaced."""
        wanted = placing(daemons)
        waits = [self._pause_s(daemons.owner, pod) for pod in wanted.delete]
        due = tuple(pod for pod, wait_s in zip(wanted.delete, waits, strict=True) if wait_s <= 0)
        refusal = _apply(registry, daemons, Changes(wanted.create, due))
        return refusal, min((wait_s for wait_s in waits if wait_s > 0), default=None)

    def _settle_update(self, registry: Registry, daemons: Daemons) -> str | None:
        return _apply(registry, daemons, updating(daemons))

    def _pause_s(self, owner: Obj, pod: Obj) -> float:
        """Seconds before this pod may go: none for one that runs, growing for one that failed again on the same node."""
        if why_deleted(pod) is None or pod["status"]["phase"] != "Failed":
            return 0.0
        key = (owner["metadata"]["uid"], home_of(pod))
        since_s, length_s = self._pauses.get(key, (float("-inf"), 0.0))
        left_s = since_s + length_s - self._clock_s()
        if left_s <= 0:
            forgotten = -left_s > 2 * LAST_PAUSE_S
            grown_s = FIRST_PAUSE_S if forgotten else min(LAST_PAUSE_S, max(FIRST_PAUSE_S, 2 * length_s))
            self._pauses[key] = (self._clock_s(), grown_s)
        return left_s

    def controller(self) -> Controller:
        triggers = {"daemonsets": itself, "pods": _of_pod, "nodes": _of_node}
        return Controller("daemonset", triggers, self.reconcile)


def _survey(registry: Registry, owner: Obj) -> tuple[Daemons, int]:
    pods = claim(registry, owner, "pods", ACTOR)
    nodes = registry.list("nodes")
    collisions, mark = int(owner.get("status", {}).get("collisionCount", 0)), ""
    if not is_deleting(owner):
        revision, collisions = history.current(registry, owner, STYLE)
        mark = labels_of(revision)[HASH_LABEL]
    return Daemons(owner, nodes, pods, mark, clock.now()), collisions


def _apply(registry: Registry, daemons: Daemons, changes: Changes) -> str | None:
    owner = daemons.owner
    for node in changes.create:
        refusal = create_pod(registry, owner, daemon(owner, node, daemons.mark), ACTOR)
        if refusal is not None:
            return refusal
    for pod in changes.delete:
        if (why := why_deleted(pod)) is not None:
            record(registry, owner, "Warning" if why[0] == "FailedDaemonPod" else "Normal", *why, ACTOR)
        delete_pod(registry, owner, pod, ACTOR)
    return None


def _publish(registry: Registry, owner: Obj, status: Obj) -> None:
    if status != owner.get("status"):
        fresh = thaw(owner) | {"status": status}
        namespace, name = key_of(owner)
        registry.update("daemonsets", namespace, name, fresh, actor=ACTOR, subresource="status")


def _of_pod(registry: Registry, change: Change) -> list[Key]:
    return concerned_owners(registry, change, "DaemonSet", "daemonsets")


def _of_node(registry: Registry, change: Change) -> list[Key]:
    """A node that came, went, or changed in what decides about daemons: labels and taints."""
    old, new = change.old, change.obj
    if change.type == "MODIFIED" and old is not None and _deciding(old) == _deciding(new):
        return []
    return [key_of(owner) for owner in registry.list("daemonsets")]


def _deciding(node: Obj) -> tuple[Any, Any]:
    return labels_of(node), node["spec"].get("taints")


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(DaemonSets().controller(), registry)
