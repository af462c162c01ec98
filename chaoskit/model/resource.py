"""Which kinds we speak of and where the API serves them. A table and its look-up; nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from chaoskit.model.errors import CouldNotRun

Json: TypeAlias = Any
Obj: TypeAlias = Mapping[str, Any]
"""An API object in Kubernetes' own shape: live, journalled, in tests. Read-only by convention."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind is served: group ("" is core), version and plural."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True


RESOURCES: Mapping[str, Resource] = {
    resource.kind: resource
    for resource in (
        Resource("Pod", "", "v1", "pods"),
        Resource("Service", "", "v1", "services"),
        Resource("ConfigMap", "", "v1", "configmaps"),
        Resource("Secret", "", "v1", "secrets"),
        Resource("Event", "", "v1", "events"),
        Resource("ServiceAccount", "", "v1", "serviceaccounts"),
        Resource("Namespace", "", "v1", "namespaces", namespaced=False),
        Resource("Node", "", "v1", "nodes", namespaced=False),
        Resource("Deployment", "apps", "v1", "deployments"),
        Resource("ReplicaSet", "apps", "v1", "replicasets"),
        Resource("StatefulSet", "apps", "v1", "statefulsets"),
        Resource("DaemonSet", "apps", "v1", "daemonsets"),
        Resource("Job", "batch", "v1", "jobs"),
        Resource("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices"),
        Resource("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
        Resource("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers"),
        Resource("Lease", "coordination.k8s.io", "v1", "leases"),
    )
}


def resource_of(kind: str) -> Resource:
    """Where a kind is served. Raises CouldNotRun for a kind that chaoskit does not know."""
    try:
        return RESOURCES[kind]
    except KeyError:
        raise CouldNotRun(
            f"kind {kind!r} is not one that chaoskit works with; known: {', '.join(sorted(RESOURCES))}"
        ) from None


@dataclass(frozen=True, slots=True)
class Ref:
    """One object. `uid` pins the very object; without it the name is meant, whoever bears it."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind.lower()} {place}{self.name}"


def ref_of(obj: Obj, kind: str | None = None) -> Ref:
    """The pinned reference of a live object. List items carry no kind: then it must be given."""
    meta = obj["metadata"]
    return Ref(kind or obj["kind"], meta["name"], meta.get("namespace", ""), meta.get("uid", ""))
