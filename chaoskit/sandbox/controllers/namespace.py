"""Namespace controller: empties a namespace that is being deleted, kind by kind, and finalises it when nothing is left.

Pods go with their own grace. Refusing new content meanwhile is admission's part, and what a namespace is born with is
bootstrap's. Rules: pkg/controller/namespace/deletion/namespaced_resources_deleter.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaoskit.sandbox.controllers.loop import Controller, Key, drive, itself
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.conditions import conditions_of, make_condition, put_condition
from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.registry import ApiError, Change, Registry, thaw
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
ACTOR = "namespace-controller"


def reconcile(registry: Registry, key: Key) -> float | None:
    """Empty and finalise one namespace, if it is being deleted."""
    namespace = registry.find("namespaces", *key)
    if namespace is not None and is_deleting(namespace):
        _empty(registry, namespace)
    return None


def _empty(registry: Registry, namespace: Obj) -> None:
    name = namespace["metadata"]["name"]
    for resource in _namespaced():
        for obj in registry.list(resource, name):
            _delete(registry, resource, obj)
    left = {resource: len(found) for resource in _namespaced() if (found := registry.list(resource, name))}
    if left:
        _tell_what_is_left(registry, namespace, left)
    elif namespace["spec"].get("finalizers"):
        fresh = thaw(namespace)
        fresh["spec"]["finalizers"] = [each for each in namespace["spec"]["finalizers"] if each != "kubernetes"]
        registry.update("namespaces", "", name, fresh, actor=ACTOR, subresource="finalize")


def _delete(registry: Registry, resource: str, obj: Obj) -> None:
    metadata = obj["metadata"]
    if is_deleting(obj):
        return
    try:
        registry.delete(resource, metadata["namespace"], metadata["name"], actor=ACTOR, uid=metadata["uid"])
    except ApiError as error:
        if error.status.get("code") not in (404, 409):
            raise


def _tell_what_is_left(registry: Registry, namespace: Obj, left: Mapping[str, int]) -> None:
    fresh = thaw(namespace)
    text = "Some resources are remaining: " + ", ".join(
        f"{_full(each)} has {count} resource instances" for each, count in left.items()
    )
    condition = make_condition("NamespaceContentRemaining", "True", "SomeResourcesRemain", text, clock.now())
    fresh.setdefault("status", {})["conditions"] = put_condition(conditions_of(namespace), condition)
    registry.update("namespaces", "", namespace["metadata"]["name"], fresh, actor=ACTOR, subresource="status")


def _full(resource: str) -> str:
    return f"{resource}.{KINDS[resource].group}" if KINDS[resource].group else resource


def _namespaced() -> list[str]:
    """Every namespaced kind, workloads before their pods so that nothing is made again, events last."""
    plurals = [plural for plural, kind in KINDS.items() if kind.namespaced]
    return sorted(plurals, key=lambda plural: (plural == "events", plural == "pods", plural))


def _of_content(registry: Registry, change: Change) -> list[Key]:
    """Content that went or appeared matters to a terminating namespace."""
    name = change.obj["metadata"].get("namespace", "")
    namespace = registry.find("namespaces", "", name) if name and change.type != "MODIFIED" else None
    return [("", name)] if namespace is not None and is_deleting(namespace) else []


CONTROLLER = Controller("namespace", dict.fromkeys(_namespaced(), _of_content) | {"namespaces": itself}, reconcile)


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(CONTROLLER, registry)
