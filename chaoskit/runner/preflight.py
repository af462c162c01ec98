"""What speaks against a run before it begins, found by looking: leftovers, rollouts, budgets, autoscalers, room, rights, a rehearsal. Changes nothing.

A finding that blocks keeps the run from beginning; the others are told. The steady state is not looked at here: the baseline measures it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

from chaoskit.model.errors import ClusterError, CouldNotRun
from chaoskit.model.experiment import Experiment
from chaoskit.model.operation import Create, Evict, Operation, Right, describe
from chaoskit.model.plan import Caveat, Plan
from chaoskit.model.resource import Obj, ref_of
from chaoskit.model.seams import Reply, View
from chaoskit.model.step import Stage, Step
from chaoskit.runner.recover import find_leftovers
from chaoskit.runner.rights import Needs
from chaoskit.semantics.capacity import homeless
from chaoskit.semantics.nodes import takes
from chaoskit.semantics.owners import desired, named, roots
from chaoskit.semantics.pods import is_active, is_true
from chaoskit.semantics.selectors import labels_of, matches

_GITOPS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
"""Labels and annotations by which these tools know what is theirs. Sources: Argo CD, Resource Tracking; Flux, Kustomization and HelmRelease labels."""

_SCALED_NODES = {
    "karpenter.sh/nodepool": "Karpenter",
    "karpenter.sh/provisioner-name": "Karpenter",
    "eks.amazonaws.com/nodegroup": "an autoscaling group",
    "cloud.google.com/gke-nodepool": "a GKE node pool",
    "kubernetes.azure.com/agentpool": "an AKS node pool",
}
"""Labels of nodes that a machine may add and take away."""


Look: TypeAlias = AsyncGenerator[Caveat, None]


class Examined(View, Protocol):
    """What the preflight asks of a cluster."""

    async def missing(self, rights: frozenset[Right]) -> list[Right]: ...

    async def rehearsed(self, op: Operation, mark: str) -> Reply | None: ...

    async def rehearsed_undo(self, undo: Operation) -> Reply | None: ...


async def preflight(experiment: Experiment, plan: Plan, cluster: Examined) -> tuple[Caveat, ...]:
    """All that was found, what blocks first. Raises nothing that a look met: what could not be looked at is a finding too."""
    looks = (
        leftovers(experiment, plan, cluster),
        _rollouts(plan, cluster),
        _budgets(plan, cluster),
        _autoscalers(plan, cluster),
        _gitops(plan, cluster),
        _nodes(plan, cluster),
        _rehearsal(plan, cluster),
    )
    found = [caveat for group in await asyncio.gather(*map(_looked, looks)) for caveat in group]
    return tuple(sorted(dict.fromkeys(found), key=lambda caveat: not caveat.blocks))


async def _looked(look: Look) -> Sequence[Caveat]:
    try:
        return [caveat async for caveat in look]
    except ClusterError as error:
        return [Caveat(f"could not look: {error}")]


def refuse_blocked(caveats: Iterable[Caveat]) -> None:
    """Raises CouldNotRun with everything that blocks."""
    blocking = [str(caveat) for caveat in caveats if caveat.blocks]
    if blocking:
        raise CouldNotRun(f"nothing was touched: {' | '.join(blocking)}")


def _all_steps(stages: Iterable[Stage]) -> Iterator[Step]:
    return (step for stage in stages for step in stage.steps)


# -- rights ------------------------------------------------------------------------------------------------------------------


async def lacking(needed: Needs, cluster: Examined) -> tuple[Caveat, ...]:
    """The rights that these credentials lack: asked one by one, for a listing of rights may be incomplete."""
    missing = set(await cluster.missing(needed.all))
    must, wished = sorted(missing & needed.must, key=str), sorted(missing - needed.must, key=str)
    found = []
    if must:
        fix = "`chaoskit rbac FILE` prints the role that grants what is needed"
        found.append(Caveat(f"these rights are missing: {', '.join(map(in_words, must))}", blocks=True, fix=fix))
    if wished:
        found.append(Caveat(f"without these rights less is looked at and told: {', '.join(map(in_words, wished))}"))
    return tuple(found)


def in_words(right: Right) -> str:
    """A right, for people: "delete pods in shop"."""
    return f"{right.verb} {right.resource}" + (f" in {right.namespace}" if right.namespace else " cluster-wide")


# -- what is going on here ---------------------------------------------------------------------------------------------------


async def leftovers(experiment: Experiment, plan: Plan, view: View) -> Look:
    """What earlier runs left: what would be measured is not the application as it is meant to be. This run's own setup is none of it."""
    namespace = experiment.target.namespace or "default"
    marked, _ = await find_leftovers(view, namespace)
    found = [left for left in marked if left.run != plan.aim.run]
    if found:
        runs = ", ".join(sorted({left.run for left in found}))
        fix = f"put them back first: chaoskit recover --context {plan.context} -n {namespace}"
        yield Caveat(f"{len(found)} leftovers of earlier runs are here ({runs})", blocks=True, fix=fix)


