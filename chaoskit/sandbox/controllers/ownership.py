"""Who owns what: owner references, and the adoption and release of dependents by a selector.

The deciding part is pure; `claim` applies it through the registry. Never creates or deletes an object.
Rules: pkg/controller/controller_ref_manager.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaoskit.sandbox.controllers.loop import Key
from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.facts.selection import labels_of
from chaoskit.sandbox.registry import ApiError, Change, Registry
from chaoskit.sandbox.selectors import selects

Obj = dict[str, Any]
Fits = Callable[[Obj], bool]


def controller_of(obj: Mapping[str, Any]) -> Obj | None:
    """The owner reference marked as controller, of which there is at most one."""
    references = obj["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def is_controlled_by(obj: Mapping[str, Any], uid: str) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid


def owner_reference(owner: Mapping[str, Any]) -> Obj:
    """The reference a controller writes into what it makes."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


@dataclass(frozen=True, slots=True)
class Claims:
    """What an owner holds, what it should take, what it should let go."""

    kept: tuple[Obj, ...]
    adopted: tuple[Obj, ...]
    released: tuple[Obj, ...]


def decide(owner: Mapping[str, Any], candidates: Iterable[Obj], fitting: Fits | None = None) -> Claims:
    """Sort candidates by what the owner's selector and their references say, and `fitting` where there is one.

    An owner that is being deleted changes nothing, and an object that is being deleted is never adopted.
    """
    uid, selector, settled = owner["metadata"]["uid"], owner["spec"].get("selector"), is_deleting(owner)
    kept: list[Obj] = []
    adopted: list[Obj] = []
    released: list[Obj] = []
    for candidate in candidates:
        fits = selects(selector, labels_of(candidate)) and (fitting is None or fitting(candidate))
        if is_controlled_by(candidate, uid):
            (kept if fits or settled else released).append(candidate)
        elif controller_of(candidate) is None and fits and not settled and not is_deleting(candidate):
            adopted.append(candidate)
    return Claims(tuple(kept), tuple(adopted), tuple(released))


def claim(registry: Registry, owner: Obj, resource: str, actor: str, fitting: Fits | None = None) -> list[Obj]:
    """The owner's dependents of one resource, after adoption and release."""
    uid, namespace = owner["metadata"]["uid"], owner["metadata"]["namespace"]
    owned = [obj for kind, obj in registry.owned(uid) if kind == resource]
    orphans = [obj for obj in registry.list(resource, namespace) if not obj["metadata"].get("ownerReferences")]
    claims = decide(owner, [*owned, *orphans], fitting)
    for obj in claims.released:
        rest = [reference for reference in obj["metadata"]["ownerReferences"] if reference["uid"] != uid]
        _refer(registry, resource, obj, rest, actor)
    taken = [_refer(registry, resource, obj, [owner_reference(owner)], actor) for obj in claims.adopted]
    return [*claims.kept, *(obj for obj in taken if obj is not None)]


def _refer(registry: Registry, resource: str, obj: Obj, references: list[Obj], actor: str) -> Obj | None:
    metadata = obj["metadata"]
    body = {"metadata": {"ownerReferences": references or None}}
    try:
        return registry.patch(resource, metadata["namespace"], metadata["name"], body, style="merge", actor=actor)
    except ApiError as error:
        if error.status.get("code") == 404:
            return None
        raise


def concerned_owners(registry: Registry, change: Change, kind: str, owners: str) -> list[Key]:
    """The keys of the owners a dependent's change concerns: its controller of this kind, before and now.

    A dependent without controller concerns every owner of its namespace whose selector fits it.
    """
    namespace = change.obj["metadata"].get("namespace", "")
    keys = {
        (namespace, reference["name"])
        for obj in (change.obj, change.old)
        if obj is not None and (reference := controller_of(obj)) is not None and reference["kind"] == kind
    }
    if controller_of(change.obj) is None and change.type != "DELETED":
        labels = labels_of(change.obj)
        keys |= {
            (namespace, owner["metadata"]["name"])
            for owner in registry.list(owners, namespace)
            if selects(owner["spec"].get("selector"), labels)
        }
    return sorted(keys)
