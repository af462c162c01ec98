"""StatefulSet controller: pods with names of their own, made, ended and updated in order; their claims made and kept.

Applies what ordinals.py decides and history.py keeps. Rules: pkg/controller/statefulset/stateful_set_control.go and
stateful_pod_control.go; orders and texts as recorded on a real cluster.
"""

from __future__ import annotations

from typing import Any

from chaoskit.sandbox.controllers import history
from chaoskit.sandbox.controllers.loop import Controller, Key, RetryLater, drive, itself, key_of
from chaoskit.sandbox.controllers.ordinals import (
    Members,
    Move,
    by_ordinal,
    claims_of,
    identified,
    member,
    moves,
    next_look_in,
    ordinal_of,
    revision_for,
    revision_of,
    status_of,
)
from chaoskit.sandbox.controllers.ownership import claim, concerned_owners
from chaoskit.sandbox.controllers.podwork import delete_pod
from chaoskit.sandbox.events import record
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.registry import ApiError, Change, Registry, thaw
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "statefulset-controller"
STYLE = history.Style(ACTOR, "controller.kubernetes.io/hash")


def reconcile(registry: Registry, key: Key) -> float | None:
    """Bring one StatefulSet a step on; returns when its next pod becomes available by age alone."""
    owner = registry.find("statefulsets", *key)
    if owner is None:
        return None
    members, collisions = _survey(registry, owner)
    made: list[Move] = []
    refusal = None
    for move in moves(members):
        refusal = _make(registry, members, move)
        if refusal is not None:
            break
        made.append(move)
    # As upstream the status counts the pods found before acting: watchers see each step by itself.
    _publish(registry, owner, status_of(members, made, collisions))
    _forget_old(registry, owner, members)
    if refusal is not None:
        raise RetryLater(refusal)
    return next_look_in(members)


def _survey(registry: Registry, owner: Obj) -> tuple[Members, int]:
    # Only pods of its own name are taken in: an orphan that merely fits the selector stays one.
    pods = claim(registry, owner, "pods", ACTOR, lambda pod: ordinal_of(owner, pod) is not None)
    known = {each["metadata"]["name"] for each in history.revisions_of(registry, owner)}
    status = owner.get("status", {})
    told = status.get("currentRevision", "")
    if is_deleting(owner):
        last = status.get("updateRevision", "")
        return Members(owner, by_ordinal(owner, pods), told, last, clock.now()), status.get("collisionCount", 0)
    update, collisions = history.current(registry, owner, STYLE)
    name = update["metadata"]["name"]
    members = Members(owner, by_ordinal(owner, pods), told if told in known else name, name, clock.now())
    return members, collisions


def _make(registry: Registry, members: Members, move: Move) -> str | None:
    """Carry out one move; answers why it was refused."""
    owner = members.owner
    if move.act == "create":
        return _create(registry, members, move.ordinal)
    assert move.pod is not None
    name = move.pod["metadata"]["name"]
    if move.act == "delete":
        text = f"Delete Pod {name} in StatefulSet {owner['metadata']['name']} successful"
        delete_pod(registry, owner, move.pod, ACTOR, text=text)
        return None
    labels = {"metadata": {"labels": identified(owner, move.pod, move.ordinal)}}
    registry.patch("pods", owner["metadata"]["namespace"], name, labels, style="merge", actor=ACTOR)
    return None


def _create(registry: Registry, members: Members, number: int) -> str | None:
    owner = members.owner
    namespace, name = key_of(owner)
    revision = revision_for(members, number)
    kept = registry.get("controllerrevisions", namespace, revision)
    pod = member(owner, number, revision, history.template_of(kept))
    said = f"Pod {pod['metadata']['name']} in StatefulSet {name}"
    try:
        _make_claims(registry, owner, number, said)
        registry.create("pods", namespace, pod, actor=ACTOR)
    except ApiError as error:
        message = f"create {said} failed error: {error}"
        record(registry, owner, "Warning", "FailedCreate", message, ACTOR)
        return message
    record(registry, owner, "Normal", "SuccessfulCreate", f"Create {said} successful", ACTOR)
    return None


def _make_claims(registry: Registry, owner: Obj, number: int, said: str) -> None:
    """Make what is missing. A claim that is there is used as it is, whoever made it."""
    namespace = owner["metadata"]["namespace"]
    for body in claims_of(owner, number):
        name = body["metadata"]["name"]
        if registry.find("persistentvolumeclaims", namespace, name) is None:
            registry.create("persistentvolumeclaims", namespace, body, actor=ACTOR)
            record(registry, owner, "Normal", "SuccessfulCreate", f"Create Claim {name} {said} success", ACTOR)


def _publish(registry: Registry, owner: Obj, status: Obj) -> None:
    if status != owner.get("status"):
        fresh = thaw(owner) | {"status": status}
        namespace, name = key_of(owner)
        registry.update("statefulsets", namespace, name, fresh, actor=ACTOR, subresource="status")


def _forget_old(registry: Registry, owner: Obj, members: Members) -> None:
    if is_deleting(owner):
        return
    live = {members.current_revision, members.update_revision, *map(revision_of, members.pods.values())}
    history.prune(registry, owner, live, STYLE)


def _of_pod(registry: Registry, change: Change) -> list[Key]:
    return concerned_owners(registry, change, "StatefulSet", "statefulsets")


CONTROLLER = Controller("statefulset", {"statefulsets": itself, "pods": _of_pod}, reconcile)


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(CONTROLLER, registry)
