"""Who controls whom, by the uid of the controlling owner reference: Deployment, ReplicaSet, pod. Never by selector or by name.

Source: kubernetes.io, Owners and Dependents; upstream metav1.GetControllerOf.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaoskit.model.resource import Obj


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference that controls the object, or None."""
    references = obj["metadata"].get("ownerReferences") or ()
    return next((ref for ref in references if ref.get("controller")), None)


def controller_uid(obj: Obj) -> str:
    """The uid of its controller, or ""."""
    found = controller_of(obj)
    return "" if found is None else str(found.get("uid", ""))


def is_controlled_by(obj: Obj, owner: Obj) -> bool:
    """Whether the owner itself controls it."""
    return controller_uid(obj) == str(owner["metadata"]["uid"])


def replicasets_of(workload: Obj, replicasets: Iterable[Obj]) -> Sequence[Obj]:
    """The ReplicaSets that a Deployment controls, of all its revisions."""
    return [replicaset for replicaset in replicasets if is_controlled_by(replicaset, workload)]


def pods_of(workload: Obj, replicasets: Iterable[Obj], pods: Iterable[Obj]) -> Sequence[Obj]:
    """The pods that a workload controls, itself or through its ReplicaSets."""
    uids = {workload["metadata"]["uid"], *(rs["metadata"]["uid"] for rs in replicasets_of(workload, replicasets))}
    return [pod for pod in pods if controller_uid(pod) in uids]


def roots(workloads: Iterable[Obj]) -> Sequence[Obj]:
    """The workloads that none of the others controls: the Deployments, and ReplicaSets that stand alone."""
    found = list(workloads)
    uids = {workload["metadata"]["uid"] for workload in found}
    return [workload for workload in found if controller_uid(workload) not in uids]


def desired(workload: Obj) -> int:
    """spec.replicas (default 1) of a Deployment, ReplicaSet or StatefulSet."""
    replicas = (workload.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def named(obj: Obj) -> str:
    """namespace/name, for people."""
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])
