"""Mirrored EndpointSlices: what is left to a Service whose selector was taken away.

On a real cluster the legacy Endpoints object stays behind, frozen, and a second controller mirrors it into a slice of its
own, so that the Service goes on sending traffic to addresses that nobody looks after (recorded). Here there are no
Endpoints objects: the mirror is made from the frozen slice, once, and owned by the Service.
Rules: pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

from typing import Any

from chaoskit.sandbox.controllers.endpoints import MANAGED_BY_LABEL, MANAGER, SERVICE_LABEL
from chaoskit.sandbox.controllers.loop import Controller, Key, drive, itself
from chaoskit.sandbox.controllers.ownership import owner_reference
from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.facts.selection import labels_of
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "endpointslicemirroring-controller"
MIRROR = "endpointslicemirroring-controller.k8s.io"


def reconcile(registry: Registry, key: Key) -> float | None:
    """Make a Service's mirror when it has lost its selector, and remove it when it has one again."""
    namespace, name = key
    service = registry.find("services", namespace, name)
    if service is None or is_deleting(service):
        return None
    slices = [each for each in registry.list("endpointslices", namespace) if labels_of(each).get(SERVICE_LABEL) == name]
    mirrors = [each for each in slices if labels_of(each).get(MANAGED_BY_LABEL) == MIRROR]
    frozen = [each for each in slices if labels_of(each).get(MANAGED_BY_LABEL) == MANAGER]
    if service["spec"].get("selector"):
        for each in mirrors:
            registry.delete("endpointslices", namespace, each["metadata"]["name"], actor=ACTOR)
    elif not mirrors and any(each.get("endpoints") for each in frozen):
        for each in frozen:
            registry.create("endpointslices", namespace, mirrored(service, each), actor=ACTOR)
    return None


def mirrored(service: Obj, frozen: Obj) -> Obj:
    """The mirror of a slice. An Endpoints object knew only whether an address is ready, so no more is told. Pure."""
    labels = {
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
        MANAGED_BY_LABEL: MIRROR,
        SERVICE_LABEL: service["metadata"]["name"],
    }
    return {
        "metadata": {
            "generateName": f"{service['metadata']['name']}-",
            "labels": labels,
            "ownerReferences": [owner_reference({"apiVersion": "v1", "kind": "Service"} | service)],
        },
        "addressType": frozen["addressType"],
        "endpoints": [_mirrored_endpoint(each) for each in frozen.get("endpoints") or ()],
        "ports": frozen.get("ports"),
    }


def _mirrored_endpoint(endpoint: Obj) -> Obj:
    kept = {key: endpoint[key] for key in ("addresses", "hostname", "nodeName", "targetRef") if key in endpoint}
    return kept | {"conditions": {"ready": endpoint["conditions"].get("ready", True)}}


CONTROLLER = Controller("endpointslice-mirroring", {"services": itself}, reconcile)


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(CONTROLLER, registry)
