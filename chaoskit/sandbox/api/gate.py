"""Who asks, and may he: authentication by bearer token, impersonation, authorization by RBAC. Lets through or refuses.

Source: kubernetes.io, Authenticating and Authorization; k8s.io/apiserver pkg/endpoints/{filters,request}, restated; texts
recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

import hmac
from typing import Final

from aiohttp import web

from chaoskit.sandbox.access import rbac
from chaoskit.sandbox.access.identity import (
    ADMINISTRATOR,
    ANONYMOUS,
    AUTHENTICATED,
    Tokens,
    User,
    account_of,
    service_account,
)
from chaoskit.sandbox.access.rbac import Attributes
from chaoskit.sandbox.api.query import flag
from chaoskit.sandbox.api.route import Route
from chaoskit.sandbox.errors import ApiError, failure, forbidden, unauthorized
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.rules.access import GROUP
from chaoskit.sandbox.selectors import exact_name
from chaoskit.sandbox.store import Obj, Store

USER: Final = web.RequestKey("user", User)
"""Under which a request carries its user; the dispatcher notes him."""
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "GET": "get", "HEAD": "get"}
_AS_USER, _AS_GROUP, _AS_UID = "Impersonate-User", "Impersonate-Group", "Impersonate-Uid"


class Gate:
    """Knows the administrator's token, the tokens of service accounts, and the roles."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.tokens = Tokens(registry.store)

    def user(self, request: web.BaseRequest) -> User:
        """Who sent a request, before impersonation. Raises ApiError 401 for a token that is nobody's."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return ANONYMOUS
        if scheme.lower() != "bearer":
            raise unauthorized()
        if hmac.compare_digest(token.strip().encode(), self._registry.settings.token.encode()):
            return ADMINISTRATOR
        found = self.tokens.user(token.strip())
        if found is None:
            raise unauthorized()
        return found

    def acting(self, request: web.BaseRequest, user: User, asked: Attributes) -> User:
        """As whom the user acts: himself, or whom he impersonates. Raises ApiError 403 when he may not."""
        name = request.headers.get(_AS_USER)
        if name is None:
            return user
        account = account_of(name)
        needed = [Attributes("impersonate", resource="users", name=name)]
        if account is not None:
            needed = [Attributes("impersonate", resource="serviceaccounts", namespace=account[0], name=account[1])]
        groups = tuple(request.headers.getall(_AS_GROUP, []))
        needed += [Attributes("impersonate", resource="groups", name=group) for group in groups]
        if not all(rbac.decide(self._registry.store, user, each).allowed for each in needed):
            kind = "serviceaccount" if account is not None else "user-info"
            raise refused(user, asked, f"impersonate-on:{kind}:{asked.verb}", "")
        if account is not None and not groups:
            return service_account(*account)
        return User(
            name, groups if AUTHENTICATED in groups else (*groups, AUTHENTICATED), request.headers.get(_AS_UID, "")
        )

    def check(self, user: User, asked: Attributes) -> None:
        """Raises ApiError 403."""
        decision = rbac.decide(self._registry.store, user, asked)
        if not decision.allowed:
            raise refused(user, asked, asked.verb, decision.reason)

    def check_upgrade(self, user: User, asked: Attributes) -> None:
        """A websocket comes by GET and does what a POST does: both verbs are needed. The second refusal says nothing (recorded)."""
        self.check(user, asked)
        creating = Attributes("create", asked.group, asked.resource, asked.subresource, asked.namespace, asked.name)
        if not rbac.decide(self._registry.store, user, creating).allowed:
            raise _refusal(asked, f"{asked.resource} {_quoted(asked.name)} is forbidden: ")


def check_creating(request: web.BaseRequest, registry: Registry, route: Route) -> None:
    """An apply that creates needs the right to create as well. Raises ApiError 403."""
    asked = Attributes("create", route.kind.group, route.kind.plural, namespace=route.namespace, name=route.name)
    decision = rbac.decide(registry.store, request[USER], asked)
    if not decision.allowed:
        raise refused(request[USER], asked, asked.verb, decision.reason)


def check_grant(store: Store, user: User, kind: Kind, obj: Obj) -> None:
    """Nobody hands out more than he holds. Raises ApiError 403 for a role or a binding that would."""
    metadata = obj["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    special, wanted = Attributes("escalate", GROUP, kind.plural, namespace=namespace, name=name), obj.get("rules")
    if "roleRef" in obj:
        role = "clusterroles" if obj["roleRef"]["kind"] == "ClusterRole" else "roles"
        special = Attributes("bind", GROUP, role, namespace=namespace, name=obj["roleRef"]["name"])
        wanted = rbac.role_rules(store, obj["roleRef"], namespace)
    if rbac.decide(store, user, special).allowed:
        return
    held, missing = rbac.rules_for(store, user, namespace)
    if lacking := rbac.not_held(list(wanted or ()), held):
        raise _escalation(user, kind, name, lacking, missing)


def attributes(request: web.BaseRequest, route: Route) -> Attributes:
    """What a request for a resource asks for."""
    kind = route.kind
    name, namespace, verb = route.name, route.namespace, _VERBS.get(request.method, "")
    if request.method == "DELETE":
        verb = "delete" if name else "deletecollection"
    elif verb == "get" and not name:
        verb = "watch" if flag(request.query, "watch") else "list"
        name = exact_name(request.query.get("fieldSelector", "")) or ""
    if kind.plural == "namespaces" and route.name:
        namespace = route.name
    if route.subresource == "proxy":
        name = route.name
    return Attributes(verb, kind.group, kind.plural, route.subresource, namespace, name)


def path_attributes(request: web.BaseRequest) -> Attributes:
    """What a request for anything else asks for."""
    return Attributes(_VERBS.get(request.method, request.method).lower(), path=request.path)


def refused(user: User, asked: Attributes, verb: str, reason: str) -> ApiError:
    told = f": {reason}" if reason else ""
    if asked.path:
        return forbidden(None, "", f'User "{user.name}" cannot {verb} path "{asked.path}"')
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    subject = f"{resource} {_quoted(asked.name)}" if asked.name else resource
    can = f'User "{user.name}" cannot {verb} resource "{asked.full_resource}" in API group "{asked.group}" {where}'
    return _refusal(asked, f"{subject} is forbidden: {can}{told}")


def _refusal(asked: Attributes, message: str) -> ApiError:
    details = {"name": asked.name, "group": asked.group, "kind": asked.resource}
    return ApiError(failure(403, "Forbidden", message, {key: value for key, value in details.items() if value}))


def _escalation(user: User, kind: Kind, name: str, lacking: list[Obj], missing: list[str]) -> ApiError:
    groups = " ".join(_quoted(group) for group in user.groups)
    rules = "\n".join(rbac.shown(rule) for rule in lacking)
    errors = f"; resolution errors: [{', '.join(missing)}]" if missing else ""
    grant = "is attempting to grant RBAC permissions not currently held"
    return forbidden(kind, name, f"user {_quoted(user.name)} (groups=[{groups}]) {grant}:\n{rules}{errors}")


def _quoted(text: str) -> str:
    return f'"{text}"'
