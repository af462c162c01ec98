"""Whom a Target means, right now: pods by controller uid chain, their workloads, Services, budgets and nodes. Looks through a View; changes nothing.

A selector alone is never trusted: pods belong to a workload by the uids of their controllers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chaoskit.model.errors import ClusterError, CouldNotRun
from chaoskit.model.resource import Obj, Ref
from chaoskit.model.seams import View
from chaoskit.model.step import Aim
from chaoskit.model.subject import Subject, pruned
from chaoskit.model.target import Target
from chaoskit.semantics.consent import PROTECTED_NAMESPACES, allows
from chaoskit.semantics.owners import controller_of, controller_uid
from chaoskit.semantics.pods import is_active, is_terminating
from chaoskit.semantics.services import selects

_NOT_SERVED = (404, 501)
_FORBIDDEN = 403


async def survey(view: View, target: Target) -> Subject:
    """The subject of a target, pruned. Raises NotFound for a name that is not there, CouldNotRun when nothing fits."""
    pods = await live_pods(view, target)
    namespaces = sorted({pod["metadata"]["namespace"] for pod in pods}) or [target.namespace or "default"]
    if target.namespace is not None:
        namespaces = [target.namespace]
    around = [await _around(view, namespace) for namespace in namespaces]
    everything = [obj for group in around for obj in group]
    workloads = _controllers(pods, [obj for obj in everything if obj["kind"] in _WORKLOADS])
    siblings = _controlled(workloads, [obj for obj in everything if obj["kind"] == "Pod" and is_active(obj)])
    subjects = siblings or list(pods)
    return Subject(
        workloads=tuple(map(pruned, workloads)),
        pods=tuple(map(pruned, subjects)),
        services=tuple(
            pruned(obj) for obj in everything if obj["kind"] == "Service" and any(selects(obj, pod) for pod in subjects)
        ),
        budgets=tuple(pruned(obj) for obj in everything if obj["kind"] == "PodDisruptionBudget"),
        nodes=tuple(map(pruned, await _nodes(view, target))),
    )


async def _nodes(view: View, target: Target) -> Sequence[Obj]:
    """Credentials for one namespace do not reach the nodes. Only a fault that means a node needs them."""
    try:
        return await view.list("Node")
    except ClusterError as error:
        if error.status == _FORBIDDEN and target.kind not in ("node", "node_of"):
            return []
        raise


_WORKLOADS = ("Deployment", "ReplicaSet")


async def _around(view: View, namespace: str) -> Sequence[Obj]:
    kinds = ("Pod", *_WORKLOADS, "Service", "PodDisruptionBudget")
    lists = await asyncio.gather(*(_listed(view, kind, namespace) for kind in kinds))
    return [obj for group in lists for obj in group]


async def _listed(view: View, kind: str, namespace: str) -> Sequence[Obj]:
    try:
        found = await view.list(kind, namespace)
    except ClusterError as error:
        # A cluster may not serve budgets; a survey without them is still true.
        if kind == "PodDisruptionBudget" and error.status in _NOT_SERVED:
            return []
        raise
    return [{**obj, "kind": kind} for obj in found]


async def live_pods(view: View, target: Target) -> Sequence[Obj]:
    """The active, not terminating pods that a target means, by name. Raises NotFound or CouldNotRun; an empty answer is an error."""
    found = await _pods_of(view, target)
    alive = [pod for pod in found if is_active(pod) and not is_terminating(pod)]
    if not alive:
        raise CouldNotRun(f"the target {target} fits no live pod; nothing was touched")
    return sorted(alive, key=lambda pod: (pod["metadata"]["namespace"], pod["metadata"]["name"]))


async def _pods_of(view: View, target: Target) -> Sequence[Obj]:
    namespace = target.namespace or ""
    match target.kind:
        case "pod":
            return [await view.get(Ref("Pod", str(target.pod), namespace))]
        case "selector":
            labels = ",".join(f"{key}={value}" for key, value in (target.selector or {}).items())
            return await view.list("Pod", namespace, labels=labels)
        case "node":
            await view.get(Ref("Node", str(target.node)))
            return await view.list("Pod", fields=f"spec.nodeName={target.node}")
        case "replica_set":
            owner = await view.get(Ref("ReplicaSet", str(target.replica_set), namespace))
            return _owned_by({owner["metadata"]["uid"]}, await view.list("Pod", namespace))
        case _:
            return await _pods_of_deployment(view, str(target.deployment or target.node_of), namespace)


async def _pods_of_deployment(view: View, name: str, namespace: str) -> Sequence[Obj]:
    deployment = await view.get(Ref("Deployment", name, namespace))
    sets = _owned_by({deployment["metadata"]["uid"]}, await view.list("ReplicaSet", namespace))
    return _owned_by({owner["metadata"]["uid"] for owner in sets}, await view.list("Pod", namespace))


def _owned_by(uids: set[str], objects: Sequence[Obj]) -> Sequence[Obj]:
    return [obj for obj in objects if controller_uid(obj) in uids]


def controller_kind(pod: Obj) -> str | None:
    """The kind of the controller that would replace the pod, or None."""
    controller = controller_of(pod)
    return None if controller is None else str(controller["kind"])


def _controllers(pods: Sequence[Obj], workloads: Sequence[Obj]) -> list[Obj]:
    """The workloads above the pods, by uid, all the way up."""
    by_uid = {obj["metadata"]["uid"]: obj for obj in workloads}
    found: dict[str, Obj] = {}
    for obj in pods:
        uid = controller_uid(obj)
        while uid in by_uid and uid not in found:
            found[uid] = by_uid[uid]
            uid = controller_uid(by_uid[uid])
    return list(found.values())


def _controlled(workloads: Sequence[Obj], pods: Sequence[Obj]) -> list[Obj]:
    return list(_owned_by({obj["metadata"]["uid"] for obj in workloads}, pods))


async def pick_pods(view: View, aim: Aim, *salt: object) -> Sequence[Obj]:
    """The victims among the target's pods, drawn without replacement by the aim's seed. Raises CouldNotRun when the pick is more than there are."""
    pods = await live_pods(view, aim.target)
    return _picked(pods, aim, *salt)


def _picked(candidates: Sequence[Obj], aim: Aim, *salt: object) -> Sequence[Obj]:
    pick = aim.target.pick
    if pick == "all":
        return candidates
    if pick == "oldest":
        return sorted(candidates, key=lambda obj: str(obj["metadata"].get("creationTimestamp", "")))[:1]
    count = pick if isinstance(pick, int) else len(candidates) * int(pick.removesuffix("%")) // 100
    if not 1 <= count <= len(candidates):
        raise CouldNotRun(
            f"the target {aim.target} picks {pick} of {len(candidates)}, which is {count}; nothing was touched"
        )
    return aim.rng("pick", *salt).sample(list(candidates), count)


async def pick_nodes(view: View, aim: Aim) -> Sequence[Obj]:
    """The nodes that a node or nodeOf target means; of several those that house the fewest pods of strangers. Raises CouldNotRun when none fits."""
    if aim.target.kind == "node":
        return [await view.get(Ref("Node", str(aim.target.node)))]
    if aim.target.kind != "node_of":
        raise CouldNotRun(f"this fault needs a target of kind node or nodeOf, not {aim.target}")
    names = {pod["spec"]["nodeName"] for pod in await live_pods(view, aim.target) if pod["spec"].get("nodeName")}
    nodes = [node for node in await view.list("Node") if node["metadata"]["name"] in names]
    by_name = sorted(nodes, key=lambda node: str(node["metadata"]["name"]))
    if isinstance(aim.target.pick, int):
        by_name = list(await _cleanest(view, by_name, aim.target))
    return _picked(by_name, aim)


async def _cleanest(view: View, nodes: Sequence[Obj], target: Target) -> Sequence[Obj]:
    """The nodes that as many as are picked can be drawn from: those with the fewest pods that are strangers to the target.

    A stranger lies in another namespace, protected or without an opt-in. DaemonSet pods stay where they are and do not count.
    """
    wanted = int(target.pick)
    if len(nodes) <= wanted:
        return nodes
    housed = [await view.list("Pod", fields=f"spec.nodeName={node['metadata']['name']}") for node in nodes]
    foreign = {pod["metadata"]["namespace"] for pods in housed for pod in pods} - {target.namespace}
    unwilling = {place for place in foreign if not await _willing(view, place)}
    counts = [
        sum(pod["metadata"]["namespace"] in unwilling and controller_kind(pod) != "DaemonSet" for pod in pods)
        for pods in housed
    ]
    limit = sorted(counts)[wanted - 1]
    return [node for node, count in zip(nodes, counts, strict=True) if count <= limit]


async def _willing(view: View, namespace: str) -> bool:
    if namespace in PROTECTED_NAMESPACES:
        return False
    try:
        found = await view.find(Ref("Namespace", namespace))
    except ClusterError as error:
        if error.status != _FORBIDDEN:
            raise
        return False
    return found is not None and allows(found)
