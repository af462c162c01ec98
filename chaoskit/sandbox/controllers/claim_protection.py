"""Keeps a PersistentVolumeClaim that is being deleted until no pod uses it any more.

Rules: pkg/controller/volume/pvcprotection/pvc_protection_controller.go. Binding is done when a claim is made.
"""

from __future__ import annotations

from typing import Any

from chaoskit.sandbox.controllers.loop import Controller, Key, drive, itself, key_of
from chaoskit.sandbox.facts.pods import claims_of, is_deleting, is_finished
from chaoskit.sandbox.registry import Change, Registry, thaw
from chaoskit.sandbox.rules.claims import PROTECTION
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "pvc-protection-controller"


def reconcile(registry: Registry, key: Key) -> float | None:
    """Take the protection off one claim, if it is to go and nobody uses it."""
    claim = registry.find("persistentvolumeclaims", *key)
    if claim is None or not is_deleting(claim) or PROTECTION not in claim["metadata"].get("finalizers", ()):
        return None
    namespace, name = key
    users = (pod for pod in registry.list("pods", namespace) if name in claims_of(pod))
    if not any(_uses(pod) for pod in users):
        fresh = thaw(claim)
        fresh["metadata"]["finalizers"] = [each for each in claim["metadata"]["finalizers"] if each != PROTECTION]
        registry.update("persistentvolumeclaims", namespace, name, fresh, actor=ACTOR)
    return None


def _uses(pod: Obj) -> bool:
    """A pod that was never bound to a node has nothing mounted, and one that ended no longer has."""
    return bool(pod["spec"].get("nodeName")) and not is_finished(pod)


def _of_pod(_registry: Registry, change: Change) -> list[Key]:
    namespace, _ = key_of(change.obj)
    if change.type != "DELETED" and _uses(change.obj):
        return []
    return [(namespace, name) for name in claims_of(change.obj)]


CONTROLLER = Controller("claim-protection", {"persistentvolumeclaims": itself, "pods": _of_pod}, reconcile)


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(CONTROLLER, registry)
