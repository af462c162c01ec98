"""The columns of every served kind and how each cell reads. Pure; knows objects' shapes, fetches none.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go, restated; names recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from chaoskit.sandbox import clock
from chaoskit.sandbox.api.podstate import pod_ready, pod_restarts, pod_state
from chaoskit.sandbox.scale import selector_text
from chaoskit.sandbox.store import Obj

_NONE: Final = "<none>"
_UNSET: Final = "<unset>"


@dataclass(frozen=True, slots=True)
class Column:
    """`wide` columns show with `-o wide` only."""

    name: str
    cell: Callable[[Obj], Any]
    wide: bool = False


def duration(span: timedelta) -> str:
    """An age as kubectl writes it: 5s, 4m10s, 3h, 2d4h."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    return f"{days}d{hours % 24}h" if days < 8 and hours % 24 else f"{days}d"


def _since(text: str | None) -> str:
    return duration(clock.now() - clock.parse(text)) if text else "<unknown>"


def _path(*steps: str, missing: Any = "") -> Callable[[Obj], Any]:
    def read(obj: Obj) -> Any:
        value: Any = obj
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return missing if value is None else value

    return read


def _age(obj: Obj) -> str:
    return _since(obj["metadata"].get("creationTimestamp"))


def _count(key: str) -> Callable[[Obj], int]:
    return lambda obj: len(obj.get(key) or ())


def _containers(obj: Obj, key: str) -> str:
    spec = obj["spec"]["template"]["spec"]
    return ",".join(container[key] for container in spec["containers"])


def _deployment_ready(obj: Obj) -> str:
    return f"{obj['status'].get('readyReplicas', 0)}/{obj['spec']['replicas']}"


def _job_status(obj: Obj) -> str:
    conditions = {c["type"] for c in obj["status"].get("conditions", ()) if c["status"] == "True"}
    if "Complete" in conditions or "Failed" in conditions:
        return "Complete" if "Complete" in conditions else "Failed"
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    if "Suspended" in conditions or "FailureTarget" in conditions:
        return "Suspended" if "Suspended" in conditions else "FailureTarget"
    return "SuccessCriteriaMet" if "SuccessCriteriaMet" in conditions else "Running"


def _job_completions(obj: Obj) -> str:
    done, spec = obj["status"].get("succeeded", 0), obj["spec"]
    if "completions" in spec:
        return f"{done}/{spec['completions']}"
    return f"{done}/1 of {spec['parallelism']}" if spec["parallelism"] > 1 else f"{done}/1"


def _job_duration(obj: Obj) -> str:
    status = obj["status"]
    if "startTime" not in status:
        return ""
    end = clock.parse(status["completionTime"]) if "completionTime" in status else clock.now()
    return duration(end - clock.parse(status["startTime"]))


def _claim_modes(obj: Obj) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    return ",".join(short.get(mode, mode) for mode in obj["status"].get("accessModes") or ())


def _controller(obj: Obj) -> str:
    owner = next((each for each in obj["metadata"].get("ownerReferences", ()) if each.get("controller")), None)
    if owner is None:
        return _NONE
    group = owner["apiVersion"].rpartition("/")[0]
    return f"{owner['kind'].lower()}{f'.{group}' if group else ''}/{owner['name']}"


def _ports(obj: Obj) -> str:
    ports = obj["spec"].get("ports") or ()
    shown = [
        f"{port['port']}:{port['nodePort']}/{port['protocol']}"
        if "nodePort" in port
        else f"{port['port']}/{port['protocol']}"
        for port in ports
    ]
    return ",".join(shown) or _NONE


def _external(obj: Obj) -> str:
    if obj["spec"]["type"] == "LoadBalancer":
        return "<pending>"
    return str(obj["spec"].get("externalName") or _NONE)


def _map(selector: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items())) or _NONE


