"""Questions about access that are answered and not stored: reviews, and the tokens of service accounts. Stores nothing.

Source: kubernetes.io, Authorization, Checking API access, and the API of authentication.k8s.io/v1; answers recorded on
Kubernetes 1.36.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from chaoskit.sandbox import clock
from chaoskit.sandbox.access import rbac
from chaoskit.sandbox.access.identity import ISSUER, Tokens, User
from chaoskit.sandbox.access.rbac import Attributes
from chaoskit.sandbox.api import answer
from chaoskit.sandbox.api.body import read_any
from chaoskit.sandbox.api.gate import Gate
from chaoskit.sandbox.api.query import dry_run
from chaoskit.sandbox.api.route import Route
from chaoskit.sandbox.errors import ApiError, bad_request, failure, method_not_allowed, not_found
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.store import Obj

AUTHORIZATION: Final = "authorization.k8s.io"
AUTHENTICATION: Final = "authentication.k8s.io"
_SHORTEST_S: Final = 600
_LONGEST_S: Final = 1 << 32
_USUAL_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what is needed to answer."""

    registry: Registry
    tokens: Tokens
    user: User
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """One kind of question: its resource, and the status that answers a spec."""

    kind: str
    group: str
    status: Callable[[Obj, Asker], Obj]
    namespaced: bool = False
    shows_spec: bool = True

    @property
    def plural(self) -> str:
        return f"{self.kind.lower()}s"


async def serve_review(
    request: web.BaseRequest, registry: Registry, gate: Gate, review: Review, where: str, user: User
) -> web.Response:
    """Raises ApiError 400, 403, 405 or 422."""
    if request.method != "POST":
        raise method_not_allowed()
    asked = await read_any(request)
    if not isinstance(asked, dict) or asked.get("kind", review.kind) != review.kind:
        raise bad_request(f"the object provided is unrecognized (must be of type {review.kind})")
    spec = asked.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request(f"the spec of a {review.kind} must be a mapping")
    dry_run(request.query, "CreateOptions")
    status = review.status(spec, Asker(registry, gate.tokens, user, where))
    found: Obj = {"kind": review.kind, "apiVersion": f"{review.group}/v1", "metadata": {}}
    if review.shows_spec:
        found["spec"] = {} if review.kind == "SelfSubjectRulesReview" else spec
    else:
        found["metadata"] = {"creationTimestamp": clock.stamp()}
    return answer.of(found | {"status": status}, 201)


def review_at(path: str) -> tuple[Review, str] | None:
    """The review that a path leads to, and the namespace in it."""
    parts = path.strip("/").split("/")
    if len(parts) < 4 or parts[0] != "apis" or parts[2] != "v1" or parts[1] not in (AUTHORIZATION, AUTHENTICATION):
        return None
    scoped = len(parts) == 6 and parts[3] == "namespaces"
    review = REVIEWS.get((parts[1], parts[-1]))
    if review is None or review.namespaced is not scoped or not (scoped or len(parts) == 4):
        return None
    return review, parts[4] if scoped else ""


def _own_access(spec: Obj, asker: Asker) -> Obj:
    return _access(asker.user, spec, asker)


def _access_of(spec: Obj, asker: Asker) -> Obj:
    name, groups = spec.get("user") or "", tuple(spec.get("groups") or ())
    if not name and not groups:
        raise _invalid("spec.user: Required value: at least one of user or group must be specified")
    attributes = spec.get("resourceAttributes")
    if asker.namespace and isinstance(attributes, dict) and attributes.get("namespace") != asker.namespace:
        raise bad_request(f"spec.resourceAttributes.namespace must match namespace: {asker.namespace}")
    return _access(User(name, groups), spec, asker)


def _access(user: User, spec: Obj, asker: Asker) -> Obj:
    decision = rbac.decide(asker.registry.store, user, _asked(spec))
    status: Obj = {"allowed": decision.allowed}
    return status | {"reason": decision.reason} if decision.reason else status


def _asked(spec: Obj) -> Attributes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) is (path is None):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _invalid(f"spec.resourceAttributes: Invalid value: null: {why}")
    if path is not None:
        return Attributes(_text(path, "verb"), path=_text(path, "path") or "/")
    keys = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(*(_text(resource, key) for key in keys))


def _text(attributes: Any, key: str) -> str:
    value = attributes.get(key) if isinstance(attributes, dict) else None
    return value if isinstance(value, str) else ""


