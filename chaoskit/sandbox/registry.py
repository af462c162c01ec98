"""The one door to the cluster's state, for HTTP handlers, controllers and the scheduler alike.

Every write passes defaults, admission, validation, generation and no-op detection here, synchronously; nothing is
awaited between read and commit. Objects handed out are snapshots: never change one, `thaw` it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from chaoskit.sandbox import bootstrap, clock, deletion, eviction, managed
from chaoskit.sandbox.errors import ApiError, conflict
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.patching import Style
from chaoskit.sandbox.rules import RULES
from chaoskit.sandbox.selectors import field_matcher, label_matcher, selects
from chaoskit.sandbox.settings import ClusterSettings
from chaoskit.sandbox.store import RING, Change, Obj, Store, Subscription, Version, thaw
from chaoskit.sandbox.writing import Writing, kind_of, writer_of

__all__ = ["ApiError", "Change", "Obj", "Registry", "Subscription", "thaw"]

_TOPOLOGY: Final = frozenset({"topology.kubernetes.io/zone", "topology.kubernetes.io/region"})


class Registry:
    """`resource` is always the plural (`pods`). `actor` names the writer: for the log, and as owner of what he changes.

    `writing` has the same writes for those who need the version that was stored, and not the object alone.
    """

    def __init__(self, settings: ClusterSettings, *, ring: int = RING) -> None:
        self.settings = settings
        self.store = Store(ring)
        self.writing = Writing(settings, self.store, lambda name: bootstrap.furnish_namespace(self, name))

    # -- reading

    def get(self, resource: str, namespace: str, name: str) -> Obj:
        """Raises ApiError 404."""
        return self.version(resource, namespace, name).obj

    def version(self, resource: str, namespace: str, name: str) -> Version:
        """Like `get`, with the revision and the encoded form. Raises ApiError 404."""
        return self.writing.version(resource, namespace, name)

    def find(self, resource: str, namespace: str, name: str) -> Obj | None:
        found = self.store.get(resource, namespace, name)
        return None if found is None else found.obj

    def list(self, resource: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Obj]:
        """Objects of one namespace, or of all. Raises ApiError 400 for a selector that does not parse."""
        holds = matcher(resource, labels, fields)
        return [version.obj for version in self.store.items(kind_of(resource).plural, namespace) if holds(version.obj)]

    def subscribe(self, *resources: str) -> Subscription:
        """Changes from now on, begun with a synthetic ADDED of all that exists."""
        return self.store.subscribe([kind_of(resource).plural for resource in resources])

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
        return self.writing.created(resource, namespace, obj, actor=actor, dry_run=dry_run).obj

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
        return self.writing.updated(
            resource, namespace, name, obj, actor=actor, subresource=subresource, dry_run=dry_run
        ).obj

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
        return self.writing.patched(
            resource,
            namespace,
            name,
            body,
            style=style,
            actor=actor,
            subresource=subresource,
            dry_run=dry_run,
            field_validation=field_validation,
        ).obj

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
        kind = kind_of(resource)
        old = self.version(resource, namespace, name).obj
        deletion.check_preconditions(kind, old, uid, resource_version)
        RULES[kind.plural].check_delete(old)
        decided = deletion.decide(kind, old, grace_s, propagation)
        marked = decided.marked if decided.marked is not None else old
        if dry_run:
            return marked
        if decided.marked is not None:
            marked = self.writing.commit(kind, decided.marked, "mark", actor)
        return self.writing.remove(kind, marked, actor).obj if decided.gone else marked

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
        """Evict a pod: charge its disruption budget, mark the disruption in its conditions, then delete it.

        The budget is asked first, and pays also when a precondition then does not hold (recorded).
        Raises ApiError 404, 409, 429 when the budget refuses, or 500 when several budgets select the pod.
        """
        pod = self.get("pods", namespace, name)
        labels = pod["metadata"].get("labels", {})
        budgets = self.list("poddisruptionbudgets", namespace)
        grant = eviction.decide(pod, [each for each in budgets if selects(each["spec"].get("selector"), labels)])
        if grant.budget is not None and not dry_run:
            charged = thaw(grant.budget) | {"status": grant.status}
            self.writing.commit(KINDS["poddisruptionbudgets"], charged, "charge", actor)
        deletion.check_preconditions(KINDS["pods"], pod, uid, resource_version)
        if dry_run:
            return
        if "deletionTimestamp" not in pod["metadata"]:
            self.set_condition("pods", namespace, name, eviction.TARGETED, actor=actor)
        self.delete("pods", namespace, name, actor=actor, uid=pod["metadata"]["uid"], grace_s=grace_s)

    def bind(self, namespace: str, name: str, node: str, *, actor: str, dry_run: bool = False) -> Obj:
        """Assign a pod to a node (the binding subresource), with its PodScheduled condition and its place, in one write.

        The node's zone and region become labels of the pod (plugin/pkg/admission/podtopologylabels).

        Raises ApiError 404, or 409 when the pod is already assigned or being deleted.
        """
        kind = KINDS["pods"]
        pod = thaw(self.get("pods", namespace, name))
        if pod["spec"].get("nodeName"):
            raise conflict(kind, name, f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"')
        if "deletionTimestamp" in pod["metadata"]:
            raise conflict(kind, name, f"pod {name} is being deleted, cannot be assigned to a host")
        pod["spec"]["nodeName"] = node
        place = self.find("nodes", "", node) or {"metadata": {}}
        known = {key: value for key, value in place["metadata"].get("labels", {}).items() if key in _TOPOLOGY}
        if known:
            pod["metadata"]["labels"] = pod["metadata"].get("labels", {}) | known
        put_condition(pod, {"type": "PodScheduled", "status": "True"})
        return pod if dry_run else self.writing.commit(kind, pod, "bind", actor)

    def set_condition(self, resource: str, namespace: str, name: str, condition: Obj, *, actor: str) -> Obj:
        """Set one condition of the status; lastTransitionTime moves when its status does."""
        kind = kind_of(resource)
        old = self.get(resource, namespace, name)
        new = thaw(old)
        put_condition(new, condition)
        if new == old:
            return old
        owners = self.version(resource, namespace, name).managed
        owners = managed.updated(owners, old, new, writer_of(kind, actor, "status"))
        return self.writing.save(kind, new, owners, "condition", actor).obj


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
