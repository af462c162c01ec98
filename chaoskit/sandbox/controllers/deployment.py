"""Deployment controller: one ReplicaSet per template, sized step by step as the strategy allows.

This module applies what rollout.py, revision.py and progress.py decide: it is the only one of the four that writes. One
reconcile makes at most one move (grow, or shrink) and then publishes the status; the ReplicaSet's answer is the next turn.
Rules: pkg/controller/deployment/deployment_controller.go, rolling.go, recreate.go, sync.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chaoskit.sandbox.controllers import progress as progress_of
from chaoskit.sandbox.controllers.loop import Controller, Key, drive, itself
from chaoskit.sandbox.controllers.ownership import (
    claim,
    concerned_owners,
    controller_of,
    is_controlled_by,
    owner_reference,
)
from chaoskit.sandbox.controllers.revision import REVISION, new_annotations, next_revision, size_annotations
from chaoskit.sandbox.controllers.rollout import (
    Rollout,
    Scale,
    age_of,
    empty_old,
    first_size,
    has_old_pods,
    is_resized,
    is_rolling,
    name_of,
    resize,
    scale_new,
    scale_old,
    size,
    superfluous,
)
from chaoskit.sandbox.controllers.template import HASH_LABEL, is_same_template, template_hash
from chaoskit.sandbox.events import record
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.conditions import conditions_of, find_condition, put_condition
from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.registry import ApiError, Change, Registry, thaw
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "deployment-controller"


def reconcile(registry: Registry, key: Key) -> float | None:
    """Make one Deployment's next move; returns when its progress deadline is due."""
    deployment = registry.find("deployments", *key)
    if deployment is None:
        return None
    if is_deleting(deployment):
        rollout = _survey(registry, deployment)
        return _publish(registry, rollout, progress_of.status_of(rollout, clock.now()))
    condition = progress_of.pause_condition(deployment, clock.now())
    if condition is not None:
        deployment = _put(registry, deployment, condition)
    rollout = _survey(registry, deployment)
    if deployment["spec"].get("paused") or is_resized(rollout):
        return _resize(registry, rollout)
    return _roll(registry, rollout) if is_rolling(deployment) else _recreate(registry, rollout)


def _survey(registry: Registry, deployment: Obj) -> Rollout:
    """The Deployment with its ReplicaSets, the new one marked with its revision if it exists already."""
    owned = sorted(claim(registry, deployment, "replicasets", ACTOR), key=age_of)
    template = deployment["spec"]["template"]
    new = next((each for each in owned if is_same_template(each["spec"]["template"], template)), None)
    old = tuple(each for each in owned if each is not new)
    if new is None or is_deleting(deployment):
        return Rollout(deployment, new, old)
    return _reuse(registry, Rollout(deployment, new, old))


def _reuse(registry: Registry, rollout: Rollout) -> Rollout:
    """Carry annotations, revision and minReadySeconds over to the ReplicaSet that has this template."""
    assert rollout.new is not None
    deployment = rollout.deployment
    fresh = thaw(rollout.new)
    existing = fresh["metadata"].get("annotations") or {}
    fresh["metadata"]["annotations"] = new_annotations(deployment, existing, next_revision(rollout.old), fresh=False)
    fresh["spec"]["minReadySeconds"] = deployment["spec"].get("minReadySeconds", 0)
    new = rollout.new
    if fresh["metadata"] != new["metadata"] or fresh["spec"]["minReadySeconds"] != new["spec"].get(
        "minReadySeconds", 0
    ):
        new = registry.update("replicasets", *_address(new), fresh, actor=ACTOR)
    deployment = _note_revision(registry, deployment, new["metadata"]["annotations"][REVISION])
    if progress_of.has_deadline(deployment) and find_condition(conditions_of(deployment), "Progressing") is None:
        text = f'Found new replica set "{name_of(new)}"'
        deployment = _put(registry, deployment, _progressing("FoundNewReplicaSet", text))
    return Rollout(deployment, new, rollout.old)


def _roll(registry: Registry, rollout: Rollout) -> float | None:
    rollout = _with_new(registry, rollout)
    if not _scale(registry, rollout, scale_new(rollout)) and not _scale(registry, rollout, scale_old(rollout)):
        _clean(registry, rollout)
    return _publish_progress(registry, rollout)