async def _rollouts(plan: Plan, view: View) -> Look:
    for workload in roots(plan.subject.workloads):
        live = await view.find(ref_of(workload))
        if live is not None and (why := _rolling(live)):
            what = f"{workload['kind'].lower()} {named(workload)} is not at rest: {why}"
            yield Caveat(what, blocks=True, fix="wait until its rollout is complete")


def _rolling(workload: Obj) -> str:
    """Why a workload is not at rest, "" when it is. Source: kubectl, polymorphichelpers rollout_status."""
    status = workload.get("status") or {}
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return "its controller has not seen its latest change"
    wanted = desired(workload)
    if workload["kind"] == "Deployment" and status.get("updatedReplicas", 0) < wanted:
        return f"{status.get('updatedReplicas', 0)} of {wanted} replicas are of the newest template"
    if status.get("replicas", 0) > wanted:
        return f"{status['replicas'] - wanted} surplus replicas are still there"
    ready = status.get("readyReplicas", 0)
    return f"{ready} of {wanted} replicas are ready" if ready < wanted else ""


async def _budgets(plan: Plan, view: View) -> Look:
    evicted = [step for step in _all_steps(plan.foreseen) if isinstance(step.do, Evict)]
    for namespace in sorted({step.do.ref.namespace for step in evicted}):
        pods = {pod["metadata"]["uid"]: pod for pod in await view.list("Pod", namespace)}
        budgets = await _served(view, "PodDisruptionBudget", namespace)
        for step in evicted:
            pod = pods.get(step.do.ref.uid)
            if pod is not None:
                for caveat in _budgeted(step, pod, budgets):
                    yield caveat


def _budgeted(step: Step, pod: Obj, budgets: Sequence[Obj]) -> Iterator[Caveat]:
    mine = [budget for budget in budgets if matches((budget.get("spec") or {}).get("selector"), labels_of(pod))]
    if len(mine) > 1:
        names = ", ".join(named(budget) for budget in mine)
        yield Caveat(
            f"{step.do.ref} falls under several budgets ({names}): the server refuses every eviction of it (500)"
        )
    for budget in mine:
        status = budget.get("status") or {}
        if status.get("disruptionsAllowed", 0) == 0:
            forever = "never" if _never(budget, status) else "not now"
            yield Caveat(
                f"budget {named(budget)} allows {forever} that one of its pods is evicted: the eviction of {step.do.ref} will be refused "
                f"(429) and asked again for {step.patience_s:g} s"
            )


def _never(budget: Obj, status: Obj) -> bool:
    """Whether no pod may be missing even when all are healthy."""
    return int(status.get("desiredHealthy", 0)) >= int(status.get("expectedPods", 0)) and not (
        budget.get("spec") or {}
    ).get("unhealthyPodEvictionPolicy")


async def _served(view: View, kind: str, namespace: str) -> Sequence[Obj]:
    try:
        return await view.list(kind, namespace)
    except ClusterError as error:
        if error.status in (404, 501):
            return ()
        raise


