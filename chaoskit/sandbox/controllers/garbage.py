"""Garbage collector: deletes what has lost its owners, and carries out foreground and orphan deletions.

Owners are looked up by uid: a new object of the same name is not the owner. It never deletes an object without owner
references. Rules: pkg/controller/garbagecollector/garbagecollector.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.sandbox.controllers.loop import Controller, Key, drive
from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.registry import ApiError, Change, Registry, thaw
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "generic-garbage-collector"
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


@dataclass(frozen=True, slots=True)
class Owners:
    """An object's owner references, sorted by what became of the owner."""

    solid: tuple[Obj, ...]
    gone: tuple[Obj, ...]
    waiting: tuple[Obj, ...]


def sort_owners(references: Sequence[Obj], live: Mapping[str, Obj]) -> Owners:
    """Sort references by the live owners, keyed by uid. Pure.

    `waiting` owners are being deleted in the foreground and wait for this dependent (blockOwnerDeletion).
    """
    solid, gone, waiting = [], [], []
    for reference in references:
        owner = live.get(reference["uid"])
        if owner is None:
            gone.append(reference)
        elif is_deleting(owner) and has_finalizer(owner, FOREGROUND) and reference.get("blockOwnerDeletion"):
            waiting.append(reference)
        else:
            solid.append(reference)
    return Owners(tuple(solid), tuple(gone), tuple(waiting))


def has_finalizer(obj: Mapping[str, Any], name: str) -> bool:
    return name in (obj["metadata"].get("finalizers") or ())


def propagation_for(obj: Obj, waited_for: bool) -> str:
    """How a dependent is deleted in its turn: its own finalizers decide; what a foreground owner waits for goes likewise."""
    if has_finalizer(obj, ORPHAN):
        return "Orphan"
    return "Foreground" if waited_for or has_finalizer(obj, FOREGROUND) else "Background"


def reconcile(registry: Registry, key: Key) -> float | None:
    """Settle one object: as an owner that is going, and as a dependent whose owners may have gone."""
    resource, namespace, name = key
    obj = registry.find(resource, namespace, name)
    if obj is None:
        return None
    if is_deleting(obj):
        _let_go(registry, resource, obj)
    else:
        _collect(registry, resource, obj)
    return None


def _let_go(registry: Registry, resource: str, owner: Obj) -> None:
    dependents = registry.owned(owner["metadata"]["uid"])
    if has_finalizer(owner, ORPHAN):
        for kind, dependent in dependents:
            _drop_references(registry, kind, dependent, {owner["metadata"]["uid"]})
        _drop_finalizer(registry, resource, owner, ORPHAN)
    elif has_finalizer(owner, FOREGROUND):
        for kind, dependent in dependents:
            if not is_deleting(dependent):
                _collect(registry, kind, dependent)
        if not any(_blocks(dependent, owner) for _, dependent in registry.owned(owner["metadata"]["uid"])):
            _drop_finalizer(registry, resource, owner, FOREGROUND)


def _blocks(dependent: Obj, owner: Obj) -> bool:
    references = dependent["metadata"].get("ownerReferences") or ()
    return any(each["uid"] == owner["metadata"]["uid"] and each.get("blockOwnerDeletion") for each in references)


def _collect(registry: Registry, resource: str, obj: Obj) -> None:
    references = obj["metadata"].get("ownerReferences") or ()
    if not references:
        return
    owners = sort_owners(references, _live(registry, obj))
    if owners.solid:
        lost = {reference["uid"] for reference in (*owners.gone, *owners.waiting)}
        if lost:
            _drop_references(registry, resource, obj, lost)
        return
    blocking = bool(owners.waiting) and bool(registry.owned(obj["metadata"]["uid"]))
    _delete(registry, resource, obj, propagation_for(obj, blocking))


def _live(registry: Registry, obj: Obj) -> dict[str, Obj]:
    """The owners that exist, by uid; looked up by kind and name, in the dependent's namespace or in none."""
    found = {}
    for reference in obj["metadata"]["ownerReferences"]:
        kind = _resource_of(reference)
        if kind is None:
            # A kind this cluster does not have: nobody can say that the owner is gone, so it counts as alive.
            found[reference["uid"]] = {"metadata": {"uid": reference["uid"]}}
            continue
        resource, namespaced = kind
        owner = registry.find(resource, obj["metadata"].get("namespace", "") if namespaced else "", reference["name"])
        if owner is not None and owner["metadata"]["uid"] == reference["uid"]:
            found[reference["uid"]] = owner
    return found


def _resource_of(reference: Obj) -> tuple[str, bool] | None:
    group = reference["apiVersion"].rpartition("/")[0]
    for plural, kind in KINDS.items():
        if kind.kind == reference["kind"] and kind.group == group:
            return plural, kind.namespaced
    return None


def _delete(registry: Registry, resource: str, obj: Obj, propagation: str) -> None:
    metadata = obj["metadata"]
    address = (resource, metadata.get("namespace", ""), metadata["name"])
    try:
        registry.delete(*address, actor=ACTOR, uid=metadata["uid"], propagation=propagation)
    except ApiError as error:
        if error.status.get("code") not in (404, 409):
            raise


def _drop_references(registry: Registry, resource: str, obj: Obj, uids: set[str]) -> None:
    fresh = thaw(obj)
    kept = [each for each in obj["metadata"].get("ownerReferences") or () if each["uid"] not in uids]
    fresh["metadata"]["ownerReferences"] = kept
    registry.update(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"], fresh, actor=ACTOR)


def _drop_finalizer(registry: Registry, resource: str, obj: Obj, finalizer: str) -> None:
    metadata = obj["metadata"]
    live = registry.find(resource, metadata.get("namespace", ""), metadata["name"])
    if live is None or not has_finalizer(live, finalizer):
        return
    fresh = thaw(live)
    fresh["metadata"]["finalizers"] = [each for each in live["metadata"]["finalizers"] if each != finalizer]
    registry.update(resource, metadata.get("namespace", ""), metadata["name"], fresh, actor=ACTOR)


def _concerned(registry: Registry, change: Change) -> list[Key]:
    """A new or orphaned dependent itself, an owner that is going, the dependents of one that is gone, waiting owners."""
    keys = [_key(change.resource, change.obj)] if _is_due(change) else []
    if change.type == "DELETED":
        keys = [_key(kind, obj) for kind, obj in registry.owned(change.obj["metadata"]["uid"])]
        keys += _waiting_owners(registry, change.obj)
    return keys


def _is_due(change: Change) -> bool:
    if change.type == "ADDED":
        return bool(change.obj["metadata"].get("ownerReferences")) or is_deleting(change.obj)
    before = change.old["metadata"] if change.old is not None else {}
    fields = ("ownerReferences", "finalizers", "deletionTimestamp")
    return any(change.obj["metadata"].get(field) != before.get(field) for field in fields)


def _waiting_owners(registry: Registry, gone: Obj) -> list[Key]:
    if not gone["metadata"].get("ownerReferences"):
        return []
    return [
        _key(kind[0], owner)
        for reference in gone["metadata"]["ownerReferences"]
        if (owner := _live(registry, gone).get(reference["uid"])) is not None
        and (kind := _resource_of(reference)) is not None
        and has_finalizer(owner, FOREGROUND)
    ]


def _key(resource: str, obj: Obj) -> Key:
    return resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def controller() -> Controller:
    """Watches every kind there is."""
    return Controller(
        "garbage-collector", dict.fromkeys((each for each in KINDS if each != "events"), _concerned), reconcile
    )


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(controller(), registry)
