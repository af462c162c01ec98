"""POST, PUT, PATCH and DELETE of objects, and their subresources. Parses requests; the registry decides.

Source: kubernetes.io, API Concepts; answers recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from chaoskit.sandbox.api import answer
from chaoskit.sandbox.api.body import read_any, read_object, read_patch
from chaoskit.sandbox.api.query import dry_run, list_options, whole
from chaoskit.sandbox.api.read import list_page
from chaoskit.sandbox.api.route import Route
from chaoskit.sandbox.errors import bad_request, not_implemented
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.schema import check_fields
from chaoskit.sandbox.store import Obj


async def create(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    obj = await read_object(request, route.kind)
    dry = dry_run(request.query, "CreateOptions")
    check_fields(obj, route.kind, request.query.get("fieldValidation", ""))
    namespace = route.namespace or str(obj.get("metadata", {}).get("namespace", ""))
    return answer.of(registry.create(route.kind.plural, namespace, obj, actor=actor(request), dry_run=dry), 201)


async def update(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    scale = route.subresource == "scale"
    given = await read_any(request) if scale else await read_object(request, route.kind)
    dry = dry_run(request.query, "UpdateOptions")
    if not isinstance(given, dict):
        raise bad_request("the object provided is unrecognized: expected a mapping")
    if not scale:
        check_fields(given, route.kind, request.query.get("fieldValidation", ""))
    new = registry.update(
        route.kind.plural,
        route.namespace,
        route.name,
        given,
        actor=actor(request),
        subresource=route.subresource,
        dry_run=dry,
    )
    return answer.of(new)


async def patch(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    body, style = await read_patch(request)
    dry = dry_run(request.query, "PatchOptions")
    new = registry.patch(
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
    return answer.of(new)


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """metav1.DeleteOptions, as far as they are honoured."""

    grace_s: int | None = None
    propagation: str = "Background"
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
        propagation=propagation or "Background",
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
        propagation=options.propagation,
        dry_run=options.dry_run,
    )


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
