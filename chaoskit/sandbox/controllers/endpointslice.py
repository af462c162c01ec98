"""EndpointSlice controller: keeps a Service's slices in step with its pods.

Applies what endpoints.py computes. Never touches slices of another manager, and leaves a Service that lost its selector as
it is: the frozen slice is what a real cluster shows too. Rules: staging/src/k8s.io/endpointslice/reconciler.go.
"""

from __future__ import annotations

from typing import Any

from chaoskit.sandbox.controllers.endpoints import (
    HEADLESS_LABEL,
    MANAGED_BY_LABEL,
    MANAGER,
    SERVICE_LABEL,
    ZONE_LABEL,
    has_endpoints_of_its_own,
    pair,
    slices_of,
)
from chaoskit.sandbox.controllers.loop import Controller, Key, drive, itself
from chaoskit.sandbox.controllers.ownership import owner_reference
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.facts.selection import labels_of, matches_map
from chaoskit.sandbox.registry import Change, Registry, thaw
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "endpointslice-controller"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


def reconcile(registry: Registry, key: Key) -> float | None:
    """Bring the slices of one Service to what its pods say; the slices of a deleted Service are the garbage collector's."""
    namespace, name = key
    service = registry.find("services", namespace, name)
    if service is None or is_deleting(service) or not has_endpoints_of_its_own(service):
        return None
    selector = service["spec"]["selector"]
    pods = [pod for pod in registry.list("pods", namespace) if matches_map(selector, labels_of(pod))]
    existing = [each for each in registry.list("endpointslices", namespace) if _is_ours(each, name)]
    zones = {node["metadata"]["name"]: labels_of(node).get(ZONE_LABEL, "") for node in registry.list("nodes")}
    for stored, wanted in pair(existing, slices_of(service, pods, zones)):
        _apply(registry, service, stored, wanted)
    return None


def _is_ours(endpointslice: Obj, service: str) -> bool:
    labels = labels_of(endpointslice)
    return (
        labels.get(SERVICE_LABEL) == service
        and labels.get(MANAGED_BY_LABEL) == MANAGER
        and not is_deleting(endpointslice)
    )


def _apply(registry: Registry, service: Obj, stored: Obj | None, wanted: Obj | None) -> None:
    namespace = service["metadata"]["namespace"]
    if stored is None:
        assert wanted is not None
        registry.create("endpointslices", namespace, _fresh(service) | wanted, actor=ACTOR)
        return
    name = stored["metadata"]["name"]
    if wanted is None:
        registry.delete("endpointslices", namespace, name, actor=ACTOR)
        return
    labels = _labels(service)
    same = (stored.get("ports") or None) == wanted["ports"] and (stored.get("endpoints") or []) == wanted["endpoints"]
    if same and labels.items() <= labels_of(stored).items():
        return
    changed = thaw(stored) | wanted
    changed["metadata"]["labels"] = labels_of(stored) | labels
    changed["metadata"]["annotations"] = (changed["metadata"].get("annotations") or {}) | _stamp()
    registry.update("endpointslices", namespace, name, changed, actor=ACTOR)


def _fresh(service: Obj) -> Obj:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{service['metadata']['name']}-",
            "labels": _labels(service),
            "annotations": _stamp(),
            "ownerReferences": [owner_reference({"apiVersion": "v1", "kind": "Service"} | service)],
        },
        "addressType": "IPv4",
    }


def _labels(service: Obj) -> dict[str, str]:
    told = labels_of(service) | {SERVICE_LABEL: service["metadata"]["name"], MANAGED_BY_LABEL: MANAGER}
    return told | ({HEADLESS_LABEL: ""} if service["spec"].get("clusterIP") == "None" else {})


def _stamp() -> dict[str, str]:
    return {TRIGGER_TIME: clock.render_time(clock.now())}


def _of_pod(registry: Registry, change: Change) -> list[Key]:
    """The Services whose selector fits the pod, as it is or as it was."""
    namespace = change.obj["metadata"]["namespace"]
    seen = [labels_of(obj) for obj in (change.obj, change.old) if obj is not None]
    return [
        (namespace, service["metadata"]["name"])
        for service in registry.list("services", namespace)
        if any(matches_map(service["spec"].get("selector") or {}, labels) for labels in seen)
    ]


def _of_slice(_registry: Registry, change: Change) -> list[Key]:
    service = labels_of(change.obj).get(SERVICE_LABEL)
    return [] if service is None else [(change.obj["metadata"]["namespace"], service)]


CONTROLLER = Controller("endpointslice", {"services": itself, "pods": _of_pod, "endpointslices": _of_slice}, reconcile)


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(CONTROLLER, registry)