def _node_status(obj: Obj) -> str:
    conditions = {c["type"]: c["status"] for c in obj.get("status", {}).get("conditions", ())}
    status = {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "Unknown")
    if "Ready" in conditions and conditions["Ready"] == "Unknown":
        status = "NotReady"
    return f"{status},SchedulingDisabled" if obj["spec"].get("unschedulable") else status


def _node_address(kind: str) -> Callable[[Obj], str]:
    def read(obj: Obj) -> str:
        addresses = obj.get("status", {}).get("addresses", ())
        return next((a["address"] for a in addresses if a["type"] == kind), _NONE)

    return read


def _node_roles(obj: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = [label.removeprefix(prefix) for label in obj["metadata"].get("labels", {}) if label.startswith(prefix)]
    return ",".join(sorted(roles)) or _NONE


def _subjects(kind: str) -> Callable[[Obj], str]:
    def read(obj: Obj) -> str:
        found = [subject for subject in obj.get("subjects") or () if subject["kind"] == kind]
        return ", ".join("/".join(filter(None, [each.get("namespace"), each["name"]])) for each in found)

    return read


def _slice_ports(obj: Obj) -> str:
    return ",".join(str(port.get("port", "*")) for port in obj.get("ports") or ()) or _UNSET


def _slice_endpoints(obj: Obj) -> str:
    found = [address for endpoint in obj.get("endpoints") or () for address in endpoint["addresses"]]
    shown = ",".join(found[:3])
    return (f"{shown} + {len(found) - 3} more..." if len(found) > 3 else shown) or _UNSET


def _event_object(obj: Obj) -> str:
    involved = obj["involvedObject"]
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


def _event_seen(*keys: str) -> Callable[[Obj], str]:
    def read(obj: Obj) -> str:
        moment = next((obj[key] for key in keys if obj.get(key)), obj["metadata"].get("creationTimestamp"))
        return _since(moment)

    return read


_NAME: Final = Column("Name", _path("metadata", "name"))
_AGE: Final = Column("Age", _age)
_CREATED: Final = Column("Created At", _path("metadata", "creationTimestamp"))
_BINDING: Final = (
    _NAME,
    Column("Role", lambda obj: f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"),
    _AGE,
    Column("Users", _subjects("User"), wide=True),
    Column("Groups", _subjects("Group"), wide=True),
    Column("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
)
_WORKLOAD_WIDE: Final = (
    Column("Containers", lambda obj: _containers(obj, "name"), wide=True),
    Column("Images", lambda obj: _containers(obj, "image"), wide=True),
    Column("Selector", lambda obj: selector_text(obj["spec"]["selector"]), wide=True),
)

COLUMNS: Final[dict[str, tuple[Column, ...]]] = {
    "pods": (
        _NAME,
        Column("Ready", pod_ready),
        Column("Status", pod_state),
        Column("Restarts", lambda obj: pod_restarts(obj, _since)),
        _AGE,
        Column("IP", _path("status", "podIP", missing=_NONE), wide=True),
        Column("Node", _path("spec", "nodeName", missing=_NONE), wide=True),
        Column("Nominated Node", _path("status", "nominatedNodeName", missing=_NONE), wide=True),
        Column("Readiness Gates", lambda obj: _NONE, wide=True),
    ),
    "deployments": (
        _NAME,
        Column("Ready", _deployment_ready),
        Column("Up-to-date", _path("status", "updatedReplicas", missing=0)),
        Column("Available", _path("status", "availableReplicas", missing=0)),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    "replicasets": (
        _NAME,
        Column("Desired", _path("spec", "replicas", missing=0)),
        Column("Current", _path("status", "replicas", missing=0)),
        Column("Ready", _path("status", "readyReplicas", missing=0)),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    "statefulsets": (_NAME, Column("Ready", _deployment_ready), _AGE, *_WORKLOAD_WIDE[:2]),
    "daemonsets": (
        _NAME,
        Column("Desired", _path("status", "desiredNumberScheduled", missing=0)),
        Column("Current", _path("status", "currentNumberScheduled", missing=0)),
        Column("Ready", _path("status", "numberReady", missing=0)),
        Column("Up-to-date", _path("status", "updatedNumberScheduled", missing=0)),
        Column("Available", _path("status", "numberAvailable", missing=0)),
        Column("Node Selector", lambda obj: _map(obj["spec"]["template"]["spec"].get("nodeSelector"))),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    "controllerrevisions": (
        _NAME,
        Column("Controller", _controller),
        Column("Revision", _path("revision", missing=0)),
        _AGE,
    ),
    "jobs": (
        _NAME,
        Column("Status", _job_status),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    "poddisruptionbudgets": (
        _NAME,
        Column("Min Available", lambda obj: str(obj["spec"].get("minAvailable", "N/A"))),
        Column("Max Unavailable", lambda obj: str(obj["spec"].get("maxUnavailable", "N/A"))),
        Column("Allowed Disruptions", _path("status", "disruptionsAllowed", missing=0)),
        _AGE,
    ),
    "persistentvolumeclaims": (
        _NAME,
        Column("Status", _path("status", "phase")),
        Column("Volume", _path("spec", "volumeName")),
        Column("Capacity", _path("status", "capacity", "storage")),
        Column("Access Modes", _claim_modes),
        Column("StorageClass", _path("spec", "storageClassName")),
        Column("VolumeAttributesClass", lambda obj: _UNSET),
        _AGE,
        Column("VolumeMode", _path("spec", "volumeMode"), wide=True),
    ),
    "services": (
        _NAME,
        Column("Type", _path("spec", "type")),
        Column("Cluster-IP", _path("spec", "clusterIP", missing=_NONE)),
        Column("External-IP", _external),
        Column("Port(s)", _ports),
        _AGE,
        Column("Selector", lambda obj: _map(obj["spec"].get("selector")), wide=True),
    ),
    "nodes": (
        _NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        _AGE,
        Column("Version", _path("status", "nodeInfo", "kubeletVersion")),
        Column("Internal-IP", _node_address("InternalIP"), wide=True),
        Column("External-IP", _node_address("ExternalIP"), wide=True),
        Column("OS-Image", _path("status", "nodeInfo", "osImage", missing="<unknown>"), wide=True),
        Column("Kernel-Version", _path("status", "nodeInfo", "kernelVersion", missing="<unknown>"), wide=True),
        Column(
            "Container-Runtime", _path("status", "nodeInfo", "containerRuntimeVersion", missing="<unknown>"), wide=True
        ),
    ),
    "namespaces": (_NAME, Column("Status", _path("status", "phase")), _AGE),
    "configmaps": (_NAME, Column("Data", lambda obj: _count("data")(obj) + _count("binaryData")(obj)), _AGE),
    "secrets": (_NAME, Column("Type", _path("type")), Column("Data", _count("data")), _AGE),
    "serviceaccounts": (_NAME, Column("Secrets", _count("secrets")), _AGE),
    "leases": (_NAME, Column("Holder", _path("spec", "holderIdentity")), _AGE),
    "endpointslices": (
        _NAME,
        Column("AddressType", _path("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        _AGE,
    ),
    "roles": (_NAME, _CREATED),
    "clusterroles": (_NAME, _CREATED),
    "rolebindings": _BINDING,
    "clusterrolebindings": _BINDING,
    "events": (
        Column("Last Seen", _event_seen("lastTimestamp", "eventTime")),
        Column("Type", _path("type")),
        Column("Reason", _path("reason")),
        Column("Object", _event_object),
        Column("Message", lambda obj: str(obj.get("message", "")).strip()),
        Column("Subobject", _path("involvedObject", "fieldPath"), wide=True),
        Column("Source", _path("source", "component"), wide=True),
        Column("First Seen", _event_seen("firstTimestamp", "eventTime"), wide=True),
        Column("Count", lambda obj: str(obj.get("count", 1)), wide=True),
        Column("Name", _path("metadata", "name"), wide=True),
    ),
}
