"""POST, PUT, PATCH and DELETE of objects, and their subresources. Parses requests; the registry decides.

Source: kubernetes.io, API Concepts; answers recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from chaoskit.sandbox.access.identity import MASTERS, User
from chaoskit.sandbox.api import answer
from chaoskit.sandbox.api.body import APPLY_MEDIA, read_any, read_config, read_object, read_patch
from chaoskit.sandbox.api.gate import USER, check_creating, check_grant
from chaoskit.sandbox.api.query import dry_run, flag, list_options, whole
from chaoskit.sandbox.api.read import list_page
from chaoskit.sandbox.api.route import Route
from chaoskit.sandbox.errors import ApiError, bad_request, failure, not_implemented
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.notices import count_unsupported, warn
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.rules.access import GROUP
from chaoskit.sandbox.schema import check_fields
from chaoskit.sandbox.store import Obj, Version


async def create(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    obj = await read_object(request, route.kind)
    dry = dry_run(request.query, "CreateOptions")
    check_fields(obj, route.kind, request.query.get("fieldValidation", ""))
    namespace = route.namespace or str(obj.get("metadata", {}).get("namespace", ""))

    def perform(dry: bool) -> Version:
        return registry.writing.created(route.kind.plural, namespace, obj, actor=actor(request), dry_run=dry)

    return answer.of_version(_granted(request, registry, route, dry, perform), 201)


async def update(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    scale = route.subresource == "scale"
    given = await read_any(request) if scale else await read_object(request, route.kind)
    dry = dry_run(request.query, "UpdateOptions")
    if not isinstance(given, dict):
        raise bad_request("the object provided is unrecognized: expected a mapping")
    if not scale:
        check_fields(given, route.kind, request.query.get("fieldValidation", ""))

    def perform(dry: bool) -> Version:
        return registry.writing.updated(
            route.kind.plural,
            route.namespace,
            route.name,
            given,
            actor=actor(request),
            subresource=route.subresource,
            dry_run=dry,
        )

    return answer.of_version(_granted(request, registry, route, dry, perform))


async def patch(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    if request.content_type in APPLY_MEDIA:
        return await apply(request, registry, route)
    body, style = await read_patch(request)
    dry = dry_run(request.query, "PatchOptions")
    if "force" in request.query:
        raise _bad_options("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch")

    def perform(dry: bool) -> Version:
        return registry.writing.patched(
            route.kind.plural,
            route.namespace,
            route.name,
            body,
            style=style,
            actor=actor(request),
            subresource=route.subresource,
            dry_run=dry,
            field_validation=request.query.get("fieldValidation", ""),
        )

    return answer.of_version(_granted(request, registry, route, dry, perform))


async def apply(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    """Server-side apply."""
    manager = request.query.get("fieldManager", "")
    if not manager:
        raise _bad_options("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
    if route.subresource not in ("", "status"):
        count_unsupported(f"server-side apply of {route.kind.plural}/{route.subresource}")
        raise not_implemented(f"server-side apply of {route.kind.plural}/{route.subresource}")
    config = await read_config(request, route.kind)
    new = not route.subresource and registry.find(route.kind.plural, route.namespace, route.name) is None
    if new:
        check_creating(request, registry, route)

    def perform(dry: bool) -> Version:
        return registry.writing.applied(
            route.kind.plural,
            route.namespace,
            route.name,
            orjson.loads(orjson.dumps(config)),
            actor=manager,
            force=flag(request.query, "force"),
            subresource=route.subresource,
            dry_run=dry,
        )

    dry = dry_run(request.query, "PatchOptions")
    return answer.of_version(_granted(request, registry, route, dry, perform), 201 if new else 200)


def _granted(
    request: web.BaseRequest, registry: Registry, route: Route, dry: bool, perform: Callable[[bool], Version]
) -> Version:
    """Carry out a write, unless it would hand out rights that its user does not hold. Raises ApiError 403."""
    user: User = request[USER]
    if route.kind.group == GROUP and MASTERS not in user.groups:
        check_grant(registry.store, user, route.kind, perform(True).obj)
    return perform(dry)


def _bad_options(field: str, reason: str, why: str) -> ApiError:
    cause = {"reason": reason, "message": why, "field": field}
    details = {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [cause]}
    return ApiError(failure(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {field}: {why}', details))


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """metav1.DeleteOptions, as far as they are honoured."""

    grace_s: int | None = None
    propagation: str = ""
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


def delete_options(body: Any, query: Any) -> DeleteOptions:
    """From the body, or from the query where the body is silent. Raises ApiError 400 or 422."""
    given: Obj = body if isinstance(body, dict) else {}
    grace = given.get("gracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise bad_request("gracePeriodSeconds must be a whole number")
    propagation = given.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if propagation not in ("", "Background", "Foreground", "Orphan"):
        raise bad_request(f'invalid propagationPolicy "{propagation}": expected Background, Foreground or Orphan')
    if not propagation and given.get("orphanDependents"):
        propagation = "Orphan"
    preconditions = given.get("preconditions") or {}
    return DeleteOptions(
        grace_s=grace if grace is not None else whole(query, "gracePeriodSeconds"),
        propagation=propagation,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        dry_run=dry_run(query, "DeleteOptions", given.get("dryRun")),
    )


async def delete(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    options = delete_options(await read_any(request), request.query)
    last = _delete(registry, route.kind, route.namespace, route.name, options, actor(request))
    if route.kind.plural == "pods" or "deletionTimestamp" in last["metadata"]:
        return answer.of(last)
    return answer.success(last, route.kind)


async def delete_collection(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    options = delete_options(await read_any(request), request.query)
    page = list_page(registry, route.kind, route.namespace, list_options(request.query))
    for version in page.items:
        metadata = version.obj["metadata"]
        _delete(registry, route.kind, metadata.get("namespace", ""), metadata["name"], options, actor(request))
    return answer.of_list(route.kind, [version.encoded for version in page.items], page.metadata)


def _delete(registry: Registry, kind: Kind, namespace: str, name: str, options: DeleteOptions, who: str) -> Obj:
    return registry.delete(
        kind.plural,
        namespace,
        name,
        actor=who,
        uid=options.uid,
        resource_version=options.resource_version,
        grace_s=options.grace_s,
        propagation=options.propagation or _usual_propagation(kind),
        dry_run=options.dry_run,
    )


def _usual_propagation(kind: Kind) -> str:
    """What a DELETE means that says nothing of dependents. Those of a Job stay, for the sake of very old clients."""
    if kind.plural != "jobs":
        return "Background"
    warn(
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
        "or set propagationPolicy=Orphan to suppress this warning"
    )
    return "Orphan"


async def evict(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    eviction = await read_any(request)
    if not isinstance(eviction, dict) or eviction.get("kind", "Eviction") != "Eviction":
        raise bad_request("the object provided is unrecognized (must be of type Eviction)")
    named = (eviction.get("metadata") or {}).get("name", route.name)
    if named != route.name:
        raise bad_request(f"name in URL does not match name in Eviction object: {route.name} and {named}")
    options = delete_options(eviction.get("deleteOptions"), request.query)
    registry.evict(
        route.namespace,
        route.name,
        actor=actor(request),
        uid=options.uid,
        resource_version=options.resource_version,
        grace_s=options.grace_s,
        dry_run=options.dry_run,
    )
    return _created()


async def bind(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    binding = await read_any(request)
    target = (binding or {}).get("target") or {}
    if not target.get("name"):
        raise bad_request("the binding names no target: expected target.name, a node")
    dry = dry_run(request.query, "CreateOptions")
    registry.bind(route.namespace, route.name, target["name"], actor=actor(request), dry_run=dry)
    return _created()


async def post_subresource(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    if route.subresource == "eviction":
        return await evict(request, registry, route)
    if route.subresource == "binding":
        return await bind(request, registry, route)
    raise not_implemented(f"POST {route.kind.plural}/{route.subresource}")


def _created() -> web.Response:
    return answer.of({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)


def actor(request: web.BaseRequest) -> str:
    """Who writes: the field manager, else the beginning of the user agent."""
    return request.query.get("fieldManager") or request.headers.get("User-Agent", "unknown").partition("/")[0]