def _own_rules(spec: Obj, asker: Asker) -> Obj:
    namespace = _text(spec, "namespace")
    if not namespace:
        raise bad_request("no namespace on request")
    rules, missing = rbac.rules_for(asker.registry.store, asker.user, namespace)
    status: Obj = {
        "resourceRules": [rule for rule in rules if not rule.get("nonResourceURLs")],
        "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
        "incomplete": False,
    }
    return status | {"evaluationError": ", ".join(missing)} if missing else status


def _own_name(spec: Obj, asker: Asker) -> Obj:
    return {"userInfo": asker.user.info()}


def _token(spec: Obj, asker: Asker) -> Obj:
    user = asker.tokens.user(_text(spec, "token"))
    if user is None:
        return {"user": {}, "error": "[invalid bearer token]"}
    return {"authenticated": True, "user": user.info(), "audiences": [ISSUER]}


_ALL: Final = (
    Review("SelfSubjectAccessReview", AUTHORIZATION, _own_access),
    Review("SelfSubjectRulesReview", AUTHORIZATION, _own_rules),
    Review("SubjectAccessReview", AUTHORIZATION, _access_of),
    Review("LocalSubjectAccessReview", AUTHORIZATION, _access_of, namespaced=True),
    Review("SelfSubjectReview", AUTHENTICATION, _own_name, shows_spec=False),
    Review("TokenReview", AUTHENTICATION, _token),
)
REVIEWS: Final[dict[tuple[str, str], Review]] = {(review.group, review.plural): review for review in _ALL}


def _invalid(why: str) -> ApiError:
    return ApiError(failure(422, "Invalid", f'.{AUTHORIZATION} "" is invalid: {why}', {"group": AUTHORIZATION}))


async def issue_token(request: web.BaseRequest, registry: Registry, route: Route, tokens: Tokens) -> web.Response:
    """POST serviceaccounts/NAME/token. Raises ApiError 400, 404, 409 or 422."""
    asked = await read_any(request)
    if not isinstance(asked, dict) or asked.get("kind", "TokenRequest") != "TokenRequest":
        raise bad_request("the object provided is unrecognized (must be of type TokenRequest)")
    account = registry.get("serviceaccounts", route.namespace, route.name)
    spec = asked.get("spec") or {}
    seconds = spec.get("expirationSeconds") or _USUAL_S
    _check_duration(seconds)
    audiences = [str(name) for name in spec.get("audiences") or [ISSUER]]
    bound = _bound(registry, route.namespace, spec.get("boundObjectRef"))
    dry = dry_run(request.query, "CreateOptions")
    token, expires = tokens.issue(account, audiences, seconds, bound)
    metadata = {key: account["metadata"][key] for key in ("name", "namespace", "uid")}
    metadata["creationTimestamp"] = clock.stamp()
    shown = {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": spec.get("boundObjectRef")}
    status = {"token": "" if dry else token, "expirationTimestamp": clock.render(datetime.fromtimestamp(expires, UTC))}
    head = {"kind": "TokenRequest", "apiVersion": f"{AUTHENTICATION}/v1", "metadata": metadata}
    return answer.of(head | {"spec": shown, "status": status}, 201)


def _check_duration(seconds: Any) -> None:
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise bad_request("spec.expirationSeconds must be a whole number")
    why = "may not specify a duration less than 10 minutes" if seconds < _SHORTEST_S else ""
    why = "may not specify a duration larger than 2^32 seconds" if seconds > _LONGEST_S else why
    if why:
        cause = {
            "reason": "FieldValueInvalid",
            "message": f"Invalid value: {seconds}: {why}",
            "field": "spec.expirationSeconds",
        }
        details = {"group": AUTHENTICATION, "kind": "TokenRequest", "causes": [cause]}
        message = f'TokenRequest.{AUTHENTICATION} "" is invalid: spec.expirationSeconds: {cause["message"]}'
        raise ApiError(failure(422, "Invalid", message, details))


def _bound(registry: Registry, namespace: str, reference: Any) -> Obj | None:
    """The pod or secret that a token is to live no longer than."""
    if not isinstance(reference, dict):
        return None
    kind = {"Pod": KINDS["pods"], "Secret": KINDS["secrets"]}.get(reference.get("kind", ""))
    if kind is None:
        raise bad_request(f"cannot bind token to object of type {reference.get('kind')}")
    found = registry.find(kind.plural, namespace, reference.get("name", ""))
    if found is None:
        raise not_found(kind, reference.get("name", ""))
    uid = found["metadata"]["uid"]
    if reference.get("uid", uid) != uid:
        why = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record ({uid})"
        raise ApiError(failure(409, "Conflict", f"{why}. The object might have been deleted and then recreated"))
    return {"kind": kind.kind, "name": found["metadata"]["name"], "uid": uid}
