"""Every request's way through: who asks, what for, who answers; and the border where errors become answers.

Source: the request pipeline of a real API server, restated: authentication, routing, the verb, the answer.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import ClientSession, web

from chaoskit.sandbox import notices, scale
from chaoskit.sandbox.api import answer, discovery, openapi, write
from chaoskit.sandbox.api.body import read_any
from chaoskit.sandbox.api.proxy import relay_http
from chaoskit.sandbox.api.query import check_timeout, list_options
from chaoskit.sandbox.api.read import list_page
from chaoskit.sandbox.api.route import Route, parse_route
from chaoskit.sandbox.api.streams import relay_exec, relay_log
from chaoskit.sandbox.api.table import table_line, table_of, wants_table
from chaoskit.sandbox.api.watch import plain_line, serve_watch
from chaoskit.sandbox.errors import (
    ApiError,
    forbidden,
    internal,
    method_not_allowed,
    not_acceptable,
    not_implemented,
    unauthorized,
)
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.store import Obj

_log = logging.getLogger(__name__)
_Handler = Callable[[web.BaseRequest, Registry, Route], Awaitable[web.StreamResponse]]
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
_ACCEPTABLE = ("application/json", "application/*", "*/*", "application/yaml")


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """`sessions` is how pods are reached for their proxy; it re-sends nothing."""

    registry: Registry
    session: ClientSession

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        with notices.collecting() as warnings:
            try:
                response = await self._answer(request)
            except ApiError as refusal:
                response = answer.error(refusal)
            except web.HTTPException as refusal:
                response = answer.text(refusal.reason, refusal.status)
            except (ConnectionError, TimeoutError) as lost:
                _log.info("%s %s: the client is gone: %r", request.method, request.path, lost)
                raise
            except Exception as error:  # noqa: BLE001 - the border of a request
                _log.exception("%s %s failed", request.method, request.path)
                response = answer.error(internal(f"{type(error).__name__}: {error}"))
        if warnings and not response.prepared:
            for value in answer.warnings_header(warnings):
                response.headers.add("Warning", value)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        known = self._authenticated(request)
        if path.rstrip("/").startswith(_PUBLIC):
            return _public(path)
        if not known:
            raise forbidden(None, "", f'User "system:anonymous" cannot {request.method.lower()} path "{path}"')
        check_timeout(request.query)
        route = None if path.startswith("/apis/authorization.k8s.io/") else parse_route(request.rel_url.raw_path)
        if route is None:
            return await self._unrouted(request)
        return await self._routed(request, route)

    def _authenticated(self, request: web.BaseRequest) -> bool:
        """Whether the caller showed the token. Raises ApiError 401 for a wrong one."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return False
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip(), self.registry.settings.token):
            raise unauthorized()
        return True

    async def _unrouted(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if request.method == "POST" and path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return _review(await read_any(request))
        if request.method not in ("GET", "HEAD"):
            return answer.text("404 page not found\n", 404)
        found = _discovery(path, request.headers.get("Accept", ""), self.registry.settings.server)
        return found if found is not None else answer.text("404 page not found\n", 404)

    async def _routed(self, request: web.BaseRequest, route: Route) -> web.StreamResponse:
        if route.subresource == "proxy":
            return await relay_http(request, self.registry, route, self.session)
        if route.subresource == "exec":
            return await relay_exec(request, self.registry, route)
        if request.method in ("GET", "HEAD"):
            return await self._get(request, route)
        handler = _writer(request.method, route)
        if handler is None:
            raise method_not_allowed()
        return await handler(request, self.registry, route)

    async def _get(self, request: web.BaseRequest, route: Route) -> web.StreamResponse:
        if route.subresource:
            return await self._get_subresource(request, route)
        table = wants_table(request)
        _check_acceptable(request)
        if route.name:
            version = self.registry.version(route.kind.plural, route.namespace, route.name)
            return answer.of(table_of(route.kind, [version], {}, request)) if table else answer.of_version(version)
        options = list_options(request.query)
        if options.watch:
            line = table_line(route.kind, request) if table else plain_line
            return await serve_watch(request, self.registry, route.kind, route.namespace, options, line)
        page = list_page(self.registry, route.kind, route.namespace, options)
        if table:
            return answer.of(table_of(route.kind, page.items, page.metadata, request))
        return answer.of_list(route.kind, [version.encoded for version in page.items], page.metadata)

    async def _get_subresource(self, request: web.BaseRequest, route: Route) -> web.StreamResponse:
        if route.subresource == "log":
            return await relay_log(request, self.registry, route)
        obj = self.registry.get(route.kind.plural, route.namespace, route.name)
        if route.subresource == "scale":
            return answer.of(scale.to_scale(obj))
        if route.subresource == "status":
            return answer.of(obj)
        raise method_not_allowed()


def _writer(method: str, route: Route) -> _Handler | None:
    if method == "POST":
        return write.post_subresource if route.subresource else (None if route.name else write.create)
    if method == "DELETE" and not route.subresource:
        return write.delete if route.name else write.delete_collection
    if not route.name:
        return None
    return {"PUT": write.update, "PATCH": write.patch}.get(method)


def _public(path: str) -> web.Response:
    if path.startswith("/version"):
        return answer.raw(orjson.dumps(discovery.VERSION, option=orjson.OPT_INDENT_2))
    return answer.text("ok")


def _discovery(path: str, accept: str, server: str) -> web.Response | None:
    parts = path.split("/")[1:]
    if path in ("/api", "/apis"):
        version = discovery.aggregated_version(accept)
        if version is not None:
            body = orjson.dumps(discovery.aggregated(version, core=path == "/api"))
            return answer.raw(body, content_type=discovery.aggregated_media(version))
        return answer.of(discovery.core_versions(server) if path == "/api" else discovery.group_list())
    found: Any = None
    if parts[0] == "api" and len(parts) == 2:
        found = discovery.resource_list("", parts[1])
    elif parts[0] == "apis":
        found = discovery.group_entry(parts[1]) if len(parts) == 2 else discovery.resource_list(*parts[1:3])
    elif path.startswith("/openapi/v3"):
        found = openapi.document(path.removeprefix("/openapi/v3").strip("/"))
    return None if found is None else answer.of(found)


def _review(asked: Any) -> web.Response:
    """The one user there is may do everything."""
    if not isinstance(asked, dict) or not isinstance(asked.get("spec"), dict):
        raise not_implemented("a SelfSubjectAccessReview without a spec")
    status: Obj = {"allowed": True, "reason": "the sandbox has one user, its administrator"}
    head = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
    metadata = {"creationTimestamp": None}
    return answer.of(head | {"metadata": metadata, "spec": asked["spec"], "status": status}, 201)


def _check_acceptable(request: web.BaseRequest) -> None:
    """Raises ApiError 406 for a client that takes nothing but an encoding we do not speak."""
    accept = request.headers.get("Accept", "*/*")
    media = [part.partition(";")[0].strip() for part in accept.split(",")]
    if not any(name in _ACCEPTABLE for name in media):
        raise not_acceptable("only the following media types are accepted: application/json")