def _recreate(registry: Registry, rollout: Rollout) -> float | None:
    if _scale(registry, rollout, empty_old(rollout)) or has_old_pods(rollout, _pods_of(registry, rollout.old)):
        return _publish_progress(registry, rollout)
    rollout = _with_new(registry, rollout)
    if not _scale(registry, rollout, scale_new(rollout)):
        _clean(registry, rollout)
    return _publish_progress(registry, rollout)


def _resize(registry: Registry, rollout: Rollout) -> float | None:
    _scale(registry, rollout, resize(rollout))
    _annotate_sizes(registry, rollout)
    if rollout.deployment["spec"].get("paused"):
        _clean(registry, rollout)
    rollout = _again(registry, rollout)
    return _publish(registry, rollout, progress_of.status_of(rollout, clock.now()))


def _with_new(registry: Registry, rollout: Rollout) -> Rollout:
    return rollout if rollout.new is not None else _create_new(registry, rollout)


def _create_new(registry: Registry, rollout: Rollout) -> Rollout:
    """Make the ReplicaSet of the current template, sized as the surge allows, and say so in the Deployment."""
    deployment = rollout.deployment
    fresh = new_replicaset(rollout)
    try:
        new = registry.create("replicasets", deployment["metadata"]["namespace"], fresh, actor=ACTOR)
    except ApiError as error:
        _note_refusal(registry, deployment, fresh, error)
        raise
    if size(new) > 0:
        _tell(registry, deployment, f"Scaled up replica set {name_of(new)} from 0 to {size(new)}")
    deployment = _note_revision(registry, deployment, new["metadata"]["annotations"][REVISION])
    if progress_of.has_deadline(deployment):
        text = f'Created new replica set "{name_of(new)}"'
        deployment = _put(registry, deployment, _progressing("NewReplicaSetCreated", text))
    return Rollout(deployment, new, rollout.old)


def new_replicaset(rollout: Rollout) -> Obj:
    """The ReplicaSet for the Deployment's current template. Pure."""
    deployment = thaw(rollout.deployment)
    spec, metadata = deployment["spec"], deployment["metadata"]
    template = spec["template"]
    mark = {HASH_LABEL: template_hash(template, deployment.get("status", {}).get("collisionCount", 0))}
    template["metadata"] = {key: value for key, value in (template.get("metadata") or {}).items() if value is not None}
    template["metadata"]["labels"] = (template["metadata"].get("labels") or {}) | mark
    selector = spec["selector"] | {"matchLabels": (spec["selector"].get("matchLabels") or {}) | mark}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{mark[HASH_LABEL]}",
            "namespace": metadata["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": new_annotations(deployment, {}, next_revision(rollout.old), fresh=True),
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": first_size(rollout),
            "minReadySeconds": spec.get("minReadySeconds", 0),
            "selector": selector,
            "template": template,
        },
    }


def _note_refusal(registry: Registry, deployment: Obj, fresh: Obj, error: ApiError) -> None:
    """A name that is taken by something else: count a collision, the next hash differs. Else say why nothing came."""
    existing = registry.find("replicasets", *_address(fresh)) if error.status.get("code") == 409 else None
    if existing is not None and not is_controlled_by(existing, deployment["metadata"]["uid"]):
        changed = thaw(deployment)
        changed.setdefault("status", {})["collisionCount"] = changed["status"].get("collisionCount", 0) + 1
        registry.update("deployments", *_address(deployment), changed, actor=ACTOR, subresource="status")
        return
    message = f'Failed to create new replica set "{name_of(fresh)}": {error.status.get("message", error)}'
    if progress_of.has_deadline(deployment):
        now_s = clock.now()
        condition = progress_of.deployment_condition("Progressing", "False", "ReplicaSetCreateError", message, now_s)
        _put(registry, deployment, condition)
    record(registry, deployment, "Warning", "ReplicaSetCreateError", message, ACTOR)


def _scale(registry: Registry, rollout: Rollout, scales: Sequence[Scale]) -> bool:
    """Apply the moves; True when there were any."""
    for scale in scales:
        replicaset = next(each for each in rollout.all if name_of(each) == scale.name)
        fresh = thaw(replicaset)
        fresh["spec"]["replicas"] = scale.replicas
        fresh["metadata"]["annotations"] = (fresh["metadata"].get("annotations") or {}) | size_annotations(
            rollout.deployment
        )
        registry.update("replicasets", *_address(replicaset), fresh, actor=ACTOR)
        way = "up" if scale.replicas > size(replicaset) else "down"
        text = f"Scaled {way} replica set {scale.name} from {size(replicaset)} to {scale.replicas}"
        _tell(registry, rollout.deployment, text)
    return bool(scales)


