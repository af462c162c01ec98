"""ControllerRevisions: the templates a StatefulSet or DaemonSet has had, one object each, the newest with the highest number.

An old template that comes back gets its old object with a new number, so that undoing changes no pod that already fits.
Rules: pkg/controller/history/controller_history.go.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.sandbox.controllers.ownership import controller_of, owner_reference
from chaoskit.sandbox.controllers.template import is_same_template, template_hash
from chaoskit.sandbox.registry import Registry, thaw

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Style:
    """How one kind marks its revisions: `label` carries the hash."""

    actor: str
    label: str


def template_of(revision: Obj) -> Obj:
    """The pod template a revision keeps, without the patch directive it is stored with."""
    return {key: value for key, value in revision["data"]["spec"]["template"].items() if key != "$patch"}


def revisions_of(registry: Registry, owner: Obj) -> list[Obj]:
    """All revisions of an owner, the oldest first."""
    owned = [obj for kind, obj in registry.owned(owner["metadata"]["uid"]) if kind == "controllerrevisions"]
    return sorted(owned, key=lambda each: (each["revision"], each["metadata"]["name"]))


def current(registry: Registry, owner: Obj, style: Style) -> tuple[Obj, int]:
    """The revision of the owner's present template, made or renumbered if need be, and the owner's collision count."""
    known, template = revisions_of(registry, owner), owner["spec"]["template"]
    last = known[-1]["revision"] if known else 0
    same = next((each for each in reversed(known) if is_same_template(template_of(each), template)), None)
    collisions = int(owner.get("status", {}).get("collisionCount", 0))
    if same is None:
        return _make(registry, owner, style, last + 1, collisions)
    if same["revision"] < last:
        metadata = same["metadata"]
        fresh = thaw(same) | {"revision": last + 1}
        where = ("controllerrevisions", metadata["namespace"], metadata["name"])
        same = registry.update(*where, fresh, actor=style.actor)
    return same, collisions


def _make(registry: Registry, owner: Obj, style: Style, number: int, collisions: int) -> tuple[Obj, int]:
    """A name that something else has taken counts as a collision: the next hash differs.

    A revision of this very template that lost its owner (the set was deleted and its pods kept) is taken in.
    """
    namespace = owner["metadata"]["namespace"]
    while True:
        body = _revision(owner, style, number, collisions)
        there = registry.find("controllerrevisions", namespace, body["metadata"]["name"])
        if there is None:
            return registry.create("controllerrevisions", namespace, body, actor=style.actor), collisions
        if controller_of(there) is None and is_same_template(template_of(there), owner["spec"]["template"]):
            fresh = thaw(there) | {"revision": number}
            fresh["metadata"]["ownerReferences"] = [owner_reference(owner)]
            name = there["metadata"]["name"]
            return registry.update("controllerrevisions", namespace, name, fresh, actor=style.actor), collisions
        collisions += 1


def _revision(owner: Obj, style: Style, number: int, collisions: int) -> Obj:
    metadata, template = owner["metadata"], thaw(owner["spec"]["template"])
    mark = template_hash(template, collisions)
    return {
        "metadata": {
            "name": f"{metadata['name']}-{mark}",
            "labels": (owner["spec"]["selector"].get("matchLabels") or {}) | {style.label: mark},
            "annotations": metadata.get("annotations"),
            "ownerReferences": [owner_reference(owner)],
        },
        "data": {"spec": {"template": template | {"$patch": "replace"}}},
        "revision": number,
    }


def superfluous(revisions: Sequence[Obj], live: Collection[str], limit: int) -> list[Obj]:
    """The oldest revisions beyond `limit` that no pod and no status names any more. Pure; `live` are names."""
    idle = [each for each in revisions if each["metadata"]["name"] not in live]
    return idle[: max(0, len(idle) - limit)]


def prune(registry: Registry, owner: Obj, live: Collection[str], style: Style) -> None:
    for each in superfluous(revisions_of(registry, owner), live, owner["spec"].get("revisionHistoryLimit", 10)):
        metadata = each["metadata"]
        registry.delete("controllerrevisions", metadata["namespace"], metadata["name"], actor=style.actor)
