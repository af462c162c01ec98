"""Where a run keeps what it must not forget: the target's namespace, or for nodes a namespace of our own. Makes that namespace where it may."""

from __future__ import annotations

from chaoskit.cluster.mark import OWN_LABELS
from chaoskit.model.errors import ClusterError, CouldNotRun
from chaoskit.model.plan import Plan
from chaoskit.model.resource import Ref, resource_of
from chaoskit.model.seams import Cluster
from chaoskit.semantics.owners import roots

STATE_NAMESPACE = "chaoskit"
"""The default of --state-namespace."""


def touches_nodes(plan: Plan) -> bool:
    """Whether a step of the plan touches what lies in no namespace."""
    return any(not resource_of(step.do.ref.kind).namespaced for stage in plan.foreseen for step in stage.steps)


def home_of(plan: Plan, state_namespace: str) -> str:
    """The namespace of a run's record."""
    return state_namespace if touches_nodes(plan) else plan.aim.target.namespace or state_namespace


def targets_of(plan: Plan, state_namespace: str) -> dict[str, str]:
    """What one runner at a time may touch, and the namespace of its lease: each node, else each workload of the subject."""
    nodes = {step.do.ref.name for stage in plan.foreseen for step in stage.steps if step.do.ref.kind == "Node"}
    if nodes:
        return {f"node {name}": state_namespace for name in sorted(nodes)}
    found = {
        f"{obj['kind'].lower()} {obj['metadata']['namespace']}/{obj['metadata']['name']}": obj["metadata"]["namespace"]
        for obj in roots(plan.subject.workloads)
    }
    return dict(sorted(found.items())) or {str(plan.aim.target): plan.aim.target.namespace or state_namespace}


async def provided(cluster: Cluster, namespace: str) -> None:
    """See that our own namespace is there. Raises CouldNotRun with the ways out when it is not and may not be made."""
    try:
        there = await cluster.find(Ref("Namespace", namespace))
    except ClusterError as error:
        if error.status != 403:
            raise
        return  # not even to be looked at: then a write into it tells
    if there is not None:
        return
    try:
        await cluster.keep({"kind": "Namespace", "metadata": {"name": namespace, "labels": dict(OWN_LABELS)}})
    except ClusterError as error:
        raise CouldNotRun(
            f"the namespace {namespace!r}, where what must be put back is written down, does not exist and cannot be made "
            f"({error}); create it, or name another with --state-namespace"
        ) from error
