"""The limits of the blast radius, checked on the resolved plan and again before it is carried out. Refuses with the list; never widens.

Protected always: the namespaces of the cluster itself, and control-plane nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaoskit.model.errors import CouldNotRun
from chaoskit.model.experiment import Guards
from chaoskit.model.resource import Obj, Ref
from chaoskit.model.step import Stage
from chaoskit.model.subject import Subject
from chaoskit.semantics.owners import pods_of, roots
from chaoskit.semantics.pods import is_ready, is_terminating

PROTECTED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})

_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


def check_guards(guards: Guards, subject: Subject, foreseen: Sequence[Stage]) -> None:
    """Raises CouldNotRun when the foreseen steps would touch what is protected or more than the guards allow."""
    touched = [step.do.ref for stage in foreseen for step in stage.steps]
    _refuse_protected(touched, subject.nodes)
    pods = {ref.uid for ref in touched if ref.kind == "Pod"}
    nodes = {ref.name for ref in touched if ref.kind == "Node"}
    if guards.max_pods is not None and len(pods) > guards.max_pods:
        raise CouldNotRun(f"refused: {len(pods)} pods would be touched, guards.maxPods is {guards.max_pods}")
    if len(nodes) > guards.max_nodes:
        raise CouldNotRun(f"refused: {len(nodes)} nodes would be touched, guards.maxNodes is {guards.max_nodes}")
    _keep_ready(guards.min_ready, subject, pods)


def _refuse_protected(touched: Iterable[Ref], nodes: Sequence[Obj]) -> None:
    protected = [str(ref) for ref in touched if ref.namespace in PROTECTED_NAMESPACES]
    control = {
        node["metadata"]["name"]
        for node in nodes
        if any(key in (node["metadata"].get("labels") or {}) for key in _CONTROL_PLANE)
    }
    protected += [str(ref) for ref in touched if ref.kind == "Node" and ref.name in control]
    if protected:
        raise CouldNotRun(
            f"refused: these are protected and would be touched: {', '.join(sorted(protected))}; choose another target, "
            "for a drain a node without pods of the kube- namespaces (target: {node: NAME})"
        )


def _keep_ready(min_ready: int, subject: Subject, touched: set[str]) -> None:
    for workload in roots(subject.workloads):
        pods = pods_of(workload, subject.workloads, subject.pods)
        mine = [pod for pod in pods if pod["metadata"]["uid"] in touched]
        kept = [
            pod for pod in pods if pod["metadata"]["uid"] not in touched and is_ready(pod) and not is_terminating(pod)
        ]
        if mine and len(kept) < min_ready:
            meta = workload["metadata"]
            raise CouldNotRun(
                f"refused: {len(kept)} ready pods of {workload['kind'].lower()} {meta['namespace']}/{meta['name']} would be left untouched, "
                f"guards.minReady is {min_ready}; set guards.minReady to {len(kept)} if that is what you want to find out"
            )