async def _autoscalers(plan: Plan, view: View) -> Look:
    scaled = {(workload["kind"], named(workload)) for workload in roots(plan.subject.workloads)}
    for namespace in plan.subject.namespaces:
        for scaler in await _served(view, "HorizontalPodAutoscaler", namespace):
            spec = scaler.get("spec") or {}
            of = spec.get("scaleTargetRef") or {}
            if (of.get("kind"), f"{namespace}/{of.get('name')}") in scaled:
                limits = f"between {spec.get('minReplicas', 1)} and {spec.get('maxReplicas', '?')} replicas"
                yield Caveat(
                    f"autoscaler {named(scaler)} keeps {str(of['kind']).lower()} {of['name']} {limits}: it may change them during the run"
                )


async def _gitops(plan: Plan, view: View) -> Look:
    patched = [step.do.ref for step in _all_steps(plan.foreseen) if step.do.ref.kind not in ("Pod", "Node")]
    for ref in dict.fromkeys([*(ref_of(obj) for obj in roots(plan.subject.workloads)), *patched]):
        live = await view.find(ref)
        meta = {} if live is None else live["metadata"]
        marks = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
        for tool in sorted({tool for mark, tool in _GITOPS.items() if mark in marks}):
            yield Caveat(f"{ref} is kept by {tool}: it may put back a change of ours before we do")


# -- nodes -------------------------------------------------------------------------------------------------------------------


async def _nodes(plan: Plan, view: View) -> Look:
    touched = {step.do.ref.name for step in _all_steps(plan.foreseen) if step.do.ref.kind == "Node"}
    if not touched:
        return
    nodes = await view.list("Node")
    for node in nodes:
        name = node["metadata"]["name"]
        if name in touched and not is_true(node, "Ready") and (node.get("status") or {}).get("conditions"):
            yield Caveat(f"node {name} is not Ready", blocks=True, fix="choose another, or wait")
        if name in touched:
            for tool in sorted({tool for label, tool in _SCALED_NODES.items() if label in labels_of(node)}):
                yield Caveat(f"node {name} is one of {tool}: an autoscaler may replace it during the run")
    for caveat in await _room(plan, view, nodes, touched):
        yield caveat


async def _room(plan: Plan, view: View, nodes: Sequence[Obj], touched: set[str]) -> Sequence[Caveat]:
    evicted = {step.do.ref.uid for step in _all_steps(plan.foreseen) if isinstance(step.do, Evict)}
    if not evicted:
        return ()
    pods = [pod for pod in await view.list("Pod") if is_active(pod)]
    moving = [pod for pod in pods if pod["metadata"]["uid"] in evicted]
    others = [node for node in nodes if node["metadata"]["name"] not in touched]
    left = homeless(moving, others, [pod for pod in pods if pod["metadata"]["uid"] not in evicted])
    if not left:
        return ()
    why = (
        "no other node takes it"
        if not any(takes(node, left[0]) for node in others)
        else "the others have too little room"
    )
    names = ", ".join(named(pod) for pod in left)
    return [Caveat(f"{len(left)} of {len(moving)} evicted pods will find no place ({names}): {why}")]


# -- rehearsal ---------------------------------------------------------------------------------------------------------------

_MARK = "preflight/rehearsal"


async def _rehearsal(plan: Plan, cluster: Examined) -> Look:
    for step in _all_steps(plan.foreseen):
        # What is created by this run bears its mark already now, so that admission sees what it will see.
        mark = f"{plan.aim.run}/rehearsal" if isinstance(step.do, Create) else _MARK
        for reply, what in (
            (await cluster.rehearsed(step.do, mark), describe(step.do)),
            (
                None if step.undo is None else await cluster.rehearsed_undo(step.undo),
                f"put back what that did to {step.do.ref}",
            ),
        ):
            if reply is not None and reply.status >= 300 and (caveat := _refused(step.do, what, reply)) is not None:
                yield caveat


def _refused(op: Operation, what: str, reply: Reply) -> Caveat | None:
    words = str(reply.body.get("message") or f"HTTP {reply.status}")
    if reply.status == 429 and isinstance(op, Evict):
        return None  # the budgets say it better
    if reply.status == 400 and "dry run" in words.lower():
        return Caveat(f"{what} cannot be rehearsed: {words}")
    return Caveat(f"the server would refuse to {what} ({reply.status}): {words}", blocks=True)
