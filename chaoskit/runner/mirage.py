"""A cluster that is not there: just what an experiment's target names, so that its fault can be driven without one. Answers looks; has nothing to change.

What it shows is the plainest thing the target can mean: ready pods of one ReplicaSet of one Deployment, on two nodes, behind one Service.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from chaoskit.model.errors import NotFound
from chaoskit.model.experiment import Experiment
from chaoskit.model.resource import Json, Obj, Ref
from chaoskit.model.seams import Listed, Sight
from chaoskit.model.step import Condition
from chaoskit.semantics.consent import ALLOW_LABEL

_PODS = 100
"""So many that every percentage of them is at least one."""

_READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


class Mirage:
    """A `model.seams.View` of what an experiment speaks of."""

    def __init__(self, experiment: Experiment) -> None:
        self.objects: Mapping[Ref, Obj] = {_key(obj): obj for obj in _objects(experiment)}

    async def get(self, ref: Ref) -> Obj:
        """Raises NotFound for what the experiment does not speak of."""
        found = await self.find(ref)
        if found is None:
            raise NotFound(f"{ref} is not named by the experiment")
        return found

    async def find(self, ref: Ref) -> Obj | None:
        return self.objects.get(Ref(ref.kind, ref.name, ref.namespace))

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[Obj]:
        return [
            obj
            for key, obj in self.objects.items()
            if key.kind == kind and namespace in ("", key.namespace) and _fits(obj, labels, fields)
        ]

    async def watch(self, kind: str, namespace: str = "", *, labels: str = "") -> AsyncIterator[Sight]:
        yield Listed(0, kind)

    async def holds(self, condition: Condition) -> bool:
        return True


def _key(obj: Obj) -> Ref:
    return Ref(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", ""))


def _fits(obj: Obj, labels: str, fields: str) -> bool:
    own = obj["metadata"].get("labels") or {}
    return all(own.get(key) == value for key, value in _pairs(labels)) and all(
        str(_at(obj, key)) == value for key, value in _pairs(fields)
    )


def _pairs(selector: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, selector.split(",")):
        key, _, value = part.partition("=")
        yield key, value


def _at(obj: Obj, path: str) -> Json:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _objects(experiment: Experiment) -> Iterator[Obj]:
    target = experiment.target
    space, app = target.namespace or "default", target.deployment or target.node_of or "app"
    nodes = [target.node or "node-1", "node-2"]
    labels = {"app": app, **(target.selector or {})}
    yield _obj("Namespace", space, "", labels={ALLOW_LABEL: "true"})
    for name in nodes:
        yield _obj("Node", name, "", spec={}, status=_READY)
    spec = {"replicas": _PODS, "selector": {"matchLabels": labels}, "template": _template(experiment, labels)}
    yield (deployment := _obj("Deployment", app, space, labels=labels, spec=spec, status={"observedGeneration": 1}))
    name = target.replica_set or f"{app}-1"
    yield (owned := _obj("ReplicaSet", name, space, owner=deployment, labels=labels, spec=spec))
    for number in range(_PODS):
        named = target.pod if target.pod is not None and number == 0 else f"{app}-1-{number}"
        pod_spec = {**spec["template"]["spec"], "nodeName": nodes[number % 2]}
        yield _obj("Pod", named, space, owner=owned, labels=labels, spec=pod_spec, status=_READY)
    if experiment.traffic is not None and experiment.traffic.service is not None:
        ports = [{"port": 80, "targetPort": 80, "nodePort": 30000}]
        yield _obj("Service", experiment.traffic.service, space, spec={"selector": labels, "ports": ports})


def _template(experiment: Experiment, labels: Mapping[str, str]) -> Any:
    # A fault may name the container it means; whichever that is, it is there.
    name = getattr(experiment.fault, "container", None) or "app"
    probe = {"httpGet": {"path": "/", "port": 80}}
    container = {"name": name, "image": "app", "livenessProbe": probe, "readinessProbe": probe}
    return {
        "metadata": {"labels": labels, "annotations": _SWITCHES},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 30},
    }


_SWITCHES = {"chaoskit.dev/switch-port": "9090"}


def _obj(
    kind: str,
    name: str,
    namespace: str,
    *,
    owner: Obj | None = None,
    labels: Mapping[str, str] | None = None,
    **rest: Json,
) -> Obj:
    meta: dict[str, Json] = {"name": name, "uid": f"{kind}/{name}", "labels": dict(labels or {}), "generation": 1}
    if kind == "Pod":
        meta["annotations"] = _SWITCHES
    if namespace:
        meta["namespace"] = namespace
    if owner is not None:
        above = owner["metadata"]
        meta["ownerReferences"] = [
            {"kind": owner["kind"], "name": above["name"], "uid": above["uid"], "controller": True}
        ]
    return {"kind": kind, "metadata": meta, **rest}
