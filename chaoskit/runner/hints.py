"""Advice before a run: objectives tighter than the workload's own settings allow, and holds too short to decide a promise. Never a verdict.

Pure: reads an experiment and a Subject, live or as manifests describe it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaoskit.model.experiment import Experiment
from chaoskit.model.resource import Obj
from chaoskit.model.seams import SLO
from chaoskit.model.subject import Subject
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Bound
from chaoskit.semantics.bounds import notices_liveness_bound, notices_readiness_bound
from chaoskit.semantics.services import selects

_NOTICED_BY = {"returnsToService": notices_readiness_bound, "restartedInPlace": notices_liveness_bound}
"""Promises of faults that a probe has to notice, and how late it may."""


def hints(experiment: Experiment, subject: Subject, promises: Sequence[SLO]) -> tuple[str, ...]:
    """The advice, each in one sentence."""
    pods = subject.victim_pods() or subject.pods
    return (*_too_tight(experiment, subject, pods, promises), *_too_short(experiment, pods, promises))


def _too_tight(experiment: Experiment, subject: Subject, pods: Sequence[Obj], promises: Sequence[SLO]) -> Iterator[str]:
    floor = _floor(experiment, subject, pods)
    if floor is None:
        return
    for slo in promises:
        limit = _limit_s(slo)
        if limit is not None and limit < floor.seconds:
            yield (
                f"{slo} is tighter than the workload's own probe allows: until it has noticed and the Service has followed may take {floor}"
            )


def _floor(experiment: Experiment, subject: Subject, pods: Sequence[Obj]) -> Bound | None:
    """How long Kubernetes may take to act on this fault, where a probe has to notice it."""
    tested = {slo.kind for slo in experiment.fault.promises(subject)}
    bounds = [bound for kind, notices in _NOTICED_BY.items() if kind in tested for bound in map(notices, pods)]
    return max((bound for bound in bounds if bound is not None), key=lambda bound: bound.seconds, default=None)


_TIMES = frozenset({"recoveredWithin", "longestOutage", "totalOutage", "detectedWithin"})


def _limit_s(slo: SLO) -> float | None:
    """The time that an objective about interruptions allows."""
    if slo.kind not in _TIMES or getattr(slo, "by", "kubernetes") != "kubernetes":
        return None
    objective = getattr(slo, "objective", None)
    return float(getattr(slo, "within", 0.0) if objective is None else objective.value)


def _too_short(experiment: Experiment, pods: Sequence[Obj], promises: Sequence[SLO]) -> Iterator[str]:
    hold = experiment.phases.hold
    for slo in promises:
        notices = _NOTICED_BY.get(slo.kind)
        bounds = [] if notices is None else [bound for bound in map(notices, pods) if bound is not None]
        needed = max(bounds, key=lambda bound: bound.seconds, default=None)
        if needed is not None and hold < needed.seconds:
            yield f"phases.hold of {render_seconds(hold)} is shorter than {slo.kind} may need to be decided: {needed}"


def subject_of(experiment: Experiment, manifests: Sequence[Obj]) -> Subject:
    """The target as its manifests describe it: what can be advised without a cluster. Pods are those that the templates would make."""
    namespace, wanted = experiment.target.namespace, experiment.target.deployment or experiment.target.node_of
    mine = [obj for obj in manifests if obj.get("metadata", {}).get("namespace", namespace) == namespace]
    deployments = [obj for obj in mine if obj.get("kind") == "Deployment" and obj["metadata"]["name"] == wanted]
    workloads = tuple(_with_meta(obj, namespace, str(n)) for n, obj in enumerate(deployments))
    pods = tuple(_pod_of(workload, namespace) for workload in workloads)
    services = [_with_meta(obj, namespace, obj["metadata"]["name"]) for obj in mine if obj.get("kind") == "Service"]
    behind = tuple(service for service in services if any(selects(service, pod) for pod in pods))
    return Subject(workloads, pods, behind)


def _with_meta(obj: Obj, namespace: str | None, uid: str) -> Obj:
    return {**obj, "metadata": {"namespace": namespace or "default", **obj["metadata"], "uid": uid}}


def _pod_of(workload: Obj, namespace: str | None) -> Obj:
    template = workload["spec"]["template"]
    owner = {
        "kind": workload["kind"],
        "name": workload["metadata"]["name"],
        "uid": workload["metadata"]["uid"],
        "controller": True,
    }
    meta = {
        "namespace": namespace or "default",
        **(template.get("metadata") or {}),
        "name": workload["metadata"]["name"],
        "uid": f"pod-{workload['metadata']['uid']}",
        "ownerReferences": [owner],
    }
    return {"kind": "Pod", "metadata": meta, "spec": template["spec"], "status": {}}
