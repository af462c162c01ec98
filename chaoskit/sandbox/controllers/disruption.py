"""Disruption controller: keeps the status of PodDisruptionBudgets, from which evictions are granted.

The arithmetic is in facts/budgets.py and granting in the registry; here are the pods, their controllers' scales and the
events. Rules: pkg/controller/disruption/disruption.go; reasons and texts as recorded on a real cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chaoskit.sandbox.controllers.loop import Controller, Key, drive, itself, key_of
from chaoskit.sandbox.controllers.ownership import controller_of
from chaoskit.sandbox.events import record
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.budgets import FAILED, asks_for_scale, next_look_in, status_of, tally, with_allowed
from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.facts.selection import labels_of
from chaoskit.sandbox.kinds import BY_OBJECT
from chaoskit.sandbox.registry import Change, Registry, thaw
from chaoskit.sandbox.selectors import selects
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "controllermanager"
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status "
    "of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please "
    'set ".spec.minAvailable" field of the PDB to an integer value.'
)


class Unscalable(Exception):
    """A pod's controller cannot say how many pods it wants, so the budget allows nothing."""


def reconcile(registry: Registry, key: Key) -> float | None:
    """Count for one budget; due again when an eviction that did not happen is to be forgotten."""
    budget = registry.find("poddisruptionbudgets", *key)
    if budget is None:
        return None
    pods = pods_of(registry, budget)
    if not pods:
        record(registry, budget, "Normal", "NoPods", "No matching pods found", ACTOR)
    try:
        scale = _scale(registry, budget, pods) if asks_for_scale(budget) else len(pods)
    except Unscalable as failure:
        _fail(registry, budget, str(failure))
        return None
    now_s = clock.now()
    found = tally(budget, pods, scale, now_s)
    _tell_of_stayers(registry, budget, pods, found.disrupted)
    _publish(registry, budget, status_of(budget, found, now_s))
    return next_look_in(found, now_s)


def pods_of(registry: Registry, budget: Obj) -> list[Obj]:
    """Every pod the budget selects, those that are ending included."""
    selector = budget["spec"].get("selector")
    namespace = budget["metadata"]["namespace"]
    return [pod for pod in registry.list("pods", namespace) if selects(selector, labels_of(pod))]


def _scale(registry: Registry, budget: Obj, pods: Iterable[Obj]) -> int:
    """The sum of what the pods' controllers want, each counted once. Raises Unscalable."""
    scales: dict[str, int] = {}
    unmanaged = False
    for pod in pods:
        reference = controller_of(pod)
        if reference is None:
            unmanaged = True
        elif reference["uid"] not in scales:
            uid, wanted = _scale_of(registry, pod["metadata"]["namespace"], reference)
            scales[uid] = wanted
    if unmanaged:
        text = _UNMANAGED.format(selector=budget["spec"].get("selector"))
        record(registry, budget, "Warning", "UnmanagedPods", text, ACTOR)
    return sum(scales.values())


def _scale_of(registry: Registry, namespace: str, reference: Obj) -> tuple[str, int]:
    """(uid, replicas) of a pod's controller, or of the Deployment above it."""
    kind = BY_OBJECT.get((reference["apiVersion"], reference["kind"]))
    if kind is None or "scale" not in kind.subresources:
        named = kind.resource if kind is not None else f"{reference['kind'].lower()}s"
        raise Unscalable(f"{named} does not implement the scale subresource")
    owner = registry.find(kind.plural, namespace, reference["name"])
    if owner is None or owner["metadata"]["uid"] != reference["uid"]:
        return reference["uid"], 0
    above = controller_of(owner)
    if kind.plural == "replicasets" and above is not None:
        return _scale_of(registry, namespace, above)
    return owner["metadata"]["uid"], int(owner["spec"].get("replicas", 1))


def _fail(registry: Registry, budget: Obj, why: str) -> None:
    text = f"Failed to calculate the number of expected pods: {why}"
    condition = with_allowed(budget, FAILED, why, clock.now())
    status = budget.get("status", {}) | {"disruptionsAllowed": 0, "conditions": condition}
    if status != budget.get("status"):
        record(registry, budget, "Warning", "CalculateExpectedPodCountFailed", text, ACTOR)
    _publish(registry, budget, status)


def _tell_of_stayers(registry: Registry, budget: Obj, pods: Iterable[Obj], still: Iterable[str]) -> None:
    """Pods that were evicted long ago and are still here, not even ending."""
    noted = set(budget.get("status", {}).get("disruptedPods") or {}) - set(still)
    for pod in pods:
        if pod["metadata"]["name"] in noted and not is_deleting(pod):
            namespace, name = key_of(budget)
            text = f"Pod was expected by PDB {namespace}/{name} to be deleted but it wasn't"
            record(registry, pod, "Warning", "NotDeleted", text, ACTOR)


def _publish(registry: Registry, budget: Obj, status: Obj) -> None:
    if status != budget.get("status"):
        namespace, name = key_of(budget)
        fresh = thaw(budget) | {"status": status}
        registry.update("poddisruptionbudgets", namespace, name, fresh, actor=ACTOR, subresource="status")


def _of_pod(registry: Registry, change: Change) -> list[Key]:
    """The budgets that select the pod, as it is or as it was."""
    seen = [labels_of(obj) for obj in (change.obj, change.old) if obj is not None]
    return [
        key_of(budget)
        for budget in registry.list("poddisruptionbudgets", change.obj["metadata"]["namespace"])
        if any(selects(budget["spec"].get("selector"), labels) for labels in seen)
    ]


def _of_workload(registry: Registry, change: Change) -> list[Key]:
    """A change of scale concerns the budgets of the namespace; upstream sees it with the next change of a pod."""
    if change.old is not None and change.old["spec"].get("replicas") == change.obj["spec"].get("replicas"):
        return []
    return [key_of(budget) for budget in registry.list("poddisruptionbudgets", change.obj["metadata"]["namespace"])]


CONTROLLER = Controller(
    "disruption",
    {"poddisruptionbudgets": itself, "pods": _of_pod}
    | dict.fromkeys(("deployments", "replicasets", "statefulsets"), _of_workload),
    reconcile,
)


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(CONTROLLER, registry)
