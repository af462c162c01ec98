"""Services and EndpointSlices: defaults, addresses and ports, validation. Works on private copies.

Source: k8s.io/kubernetes pkg/apis/core/v1/defaults.go, pkg/apis/core/validation/validation.go and
pkg/registry/core/service/storage/alloc.go, restated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from chaoskit.sandbox.errors import Cause, bad_value, duplicate, field_forbidden, invalid, required, unsupported
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.metadata import is_label, validate_labels
from chaoskit.sandbox.notices import warn
from chaoskit.sandbox.rules.podcheck import validate_port_reference
from chaoskit.sandbox.rules.rule import Admission, Rule, keep_status
from chaoskit.sandbox.settings import NODE_PORTS, SERVICE_ADDRESSES
from chaoskit.sandbox.store import Obj

_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_WITH_NODE_PORTS: Final = ("LoadBalancer", "NodePort")
_FIRST_FREE_PORT: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def _prepare(obj: Obj) -> Obj:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        spec = obj["spec"] = {}
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        affinity = spec.setdefault("sessionAffinityConfig", {})
        affinity.setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] in _WITH_NODE_PORTS:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    for port in _ports(obj):
        port.setdefault("protocol", "TCP")
        if "port" in port and port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]
        if port.get("nodePort") == 0:
            del port["nodePort"]
    return spec


def _ports(obj: Obj) -> list[Obj]:
    ports = obj["spec"].get("ports")
    return [port for port in ports if isinstance(port, dict)] if isinstance(ports, list) else []


def _prepare_create(obj: Obj, admission: Admission) -> None:
    _prepare(obj)
    obj["status"] = {"loadBalancer": {}}


def _prepare_update(new: Obj, old: Obj, admission: Admission) -> None:
    spec, before = new.get("spec"), old["spec"]
    if isinstance(spec, dict) and spec.get("type", "ClusterIP") != "ExternalName" and before["type"] != "ExternalName":
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if key in before and not spec.get(key):
                spec[key] = before[key]
        if spec.get("type") in _WITH_NODE_PORTS:
            _keep_node_ports(new, old)
    _prepare(new)
    keep_status(new, old)


def _keep_node_ports(new: Obj, old: Obj) -> None:
    known = {(port.get("port"), port.get("protocol", "TCP")): port.get("nodePort") for port in _ports(old)}
    for port in _ports(new):
        kept = known.get((port.get("port"), port.get("protocol", "TCP")))
        if not port.get("nodePort") and kept:
            port["nodePort"] = kept


def _validate(obj: Obj) -> list[Cause]:
    spec = obj["spec"]
    causes = [] if spec["type"] in _TYPES else [unsupported("spec.type", spec["type"], _TYPES)]
    if spec["sessionAffinity"] not in ("ClientIP", "None"):
        causes.append(unsupported("spec.sessionAffinity", spec["sessionAffinity"], ["ClientIP", "None"]))
    causes += validate_labels(spec.get("selector", {}), "spec.selector")
    if spec["type"] == "ExternalName":
        return causes if spec.get("externalName") else [*causes, required("spec.externalName")]
    headless = spec.get("clusterIP") == "None"
    if not spec.get("ports") and not headless:
        causes.append(required("spec.ports"))
    if headless and spec["type"] in _WITH_NODE_PORTS:
        causes.append(bad_value("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {spec['type']} services"))
    return causes + _validate_ports(obj)


def _validate_ports(obj: Obj) -> list[Cause]:
    causes: list[Cause] = []
    names: set[str] = set()
    numbers: set[tuple[Any, Any]] = set()
    ports = _ports(obj)
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        causes += _validate_port_name(port.get("name"), f"{at}.name", names, needed=len(ports) > 1)
        causes += validate_port_reference(port.get("port"), f"{at}.port")
        causes += validate_port_reference(port.get("targetPort"), f"{at}.targetPort")
        if port["protocol"] not in ("SCTP", "TCP", "UDP"):
            causes.append(unsupported(f"{at}.protocol", port["protocol"], ["SCTP", "TCP", "UDP"]))
        if "nodePort" in port and obj["spec"]["type"] not in _WITH_NODE_PORTS:
            why = "may not be used when `type` is 'ClusterIP'"
            causes.append(field_forbidden(f"{at}.nodePort", why))
        key = (port.get("port"), port["protocol"])
        if key in numbers:
            causes.append(duplicate(at, {"port": key[0], "protocol": key[1]}))
        numbers.add(key)
    return causes


def _validate_port_name(name: Any, at: str, seen: set[str], *, needed: bool) -> list[Cause]:
    if not name:
        return [required(at)] if needed else []
    if not isinstance(name, str) or not is_label(name):
        return [
            bad_value(at, name, "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'")
        ]
    if name in seen:
        return [duplicate(at, name)]
    seen.add(name)
    return []


def _validate_update(new: Obj, old: Obj) -> list[Cause]:
    before, after = old["spec"], new["spec"]
    if "ExternalName" in (before["type"], after["type"]) or before.get("clusterIP") == after.get("clusterIP"):
        return []
    return [bad_value("spec.clusterIPs[0]", [after.get("clusterIP")], "may not change once set")]


def _admit(obj: Obj, admission: Admission) -> None:
    """Allocate what the service did not ask for. Raises ApiError 422 when what it asked for is not to be had."""
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        for key in ("clusterIP", "clusterIPs"):
            spec.pop(key, None)
        return
    if not spec.get("clusterIP"):
        spec["clusterIP"] = next(_free_addresses(admission))
    elif spec["clusterIP"] != "None":
        _check_address(obj, admission)
    spec["clusterIPs"] = [spec["clusterIP"]]
    _allocate_node_ports(obj, admission)
    _warn_of_low_ports(obj)


def _admit_update(new: Obj, old: Obj, admission: Admission) -> None:
    if new["spec"] != old["spec"]:
        _admit(new, admission)
        if new["spec"]["type"] not in _WITH_NODE_PORTS:
            new["spec"].pop("externalTrafficPolicy", None)


def _others(obj: Obj | None, admission: Admission) -> Iterator[Obj]:
    for version in admission.store.items("services"):
        if obj is None or version.obj["metadata"]["uid"] != obj["metadata"]["uid"]:
            yield version.obj


def _free_addresses(admission: Admission) -> Iterator[str]:
    used = {service["spec"].get("clusterIP") for service in _others(None, admission)}
    for number in range(1, SERVICE_ADDRESSES + 1):
        address = admission.settings.service_address(number)
        if address not in used:
            yield address


def _check_address(obj: Obj, admission: Admission) -> None:
    address, name = obj["spec"]["clusterIP"], obj["metadata"]["name"]
    first, last = admission.settings.service_address(1), admission.settings.service_address(SERVICE_ADDRESSES)
    prefix = f"127.{admission.settings.slot}."
    third = address.removeprefix(prefix).partition(".")[0]
    if not address.startswith(prefix) or not third.isdigit() or not 128 <= int(third) <= 191:
        why = f"failed to allocate IP {address}: the provided IP is not in the valid range ({first} to {last})"
        raise invalid(KINDS["services"], name, [bad_value("spec.clusterIPs", [address], why)])
    if any(service["spec"].get("clusterIP") == address for service in _others(obj, admission)):
        why = f"failed to allocate IP {address}: provided IP is already allocated"
        raise invalid(KINDS["services"], name, [bad_value("spec.clusterIPs", [address], why)])


def _allocate_node_ports(obj: Obj, admission: Admission) -> None:
    if obj["spec"]["type"] not in _WITH_NODE_PORTS:
        for port in _ports(obj):
            port.pop("nodePort", None)
        return
    used = {port.get("nodePort") for service in _others(obj, admission) for port in _ports(service)}
    for index, port in enumerate(_ports(obj)):
        wanted = port.get("nodePort")
        if wanted is None:
            wanted = port["nodePort"] = next(number for number in NODE_PORTS if number not in used)
        elif wanted not in NODE_PORTS or wanted in used:
            why = (
                "provided port is already allocated"
                if wanted in used
                else "provided port is not in the valid range. The range of valid ports is 30000-32767"
            )
            raise invalid(
                KINDS["services"], obj["metadata"]["name"], [bad_value(f"spec.ports[{index}].nodePort", wanted, why)]
            )
        used.add(wanted)


def _warn_of_low_ports(obj: Obj) -> None:
    lowest = first_bindable_port()
    low = [port["port"] for port in _ports(obj) if port["port"] < lowest]
    if low and obj["spec"]["clusterIP"] != "None":
        warn(
            f"service {obj['metadata']['name']}: this user may not bind port {low[0]} of the ClusterIP; "
            f"use a port from {lowest} on, or a NodePort"
        )


def first_bindable_port() -> int:
    """The lowest port that this user may listen on."""
    if os.geteuid() == 0:
        return 1
    try:
        return int(_FIRST_FREE_PORT.read_text())
    except (OSError, ValueError):
        return 1024


def _validate_slice(obj: Obj) -> list[Cause]:
    causes = [] if obj.get("addressType") == "IPv4" else [unsupported("addressType", obj.get("addressType"), ["IPv4"])]
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            causes.append(required(f"endpoints[{index}].addresses", "must contain at least 1 address"))
    return causes


def _default_slice(obj: Obj, admission: Admission) -> None:
    obj.setdefault("endpoints", [])
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _default_slice_update(new: Obj, old: Obj, admission: Admission) -> None:
    _default_slice(new, admission)


def _same_address_type(new: Obj, old: Obj) -> list[Cause]:
    if new.get("addressType") == old.get("addressType"):
        return []
    return [bad_value("addressType", new.get("addressType"), "field is immutable")]


def _slice_content(obj: Obj) -> Any:
    return obj.get("endpoints"), obj.get("ports"), obj["metadata"].get("labels"), obj["metadata"].get("annotations")


SERVICE: Final = Rule(
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    validate=_validate,
    validate_update=_validate_update,
    admit=_admit,
    admit_update=_admit_update,
)
ENDPOINT_SLICE: Final = Rule(
    prepare_create=_default_slice,
    prepare_update=_default_slice_update,
    validate=_validate_slice,
    validate_update=_same_address_type,
    counts=_slice_content,
)
