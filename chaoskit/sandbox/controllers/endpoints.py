"""Which endpoints a Service has: from its pods to the bodies of its EndpointSlices. Pure.

Rules: staging/src/k8s.io/endpointslice/utils.go and reconciler.go. A pod that is not ready stays listed; one without an
address or at its end does not. A named target port is resolved per pod, so pods that resolve it differently land in
different slices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from chaoskit.sandbox.facts.pods import is_deleting, is_finished, is_ready

Obj = dict[str, Any]
MAX_ENDPOINTS = 100
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
ZONE_LABEL = "topology.kubernetes.io/zone"
NO_ZONES: Mapping[str, str] = MappingProxyType({})

# A port as a hashable value: name, number, protocol, application protocol.
Port = tuple[str, int, str, str]


def has_endpoints_of_its_own(service: Mapping[str, Any]) -> bool:
    """ExternalName Services and those without a selector are left alone: their endpoints are somebody else's."""
    return bool(service["spec"].get("selector")) and service["spec"].get("type") != "ExternalName"


def endpoint_of(service: Mapping[str, Any], pod: Obj, zones: Mapping[str, str] = NO_ZONES) -> Obj | None:
    """The endpoint a pod makes; None while it has no address or once it has finished. `zones` by node name."""
    address = pod.get("status", {}).get("podIP")
    if not address or is_finished(pod):
        return None
    endpoint: Obj = {"addresses": [address], "conditions": _conditions(service, pod), "targetRef": _reference(pod)}
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
        if zone := zones.get(endpoint["nodeName"]):
            endpoint["zone"] = zone
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = pod["spec"]["hostname"]
    return endpoint


def _conditions(service: Mapping[str, Any], pod: Obj) -> Obj:
    serving, terminating = is_ready(pod), is_deleting(pod)
    published = bool(service["spec"].get("publishNotReadyAddresses"))
    return {
        "ready": published or (serving and not terminating),
        "serving": serving or published,
        "terminating": terminating,
    }


def _reference(pod: Obj) -> Obj:
    metadata = pod["metadata"]
    return {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}


def ports_of(service: Mapping[str, Any], pod: Obj) -> tuple[Port, ...]:
    """The Service's ports as this pod has them; a named port that no container of it declares is left out."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = target_port(port, pod)
        if number is not None:
            found.append((port.get("name", ""), number, port.get("protocol", "TCP"), port.get("appProtocol", "")))
    return tuple(found)


def target_port(port: Mapping[str, Any], pod: Obj) -> int | None:
    """The number behind a Service port's targetPort (pkg/api/v1/pod/util.go, FindPort)."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    sidecars = [each for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*pod["spec"].get("containers", ()), *sidecars]:
        for declared in container.get("ports") or ():
            same = declared.get("protocol", "TCP") == port.get("protocol", "TCP")
            if declared.get("name") == target and same:
                return int(declared["containerPort"])
    return None


def slices_of(service: Obj, pods: Iterable[Obj], zones: Mapping[str, str] = NO_ZONES) -> list[Obj]:
    """The `ports` and `endpoints` of each EndpointSlice the Service should have, in a stable order.

    Without endpoints there is one empty slice, whose ports are null, as recorded on a real cluster.
    """
    groups: defaultdict[tuple[Port, ...], list[Obj]] = defaultdict(list)
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        endpoint = endpoint_of(service, pod, zones)
        if endpoint is not None:
            groups[ports_of(service, pod)].append(endpoint)
    if not groups:
        return [{"ports": None, "endpoints": []}]
    return [
        {"ports": _render_ports(ports), "endpoints": endpoints[start : start + MAX_ENDPOINTS]}
        for ports, endpoints in sorted(groups.items(), key=lambda group: group[0])
        for start in range(0, len(endpoints), MAX_ENDPOINTS)
    ]


def _render_ports(ports: tuple[Port, ...]) -> list[Obj] | None:
    rendered = [
        {"name": name, "port": number, "protocol": protocol} | ({"appProtocol": application} if application else {})
        for name, number, protocol, application in ports
    ]
    return rendered or None


def pair(existing: Sequence[Obj], wanted: Sequence[Obj]) -> list[tuple[Obj | None, Obj | None]]:
    """Match stored slices with wanted bodies: same ports first, then any. (None, x) is to make, (x, None) to delete."""
    free = list(existing)
    pairs: list[tuple[Obj | None, Obj | None]] = []
    rest = []
    for body in wanted:
        same = next((each for each in free if (each.get("ports") or None) == body["ports"]), None)
        if same is None:
            rest.append(body)
            continue
        free.remove(same)
        pairs.append((same, body))
    pairs += [(free.pop(0) if free else None, body) for body in rest]
    return [*pairs, *((each, None) for each in free)]
