"""The common way of every write, from what was asked to the version that is stored. Nothing here is awaited.

Defaults, admission, validation, generation, owners of fields and no-op detection; what may be written by whom is decided
elsewhere. Source: the request pipeline of a real API server, restated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from chaoskit.sandbox import applying, deletion, managed, metadata, patching, scale
from chaoskit.sandbox.errors import (
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
from chaoskit.sandbox.managed import Managed, Writer, manager_name
from chaoskit.sandbox.normalise import normalise
from chaoskit.sandbox.patching import Style
from chaoskit.sandbox.rules import RULES, Admission
from chaoskit.sandbox.schema import check_fields, undeclared_fields
from chaoskit.sandbox.settings import ClusterSettings
from chaoskit.sandbox.store import Obj, Store, Version, thaw

_log = logging.getLogger(__name__)
_GENERATED_NAME_TRIES = 8


class Writing:
    """Writes that answer versions, with the owners of the fields; a dry run's version is never stored.

    `actor` names the writer: for the log, and as owner of what he changes. `furnish` is told the name of a new namespace.
    """

    def __init__(self, settings: ClusterSettings, store: Store, furnish: Callable[[str], None]) -> None:
        self._store = store
        self._admission = Admission(settings, store)
        self._furnish = furnish

    def version(self, resource: str, namespace: str, name: str) -> Version:
        """Raises ApiError 404."""
        kind = kind_of(resource)
        found = self._store.get(kind.plural, namespace if kind.namespaced else "", name)
        if found is None:
            raise not_found(kind, name)
        return found

    def created(
        self,
        resource: str,
        namespace: str,
        obj: Obj,
        *,
        actor: str,
        dry_run: bool = False,
        owners: Managed | None = None,
    ) -> Version:
        """`owners` is for an apply; whoever creates otherwise owns everything. Raises what `create` raises."""
        kind = kind_of(resource)
        fresh = normalise(obj, kind)
        if kind.namespaced:
            self._check_namespace(kind, namespace, fresh)
        metadata.stamp_new(fresh, kind, namespace if kind.namespaced else "")
        self._name(kind, namespace, fresh)
        rule = RULES[kind.plural]
        rule.prepare_create(fresh, self._admission)
        _refuse(kind, fresh, metadata.validate(fresh, kind) + rule.validate(fresh))
        if owners is None:
            owners = managed.updated((), None, applying.part(fresh, ""), writer_of(kind, actor))
        rule.admit(fresh, self._admission)
        if dry_run:
            return Version(fresh, 0, owners)
        version = self.save(kind, fresh, owners, "create", actor)
        if kind.plural == "namespaces":
            self._furnish(fresh["metadata"]["name"])
        return version

    def updated(
        self,
        resource: str,
        namespace: str,
        name: str,
        obj: Obj,
        *,
        actor: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Version:
        """Raises what `update` raises."""
        kind = kind_of(resource)
        old = self.version(resource, namespace, name)
        if subresource == "scale":
            return self._update_scale(kind, old, obj, actor, dry_run)
        given_uid = obj.get("metadata", {}).get("uid")
        if given_uid and given_uid != old.obj["metadata"]["uid"]:
            found = old.obj["metadata"]["uid"]
            because = f"Precondition failed: UID in precondition: {given_uid}, UID in object meta: {found}"
            raise conflict(kind, name, because)
        return self._replace(kind, old, obj, writer_of(kind, actor, subresource), dry_run)

    def patched(
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
    ) -> Version:
        """Raises what `patch` raises."""
        kind = kind_of(resource)
        old = self.version(resource, namespace, name)
        if subresource == "scale":
            wanted = patching.apply(scale.to_scale(old.obj), body, style)
            return self._update_scale(kind, old, wanted, actor, dry_run)
        patched = patching.apply_to(old, body, style)
        if not isinstance(patched.get("metadata"), dict):
            raise patch_rejected()
        if field_validation is not None:
            check_fields(patched, kind, field_validation)
        uid = patched["metadata"].get("uid")
        if uid and uid != old.obj["metadata"]["uid"]:
            raise invalid(kind, name, [bad_value("metadata.uid", uid, "field is immutable")] * 2)
        return self._replace(kind, old, patched, writer_of(kind, actor, subresource), dry_run)

    def applied(
        self,
        resource: str,
        namespace: str,
        name: str,
        config: Obj,
        *,
        actor: str,
        force: bool = False,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Version:
        """Server-side apply by the manager `actor`.

        Raises what `create` and `update` raise, 409 where another manager owns what would change, 500 for unknown fields.
        """
        kind = kind_of(resource)
        if unknown := undeclared_fields(config, kind):
            raise applying.undeclared(config, unknown, f"{kind.group}/{kind.version}, Kind={kind.kind}")
        wanted = applying.part(normalise(config, kind), subresource)
        writer = Writer(actor, "Apply", kind.api_version, subresource)
        old = self._store.get(kind.plural, namespace if kind.namespaced else "", name)
        if old is not None:
            result = applying.apply(thaw(old.obj), old.managed, wanted, writer, force=force)
            return self._replace(kind, old, result.obj, writer, dry_run, owners=result.managed)
        if subresource:
            raise not_found(kind, name)
        wanted["metadata"].setdefault("name", name)
        owners = applying.first(wanted, writer)
        return self.created(resource, namespace, wanted, actor=actor, dry_run=dry_run, owners=owners)

    # -- steps

    def _replace(
        self, kind: Kind, old: Version, obj: Obj, writer: Writer, dry_run: bool, owners: Managed | None = None
    ) -> Version:
        """`owners` is who owns which field afterwards, where that is settled already."""
        given = normalise(obj, kind)
        last = old.obj["metadata"]
        if given["metadata"].get("name", last["name"]) != last["name"]:
            raise bad_request(
                f"the name of the object ({given['metadata']['name']}) does not match the name on the URL ({last['name']})"
            )
        if given["metadata"].get("resourceVersion", last["resourceVersion"]) != last["resourceVersion"]:
            raise conflict(kind, last["name"])
        # What a scale changes it changes of the main resource.
        new = self._successor(kind, old.obj, given, writer.subresource if writer.subresource != "scale" else "")
        before = managed.given(obj, old.managed) if owners is None else owners
        if new == old.obj and before == old.managed:
            return old
        after = managed.updated(before, old.obj, new, writer) if owners is None else owners
        if dry_run:
            return Version(new, old.revision, after)
        version = self.save(kind, new, after, "update", writer.manager)
        return self.remove(kind, new, writer.manager) if deletion.finished(kind, new) else version

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
        causes = metadata.validate(given, kind) + metadata.validate_update(given, old)
        causes += rule.validate(given) + rule.validate_update(given, old)
        _refuse(kind, given, causes)
        rule.admit_update(given, old, self._admission)
        if kind.generation and rule.counts(given) != rule.counts(old):
            given["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return given

    def _update_scale(self, kind: Kind, old: Version, wanted: Obj, actor: str, dry_run: bool) -> Version:
        given = wanted.get("metadata", {}).get("resourceVersion")
        if given and given != old.obj["metadata"]["resourceVersion"]:
            raise conflict(kind, old.obj["metadata"]["name"])
        new = thaw(old.obj)
        new["spec"]["replicas"] = scale.wanted_replicas(wanted)
        version = self._replace(kind, old, new, writer_of(kind, actor, "scale"), dry_run)
        return Version(scale.to_scale(version.obj), version.revision)

    def _name(self, kind: Kind, namespace: str, obj: Obj) -> None:
        """Settle the name of a new object. Raises ApiError 409 when it is taken."""
        scope = namespace if kind.namespaced else ""
        generated = metadata.generate_name(obj)
        for _ in range(_GENERATED_NAME_TRIES if generated else 0):
            if self._store.get(kind.plural, scope, obj["metadata"]["name"]) is None:
                return
            del obj["metadata"]["name"]
            metadata.generate_name(obj)
        if self._store.get(kind.plural, scope, obj["metadata"].get("name", "")) is not None:
            raise already_exists(kind, obj["metadata"]["name"])

    def _check_namespace(self, kind: Kind, namespace: str, obj: Obj) -> None:
        if not namespace:
            raise bad_request("an empty namespace may not be set during creation")
        owner = self.version("namespaces", "", namespace).obj
        if "deletionTimestamp" in owner["metadata"]:
            because = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause("metadata.namespace", "NamespaceTerminating", f"namespace {namespace} is being terminated")
            raise forbidden(kind, obj["metadata"].get("name", ""), because, [cause])

    def commit(self, kind: Kind, obj: Obj, verb: str, actor: str) -> Obj:
        """Store a new state whose fields' owners stay as they are."""
        before = self._store.get(kind.plural, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        return self.save(kind, obj, () if before is None else before.managed, verb, actor).obj

    def save(self, kind: Kind, obj: Obj, owners: Managed, verb: str, actor: str) -> Version:
        metadata.arrange(obj)
        version = self._store.put(kind.plural, obj, owners)
        _log.debug("%s %s %s -> %d", actor, verb, _where(kind, obj), version.revision)
        return version

    def remove(self, kind: Kind, obj: Obj, actor: str) -> Version:
        version = self._store.remove(kind.plural, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        _log.debug("%s remove %s -> %d", actor, _where(kind, obj), version.revision)
        return version


def writer_of(kind: Kind, actor: str, subresource: str = "") -> Writer:
    return Writer(manager_name(actor), "Update", kind.api_version, subresource)


def _with_finalizers(new: Obj, given: Obj) -> Obj:
    """A namespace with the finalizers of its spec replaced."""
    finalizers = (given.get("spec") or {}).get("finalizers")
    new["spec"] = {"finalizers": finalizers} if finalizers else {}
    return new


def kind_of(resource: str) -> Kind:
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
