"""The one door to the cluster's state, for HTTP handlers, controllers and the scheduler alike.

Every write passes defaults, admission, validation, generation and no-op detection here, synchronously; nothing is
awaited between read and commit. Objects handed out are snapshots: never change one, `thaw` it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from chaoskit.sandbox import bootstrap, clock, deletion, metadata, patching, scale
from chaoskit.sandbox.errors import (
    ApiError,
    Cause,
    already_exists,
    bad_request,
    bad_value,
    conflict,
    forbidden,
    invalid,
    not_found,
    not_implemented,
    patch_rejected,
)
from chaoskit.sandbox.kinds import KINDS, Kind
from chaoskit.sandbox.normalise import normalise
from chaoskit.sandbox.patching import Style
from chaoskit.sandbox.rules import RULES, Admission
from chaoskit.sandbox.schema import check_fields
from chaoskit.sandbox.selectors import field_matcher, label_matcher
from chaoskit.sandbox.settings import ClusterSettings
from chaoskit.sandbox.store import RING, Change, Obj, Store, Subscription, Version, thaw

__all__ = ["ApiError", "Change", "Obj", "Registry", "Subscription", "thaw"]

_log = logging.getLogger(__name__)
_GENERATED_NAME_TRIES = 8


class Registry:
    """`resource` is always the plural (`pods`). `actor` names the writer, for the log."""

    def __init__(self, settings: ClusterSettings, *, ring: int = RING) -> None:
        self.settings = settings
        self.store = Store(ring)
        self._admission = Admission(settings, self.store)

    # -- reading

    def get(self, resource: str, namespace: str, name: str) -> Obj:
        """Raises ApiError 404."""
        return self.version(resource, namespace, name).obj

    def version(self, resource: str, namespace: str, name: str) -> Version:
        """Like `get`, with the revision and the encoded form. Raises ApiError 404."""
        found = self.store.get(resource, namespace, name)
        if found is None:
            raise not_found(_kind(resource), name)
        return found

    def find(self, resource: str, namespace: str, name: str) -> Obj | None:
        found = self.store.get(resource, namespace, name)
        return None if found is None else found.obj

    def list(self, resource: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Obj]:
        """Objects of one namespace, or of all. Raises ApiError 400 for a selector that does not parse."""
        holds = matcher(resource, labels, fields)
        return [version.obj for version in self.store.items(_kind(resource).plural, namespace) if holds(version.obj)]

    def subscribe(self, *resources: str) -> Subscription:
        """Changes from now on, begun with a synthetic ADDED of all that exists."""
        return self.store.subscribe([_kind(resource).plural for resource in resources])

    def owned(self, uid: str) -> Sequence[tuple[str, Obj]]:
        """Dependents of an owner, as (resource, object)."""
        found = [(key[0], self.store.get(*key)) for key in self.store.dependents(uid)]
        return [(resource, version.obj) for resource, version in found if version is not None]

    def by_uid(self, uid: str) -> tuple[str, Obj] | None:
        """The living object with this uid, as (resource, object)."""
        key = self.store.by_uid(uid)
        version = None if key is None else self.store.get(*key)
        return None if key is None or version is None else (key[0], version.obj)

    # -- writing

    def create(self, resource: str, namespace: str, obj: Obj, *, actor: str, dry_run: bool = False) -> Obj:
        """Raises ApiError 400, 403 (terminating namespace), 404 (no namespace), 409 (exists) or 422."""
        kind = _kind(resource)
        fresh = normalise(obj, kind)
        if kind.namespaced:
            self._check_namespace(kind, namespace, fresh)
        metadata.stamp_new(fresh, kind, namespace if kind.namespaced else "")
        self._name(kind, namespace, fresh)
        rule = RULES[kind.plural]
        rule.prepare_create(fresh, self._admission)
        _refuse(kind, fresh, metadata.validate(fresh, kind) + rule.validate(fresh))
        rule.admit(fresh, self._admission)
        if dry_run:
            return fresh
        created = self._commit(kind, fresh, "create", actor)
        if kind.plural == "namespaces":
            bootstrap.furnish_namespace(self, created["metadata"]["name"])
        return created

    def update(
        self,
        resource: str,
        namespace: str,
        name: str,
        obj: Obj,
        *,
        actor: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """Replace an object, or what its subresource (`status`, `scale`, `finalize`) covers.

        Raises ApiError 404, 409 when `obj` carries a stale resourceVersion or another uid, 422 when it is invalid.
        For `scale` the answer is the Scale.
        """
        kind = _kind(resource)
        old = self.version(resource, namespace, name).obj
        if subresource == "scale":
            return self._update_scale(kind, old, obj, actor, dry_run)
        given_uid = obj.get("metadata", {}).get("uid")
        if given_uid and given_uid != old["metadata"]["uid"]:
            because = (
                f"Precondition failed: UID in precondition: {given_uid}, UID in object meta: {old['metadata']['uid']}"
            )
            raise conflict(kind, name, because)
        return self._replace(kind, old, obj, subresource, actor, dry_run)

    def patch(
        self,
        resource: str,
        namespace: str,
        name: str,
        body: Any,
        *,
        style: Style,
        actor: str,
        subresource: str = "",
        dry_run: bool = False,
        field_validation: str | None = None,
    ) -> Obj:
        """Apply a patch to the current state. Raises what `update` raises, and 422 for a patch that does not apply.

        With a `field_validation` the result's fields are checked as those of a client's object are.
        """
        kind = _kind(resource)
        old = self.version(resource, namespace, name).obj
        if subresource == "scale":
            return self._update_scale(kind, old, patching.apply(scale.to_scale(old), body, style), actor, dry_run)
        patched = patching.apply(old, body, style)
        if not isinstance(patched.get("metadata"), dict):
            raise patch_rejected()
        if field_validation is not None:
            check_fields(patched, kind, field_validation)
        uid = patched["metadata"].get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise invalid(kind, name, [bad_value("metadata.uid", uid, "field is immutable")] * 2)
        return self._replace(kind, old, patched, subresource, actor, dry_run)

    def delete(
        self,
        resource: str,
        namespace: str,
        name: str,
        *,
        actor: str,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_s: int | None = None,
        propagation: str = "Background",
        dry_run: bool = False,
    ) -> Obj:
        """Delete, or mark for deletion; the answer is the object as it is afterwards (its last state when gone).

        Raises ApiError 403 (protected namespace), 404, or 409 when a precondition does not hold.
        """
        kind = _kind(resource)
        old = self.version(resource, namespace, name).obj
        deletion.check_preconditions(kind, old, uid, resource_version)
        RULES[kind.plural].check_delete(old)
        decided = deletion.decide(kind, old, grace_s, propagation)
        marked = decided.marked if decided.marked is not None else old
        if dry_run:
            return marked
        if decided.marked is not None:
            marked = self._commit(kind, decided.marked, "mark", actor)
        return self._remove(kind, marked, actor) if decided.gone else marked

    def evict(
        self,
        namespace: str,
        name: str,
        *,
        actor: str,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_s: int | None = None,
        dry_run: bool = False,
    ) -> None:
        """Evict a pod: mark the disruption in its conditions, then delete it. Raises ApiError 404 or 409."""
        pod = self.get("pods", namespace, name)
        deletion.check_preconditions(KINDS["pods"], pod, uid, resource_version)
        if dry_run:
            return
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
        if "deletionTimestamp" not in pod["metadata"]:
            self.set_condition("pods", namespace, name, condition, actor=actor)
        self.delete("pods", namespace, name, actor=actor, uid=pod["metadata"]["uid"], grace_s=grace_s)

    def bind(self, namespace: str, name: str, node: str, *, actor: str, dry_run: bool = False) -> Obj:
        """Assign a pod to a node (the binding subresource), with its PodScheduled condition, in one write.

        Raises ApiError 404, or 409 when the pod is already assigned or being deleted.
        """
        kind = KINDS["pods"]
        pod = thaw(self.get("pods", namespace, name))
        if pod["spec"].get("nodeName"):
            raise conflict(kind, name, f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"')
        if "deletionTimestamp" in pod["metadata"]:
            raise conflict(kind, name, f"pod {name} is being deleted, cannot be assigned to a host")
        pod["spec"]["nodeName"] = node
        put_condition(pod, {"type": "PodScheduled", "status": "True"})
        return pod if dry_run else self._commit(kind, pod, "bind", actor)

    def set_condition(self, resource: str, namespace: str, name: str, condition: Obj, *, actor: str) -> Obj:
        """Set one condition of the status; lastTransitionTime moves when its status does."""
        kind = _kind(resource)
        old = self.get(resource, namespace, name)
        new = thaw(old)
        put_condition(new, condition)
        return old if new == old else self._commit(kind, new, "condition", actor)

    # -- the common way of every write

    def _replace(self, kind: Kind, old: Obj, obj: Obj, subresource: str, actor: str, dry_run: bool) -> Obj:
        given = normalise(obj, kind)
        name = old["metadata"]["name"]
        if given["metadata"].get("name", name) != name:
            raise bad_request(
                f"the name of the object ({given['metadata']['name']}) does not match the name on the URL ({name})"
            )
        if (
            given["metadata"].get("resourceVersion", old["metadata"]["resourceVersion"])
            != old["metadata"]["resourceVersion"]
        ):
            raise conflict(kind, name)
        new = self._successor(kind, old, given, subresource)
        if new == old:
            return old
        if dry_run:
            return new
        if deletion.finished(kind, new):
            self._commit(kind, new, "update", actor)
            return self._remove(kind, new, actor)
        return self._commit(kind, new, "update", actor)

    def _successor(self, kind: Kind, old: Obj, given: Obj, subresource: str) -> Obj:
        rule = RULES[kind.plural]
        metadata.keep_server_fields(given, old)
        if subresource == "status":
            return rule.with_status(thaw(old), given)
        if subresource == "finalize":
            return _with_finalizers(thaw(old), given)
        if subresource:
            raise not_implemented(f"writing {kind.plural}/{subresource}")
        rule.prepare_update(given, old, self._admission)
        causes = metadata.validate(given, kind) + rule.validate(given) + rule.validate_update(given, old)
        _refuse(kind, given, causes)
        rule.admit_update(given, old, self._admission)
        if kind.generation and rule.counts(given) != rule.counts(old):
            given["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return given

    def _update_scale(self, kind: Kind, old: Obj, wanted: Obj, actor: str, dry_run: bool) -> Obj:
        given = wanted.get("metadata", {}).get("resourceVersion")
        if given and given != old["metadata"]["resourceVersion"]:
            raise conflict(kind, old["metadata"]["name"])
        new = thaw(old)
        new["spec"]["replicas"] = scale.wanted_replicas(wanted)
        return scale.to_scale(self._replace(kind, old, new, "", actor, dry_run))

    def _name(self, kind: Kind, namespace: str, obj: Obj) -> None:
        """Settle the name of a new object. Raises ApiError 409 when it is taken."""
        scope = namespace if kind.namespaced else ""
        generated = metadata.generate_name(obj)
        for _ in range(_GENERATED_NAME_TRIES if generated else 0):
            if self.store.get(kind.plural, scope, obj["metadata"]["name"]) is None:
                return
            del obj["metadata"]["name"]
            metadata.generate_name(obj)
        if self.store.get(kind.plural, scope, obj["metadata"].get("name", "")) is not None:
            raise already_exists(kind, obj["metadata"]["name"])

    def _check_namespace(self, kind: Kind, namespace: str, obj: Obj) -> None:
        if not namespace:
            raise bad_request("an empty namespace may not be set during creation")
        owner = self.get("namespaces", "", namespace)
        if "deletionTimestamp" in owner["metadata"]:
            because = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause("metadata.namespace", "NamespaceTerminating", f"namespace {namespace} is being terminated")
            raise forbidden(kind, obj["metadata"].get("name", ""), because, [cause])

    def _commit(self, kind: Kind, obj: Obj, verb: str, actor: str) -> Obj:
        metadata.arrange(obj)
        version = self.store.put(kind.plural, obj)
        _log.debug("%s %s %s -> %d", actor, verb, _where(kind, obj), version.revision)
        return version.obj

    def _remove(self, kind: Kind, obj: Obj, actor: str) -> Obj:
        version = self.store.remove(kind.plural, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        _log.debug("%s remove %s -> %d", actor, _where(kind, obj), version.revision)
        return version.obj


def matcher(resource: str, labels: str, fields: str) -> Callable[[Obj], bool]:
    """A predicate over objects for a pair of selectors. Raises ApiError 400 when one does not parse."""
    if not labels and not fields:
        return lambda obj: True
    by_label, by_field = label_matcher(labels), field_matcher(fields, resource)
    return lambda obj: by_label(obj["metadata"].get("labels", {})) and by_field(obj)


def put_condition(obj: Obj, condition: Obj) -> None:
    """Set a condition in a private copy, by type."""
    conditions = obj.setdefault("status", {}).setdefault("conditions", [])
    old = next((c for c in conditions if c["type"] == condition["type"]), None)
    moved = old is None or old["status"] != condition["status"]
    since = clock.stamp() if moved or old is None else old.get("lastTransitionTime", clock.stamp())
    fresh = {"lastTransitionTime": since} | condition
    if "generation" in obj["metadata"]:
        fresh = {"observedGeneration": obj["metadata"]["generation"]} | fresh
    if old is None:
        conditions.append(fresh)
    else:
        conditions[conditions.index(old)] = fresh


def _with_finalizers(new: Obj, given: Obj) -> Obj:
    """A namespace with the finalizers of its spec replaced."""
    finalizers = (given.get("spec") or {}).get("finalizers")
    new["spec"] = {"finalizers": finalizers} if finalizers else {}
    return new


def _kind(resource: str) -> Kind:
    kind = KINDS.get(resource)
    if kind is None:
        raise not_implemented(f"the resource {resource}")
    return kind


def _refuse(kind: Kind, obj: Obj, causes: list[Cause]) -> None:
    if causes:
        raise invalid(kind, obj["metadata"].get("name", ""), causes)


def _where(kind: Kind, obj: Obj) -> str:
    namespace = obj["metadata"].get("namespace")
    name = obj["metadata"]["name"]
    return f"{kind.plural}/{namespace}/{name}" if namespace else f"{kind.plural}/{name}"
