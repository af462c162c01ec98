"""Every request's way through: who asks, what for, who answers; and the border where errors become answers.

Source: the request pipeline of a real API server, restated: authentication, routing, the verb, the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from aiohttp import ClientSession, web

from chaoskit.sandbox import notices, scale
from chaoskit.sandbox.access.identity import User
from chaoskit.sandbox.access.rbac import Attributes
from chaoskit.sandbox.api import admin, answer, discovery, eventview, openapi, trouble, write
from chaoskit.sandbox.api.gate import USER, Gate, attributes, path_attributes
from chaoskit.sandbox.api.proxy import relay_http
from chaoskit.sandbox.api.query import check_timeout, list_options
from chaoskit.sandbox.api.read import list_page
from chaoskit.sandbox.api.reviews import issue_token, review_at, serve_review
from chaoskit.sandbox.api.route import Route, parse_route
from chaoskit.sandbox.api.streams import relay_exec, relay_log
from chaoskit.sandbox.api.table import table_line, table_of, wants_table
from chaoskit.sandbox.api.watch import plain_line, serve_watch
from chaoskit.sandbox.errors import ApiError, internal, method_not_allowed, not_acceptable, too_large
from chaoskit.sandbox.kinds import EVENTS_VIEW
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.store import Version

MAX_BODY_BYTES: Final = 3 * 1024 * 1024
_log = logging.getLogger(__name__)
_Handler = Callable[[web.BaseRequest, Registry, Route], Awaitable[web.StreamResponse]]
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
_ACCEPTABLE = ("application/json", "application/*", "*/*", "application/yaml")


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """`session` is how pods are reached for their proxy; it re-sends nothing."""

    registry: Registry
    session: ClientSession
    gate: Gate
    switchboard: admin.Switchboard | None = None

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        with notices.collecting() as warnings:
            try:
                response = await trouble.through(request, self._answer)
            except ApiError as refusal:
                response = answer.error(refusal)
            except web.HTTPRequestEntityTooLarge:
                response = answer.error(too_large(MAX_BODY_BYTES))
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
        user = self.gate.user(request)
        check_timeout(request.query)
        if path.startswith(f"{admin.PREFIX}/") and self.switchboard is not None:
            return await admin.serve_admin(request, self.registry, self.switchboard)
        if (found := review_at(path)) is not None:
            review, namespace = found
            asked = Attributes("create", review.group, review.plural, namespace=namespace)
            user = self._let_in(request, user, asked)
            return await serve_review(request, self.registry, self.gate, review, namespace, user)
        route = parse_route(request.rel_url.raw_path)
        self._let_in(request, user, path_attributes(request) if route is None else attributes(request, route))
        return self._unrouted(request) if route is None else await self._routed(request, route)

    def _let_in(self, request: web.BaseRequest, user: User, asked: Attributes) -> User:
        """As whom the request is carried out; handlers find him in the request. Raises ApiError 403."""
        acting = self.gate.acting(request, user, asked)
        if asked.subresource == "exec" and request.method == "GET":
            self.gate.check_upgrade(acting, asked)
        else:
            self.gate.check(acting, asked)
        request[USER] = acting
        return acting

    def _unrouted(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if request.method not in ("GET", "HEAD"):
            return answer.text("404 page not found\n", 404)
        if path.startswith(_PUBLIC):
            return _public(path)
        found = _discovery(path, request.headers.get("Accept", ""), self.registry.settings.server)
        return found if found is not None else answer.text("404 page not found\n", 404)

    async def _routed(self, request: web.BaseRequest, route: Route) -> web.StreamResponse:
        if route.subresource == "proxy":
            return await relay_http(request, self.registry, route, self.session)
        if route.subresource == "exec":
            return await relay_exec(request, self.registry, route)
        if request.method in ("GET", "HEAD"):
            return await self._get(request, route)
        if route.subresource == "token":
            return await self._issue_token(request, route)
        handler = _writer(request.method, route)
        if handler is None:
            raise method_not_allowed()
        return await handler(request, self.registry, route)

    async def _issue_token(self, request: web.BaseRequest, route: Route) -> web.StreamResponse:
        if request.method != "POST":
            raise method_not_allowed()
        return await issue_token(request, self.registry, route, self.gate.tokens)

    async def _get(self, request: web.BaseRequest, route: Route) -> web.StreamResponse:
        if route.subresource:
            return await self._get_subresource(request, route)
        table = wants_table(request)
        _check_acceptable(request)
        view = eventview.shown if route.kind is EVENTS_VIEW else _as_it_is
        if route.name:
            version = self.registry.version(route.kind.plural, route.namespace, route.name)
            return (
                answer.of(table_of(route.kind, [version], {}, request)) if table else answer.of_version(view(version))
            )
        options = list_options(request.query)
        if route.kind is EVENTS_VIEW:
            options = replace(options, fields=eventview.core_fields(options.fields))
        if options.watch:
            line = (
                table_line(route.kind, request) if table else (lambda type_, version: plain_line(type_, view(version)))
            )
            return await serve_watch(request, self.registry, route.kind, route.namespace, options, line)
        page = list_page(self.registry, route.kind, route.namespace, options)
        if table:
            return answer.of(table_of(route.kind, page.items, page.metadata, request))
        return answer.of_list(route.kind, [view(version).encoded for version in page.items], page.metadata)

    async def _get_subresource(self, request: web.BaseRequest, route: Route) -> web.StreamResponse:
        if route.subresource == "log":
            return await relay_log(request, self.registry, route)
        obj = self.registry.get(route.kind.plural, route.namespace, route.name)
        if route.subresource == "scale":
            return answer.of(scale.to_scale(obj))
        if route.subresource == "status":
            return answer.of(obj)
        raise method_not_allowed()


def _as_it_is(version: Version) -> Version:
    return version


def _writer(method: str, route: Route) -> _Handler | None:
    if route.kind is EVENTS_VIEW and method in ("POST", "PUT", "PATCH"):
        return eventview.create if method == "POST" else eventview.refuse
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


def _check_acceptable(request: web.BaseRequest) -> None:
    """Raises ApiError 406 for a client that takes nothing but an encoding we do not speak."""
    accept = request.headers.get("Accept", "*/*")
    media = [part.partition(";")[0].strip() for part in accept.split(",")]
    if not any(name in _ACCEPTABLE for name in media):
        raise not_acceptable("only the following media types are accepted: application/json")