def _annotate_sizes(registry: Registry, rollout: Rollout) -> None:
    """After a change of spec.replicas every active ReplicaSet knows the new size, or it would look resized for ever."""
    sizes = size_annotations(rollout.deployment)
    for replicaset in _again(registry, rollout).all:
        told = replicaset["metadata"].get("annotations") or {}
        if size(replicaset) > 0 and not sizes.items() <= told.items():
            fresh = thaw(replicaset)
            fresh["metadata"]["annotations"] = told | sizes
            registry.update("replicasets", *_address(replicaset), fresh, actor=ACTOR)


def _clean(registry: Registry, rollout: Rollout) -> None:
    paused = rollout.deployment["spec"].get("paused")
    if not paused and not progress_of.is_complete(rollout.deployment, progress_of.status_of(rollout, clock.now())):
        return
    for replicaset in superfluous(rollout):
        registry.delete("replicasets", *_address(replicaset), actor=ACTOR, uid=replicaset["metadata"]["uid"])


def _publish_progress(registry: Registry, rollout: Rollout) -> float | None:
    now_s = clock.now()
    rollout = _again(registry, rollout)
    return _publish(registry, rollout, progress_of.with_progress(rollout, progress_of.status_of(rollout, now_s), now_s))


def _publish(registry: Registry, rollout: Rollout, status: Obj) -> float | None:
    deployment = rollout.deployment
    if status != deployment.get("status"):
        fresh = thaw(deployment) | {"status": status}
        registry.update("deployments", *_address(deployment), fresh, actor=ACTOR, subresource="status")
    return progress_of.deadline_in(deployment, status, clock.now())


def _again(registry: Registry, rollout: Rollout) -> Rollout:
    """The same rollout as it is stored now."""
    old = tuple(found for each in rollout.old if (found := registry.find("replicasets", *_address(each))) is not None)
    new = None if rollout.new is None else registry.find("replicasets", *_address(rollout.new))
    return Rollout(registry.get("deployments", *_address(rollout.deployment)), new, old)


def _put(registry: Registry, deployment: Obj, condition: Obj) -> Obj:
    fresh = thaw(deployment)
    fresh.setdefault("status", {})["conditions"] = put_condition(conditions_of(deployment), condition)
    return registry.update("deployments", *_address(deployment), fresh, actor=ACTOR, subresource="status")


def _note_revision(registry: Registry, deployment: Obj, revision: str) -> Obj:
    told = deployment["metadata"].get("annotations") or {}
    if told.get(REVISION) == revision:
        return deployment
    fresh = thaw(deployment)
    fresh["metadata"]["annotations"] = told | {REVISION: revision}
    return registry.update("deployments", *_address(deployment), fresh, actor=ACTOR, subresource="status")


def _progressing(reason: str, text: str) -> Obj:
    return progress_of.deployment_condition("Progressing", "True", reason, text, clock.now())


def _tell(registry: Registry, deployment: Obj, text: str) -> None:
    record(registry, deployment, "Normal", "ScalingReplicaSet", text, ACTOR)


def _address(obj: Obj) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _pods_of(registry: Registry, replicasets: Sequence[Obj]) -> list[Obj]:
    return [pod for each in replicasets for kind, pod in registry.owned(each["metadata"]["uid"]) if kind == "pods"]


def _of_replicaset(registry: Registry, change: Change) -> list[Key]:
    return concerned_owners(registry, change, "Deployment", "deployments")


def _of_pod(registry: Registry, change: Change) -> list[Key]:
    """Recreate waits for old pods to be gone: their end concerns the Deployment above their ReplicaSet."""
    reference = controller_of(change.obj)
    gone = change.type == "DELETED" or change.obj.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if not gone or reference is None or reference["kind"] != "ReplicaSet":
        return []
    namespace = change.obj["metadata"]["namespace"]
    replicaset = registry.find("replicasets", namespace, reference["name"])
    owner = None if replicaset is None else controller_of(replicaset)
    return [] if owner is None else [(namespace, owner["name"])]


CONTROLLER = Controller(
    "deployment", {"deployments": itself, "replicasets": _of_replicaset, "pods": _of_pod}, reconcile
)


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(CONTROLLER, registry)
