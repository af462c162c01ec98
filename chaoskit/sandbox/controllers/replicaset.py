"""ReplicaSet controller: as many active pods as spec.replicas says, and a status that tells how many there are.

A pod that is being deleted no longer counts, so its replacement is made at the delete and not at the exit. Reads come from
the store itself and nothing is awaited between reading and creating, so a reconcile always sees its own earlier writes: the
expectations that guard upstream's lagging cache against double creation have nothing to guard here.
Rules: pkg/controller/replicaset/replica_set.go, replica_set_utils.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chaoskit.sandbox.controllers.loop import Controller, Key, RetryLater, drive, itself
from chaoskit.sandbox.controllers.ownership import claim, concerned_owners, controller_of
from chaoskit.sandbox.controllers.podwork import create_pod, delete_pod, pod_from
from chaoskit.sandbox.controllers.ranking import first_to_go
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.conditions import conditions_of, make_condition, put_condition, without
from chaoskit.sandbox.facts.pods import available_in, is_active, is_deleting, is_ready, is_terminating
from chaoskit.sandbox.facts.selection import labels_of
from chaoskit.sandbox.registry import Change, Registry, thaw
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "replicaset-controller"
# Upstream makes up to 500 pods in one go. Here a go holds up the whole API server, and the next one comes with the first new pod.
BURST = 100


def reconcile(registry: Registry, key: Key) -> float | None:
    """Bring one ReplicaSet to rest; returns when its next pod becomes available by age alone."""
    replicaset = registry.find("replicasets", *key)
    if replicaset is None:
        return None
    pods = claim(registry, replicaset, "pods", ACTOR)
    failure = (
        None if is_deleting(replicaset) else _balance(registry, replicaset, [pod for pod in pods if is_active(pod)])
    )
    now_s = clock.now()
    # The status counts the pods found before balancing, as upstream's does: watchers see the dip before the replacement.
    _publish(registry, replicaset, status_of(replicaset, pods, failure, now_s))
    if failure is not None:
        raise RetryLater(failure)
    return next_available_in(replicaset, pods, now_s)


def status_of(replicaset: Obj, pods: Sequence[Obj], failure: str | None, now_s: float) -> Obj:
    """The status these pods make. Zeros other than `replicas` and `terminatingReplicas` are left out, as on the wire."""
    spec = replicaset["spec"]
    active = [pod for pod in pods if is_active(pod)]
    template_labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    counts = {
        "fullyLabeledReplicas": sum(template_labels.items() <= labels_of(pod).items() for pod in active),
        "readyReplicas": sum(is_ready(pod) for pod in active),
        "availableReplicas": sum(available_in(pod, spec.get("minReadySeconds", 0), now_s) == 0.0 for pod in active),
    }
    status: Obj = {"replicas": len(active)} | {name: count for name, count in counts.items() if count}
    status["terminatingReplicas"] = sum(is_terminating(pod) for pod in pods)
    status["observedGeneration"] = replicaset["metadata"].get("generation", 1)
    conditions = without(conditions_of(replicaset), "ReplicaFailure")
    if failure is not None:
        new = make_condition("ReplicaFailure", "True", "FailedCreate", failure, now_s)
        conditions = put_condition(conditions_of(replicaset), new)
    return status | ({"conditions": conditions} if conditions else {})


def next_available_in(replicaset: Obj, pods: Sequence[Obj], now_s: float) -> float | None:
    """Seconds until a ready pod that is still too young becomes available; None when there is none."""
    min_ready_s = replicaset["spec"].get("minReadySeconds", 0)
    waits = [available_in(pod, min_ready_s, now_s) for pod in pods if is_active(pod)]
    return min((wait for wait in waits if wait), default=None)


def _balance(registry: Registry, replicaset: Obj, active: list[Obj]) -> str | None:
    surplus = len(active) - replicaset["spec"].get("replicas", 1)
    if surplus < 0:
        return _create(registry, replicaset, min(-surplus, BURST))
    if surplus > 0:
        related = [*active, *_pods_of_siblings(registry, replicaset)]
        for pod in first_to_go(active, related, min(surplus, BURST), clock.now()):
            delete_pod(registry, replicaset, pod, ACTOR)
    return None


def _create(registry: Registry, replicaset: Obj, count: int) -> str | None:
    """Make pods one by one and stop at the first refusal; returns its message.

    Upstream's slow start (batches of 1, 2, 4 ...) spares the API server a burst of equal refusals. Creating one after
    another and stopping at once spares it all but one.
    """
    for _ in range(count):
        refusal = create_pod(registry, replicaset, pod_from(replicaset), ACTOR)
        if refusal is not None:
            return refusal
    return None


def _pods_of_siblings(registry: Registry, replicaset: Obj) -> list[Obj]:
    owner = controller_of(replicaset)
    if owner is None:
        return []
    own_uid = replicaset["metadata"]["uid"]
    siblings = [obj["metadata"]["uid"] for kind, obj in registry.owned(owner["uid"]) if kind == "replicasets"]
    return [pod for uid in siblings if uid != own_uid for kind, pod in registry.owned(uid) if kind == "pods"]


def _publish(registry: Registry, replicaset: Obj, status: Obj) -> None:
    if status == replicaset.get("status"):
        return
    metadata = replicaset["metadata"]
    fresh = thaw(replicaset) | {"status": status}
    registry.update("replicasets", metadata["namespace"], metadata["name"], fresh, actor=ACTOR, subresource="status")


def _of_pod(registry: Registry, change: Change) -> list[Key]:
    return concerned_owners(registry, change, "ReplicaSet", "replicasets")


CONTROLLER = Controller("replicaset", {"replicasets": itself, "pods": _of_pod}, reconcile)


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(CONTROLLER, registry)
