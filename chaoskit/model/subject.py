"""The target as found, pruned to what judging needs: no environment, no data of Secrets. Holds; never looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from chaoskit.model.resource import Json, Obj


@dataclass(frozen=True, slots=True)
class Subject:
    """Workloads (controllers and their ReplicaSets), their live pods, the Services and budgets that select them, the nodes they run on.

    `victims` are the uids of pods, or names of nodes, that the first look would pick.
    """

    workloads: tuple[Obj, ...] = ()
    pods: tuple[Obj, ...] = ()
    services: tuple[Obj, ...] = ()
    budgets: tuple[Obj, ...] = ()
    nodes: tuple[Obj, ...] = ()
    victims: tuple[str, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of the subject, sorted."""
        found = {obj["metadata"]["namespace"] for obj in (*self.workloads, *self.pods, *self.services)}
        return tuple(sorted(found))

    def victim_pods(self) -> tuple[Obj, ...]:
        """The pods among the victims: picked themselves, or running on a picked node."""
        picked = set(self.victims)
        return tuple(
            pod for pod in self.pods if pod["metadata"]["uid"] in picked or pod["spec"].get("nodeName") in picked
        )


def subject_to_json(subject: Subject) -> dict[str, Json]:
    return {field.name: list(getattr(subject, field.name)) for field in fields(subject)}


def subject_from_json(data: Mapping[str, Json]) -> Subject:
    """The reverse of `subject_to_json`; fields of later versions are ignored."""
    return Subject(**{field.name: tuple(data.get(field.name, ())) for field in fields(Subject)})


_META = (
    "name",
    "namespace",
    "uid",
    "labels",
    "ownerReferences",
    "deletionTimestamp",
    "creationTimestamp",
    "generation",
    "resourceVersion",
)
_CONTAINER = (
    "name",
    "image",
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resources",
    "restartPolicy",
)
_POD_SPEC = (
    "nodeName",
    "terminationGracePeriodSeconds",
    "readinessGates",
    "restartPolicy",
    "tolerations",
    "nodeSelector",
    "topologySpreadConstraints",
)
_ANNOTATION_PREFIX = "chaoskit.dev/"


def pruned(obj: Obj) -> Obj:
    """An object cut down to its allow-list: what promises and bounds are read from, nothing that could carry a secret."""
    lean: dict[str, Json] = {key: obj[key] for key in ("apiVersion", "kind") if key in obj}
    lean["metadata"] = _pruned_meta(obj["metadata"])
    if "spec" in obj:
        lean["spec"] = _pruned_spec(obj["spec"])
    for key in ("status", "endpoints", "ports", "addressType", "involvedObject", "reason", "message", "count", "type"):
        if key in obj:
            lean[key] = obj[key]
    return lean


def _pruned_meta(meta: Obj) -> dict[str, Json]:
    lean: dict[str, Json] = {key: meta[key] for key in _META if key in meta}
    ours = {key: value for key, value in (meta.get("annotations") or {}).items() if key.startswith(_ANNOTATION_PREFIX)}
    return lean | ({"annotations": ours} if ours else {})


def _pruned_spec(spec: Obj) -> dict[str, Json]:
    if "containers" in spec:
        return _pruned_pod_spec(spec)
    lean = dict(spec)
    if "template" in spec:
        template = spec["template"]
        lean["template"] = {
            "metadata": _pruned_meta(template.get("metadata") or {}),
            "spec": _pruned_pod_spec(template["spec"]),
        }
    return lean


def _pruned_pod_spec(spec: Obj) -> dict[str, Json]:
    lean: dict[str, Json] = {key: spec[key] for key in _POD_SPEC if key in spec}
    for group in ("containers", "initContainers"):
        if spec.get(group):
            lean[group] = [_only(container, _CONTAINER) for container in spec[group]]
    lean["volumes"] = [
        {"name": volume["name"], **{kind: {} for kind in volume if kind != "name"}}
        for volume in spec.get("volumes") or ()
    ]
    return lean


def _only(obj: Obj, keys: Iterable[str]) -> dict[str, Json]:
    return {key: obj[key] for key in keys if key in obj}
