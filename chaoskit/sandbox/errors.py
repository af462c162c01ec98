"""Answers that say no: metav1.Status objects with the texts of a real API server. Raises nothing by itself.

Source of the texts: apimachinery pkg/api/errors/errors.go, restated; recorded on Kubernetes 1.36.2 where noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from chaoskit.sandbox.kinds import Kind

Status = dict[str, Any]


class ApiError(Exception):
    """A refusal that a client will read. `status` is the metav1.Status; `retry_after_s` becomes a header."""

    def __init__(self, status: Status, *, retry_after_s: int | None = None) -> None:
        super().__init__(status.get("message", ""))
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def code(self) -> int:
        return int(self.status["code"])

    @property
    def reason(self) -> str:
        return str(self.status.get("reason", ""))


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that a validation refuses; `reason` is a metav1.CauseType."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def shown(value: object) -> str:
    """A value as upstream messages print it."""
    return orjson.dumps(value).decode()


def bad_value(field: str, value: object, why: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown(value)}: {why}")


def required(field: str, why: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value: {why}" if why else "Required value")


def unsupported(field: str, value: object, supported: Sequence[str]) -> Cause:
    choices = ", ".join(shown(choice) for choice in sorted(supported))
    return Cause(field, "FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {choices}")


def duplicate(field: str, value: object) -> Cause:
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def field_forbidden(field: str, why: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {why}")


def failure(code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> Status:
    """A Status with the key order of a real answer; empty reason and details are left out."""
    status: Status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        status["reason"] = reason
    if details is not None:
        status["details"] = details
    return status | {"code": code}


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    return {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}


def not_found(kind: Kind, name: str) -> ApiError:
    message = f'{kind.resource} "{name}" not found'
    return ApiError(failure(404, "NotFound", message, _details(name, kind.group, kind.plural)))


def no_such_path() -> ApiError:
    return ApiError(failure(404, "NotFound", "the server could not find the requested resource", {}))


def already_exists(kind: Kind, name: str) -> ApiError:
    message = f'{kind.resource} "{name}" already exists'
    return ApiError(failure(409, "AlreadyExists", message, _details(name, kind.group, kind.plural)))


def conflict(kind: Kind, name: str, because: str = "") -> ApiError:
    """409 for a stale write; `because` replaces the usual advice to fetch the object again."""
    usual = "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {because or usual}'
    return ApiError(failure(409, "Conflict", message, _details(name, kind.group, kind.plural)))


def precondition_failed(kind: Kind, name: str, because: str) -> ApiError:
    """409 for a DELETE whose precondition does not hold; names the kind, not the plural (recorded)."""
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {because}'
    return ApiError(failure(409, "Conflict", message, _details(name, kind.group, kind.kind)))


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with one cause per field."""
    said = ", ".join(str(cause) for cause in causes)
    message = f'{kind.qualified} "{name}" is invalid: {said if len(causes) == 1 else f"[{said}]"}'
    details = _details(name, kind.group, kind.kind)
    details["causes"] = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    return ApiError(failure(422, "Invalid", message, details))


def patch_rejected() -> ApiError:
    """422 for a JSON patch that cannot be applied; nothing tells which operation failed (recorded)."""
    message = "the server rejected our request due to an error in our request"
    return ApiError(failure(422, "Invalid", message, {}))


def bad_request(message: str) -> ApiError:
    return ApiError(failure(400, "BadRequest", message))


def unauthorized() -> ApiError:
    return ApiError(failure(401, "Unauthorized", "Unauthorized"))


def forbidden(kind: Kind | None, name: str, because: str, causes: Sequence[Cause] = ()) -> ApiError:
    if kind is None:
        return ApiError(failure(403, "Forbidden", f"forbidden: {because}", {}))
    details = _details(name, kind.group, kind.plural)
    if causes:
        details["causes"] = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    return ApiError(failure(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {because}', details))


def too_many(message: str, cause: str, *, retry_after_s: int | None = None) -> ApiError:
    """429 of an eviction that a budget refuses."""
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    if retry_after_s is not None:
        details["retryAfterSeconds"] = retry_after_s
    return ApiError(failure(429, "TooManyRequests", message, details), retry_after_s=retry_after_s)


def expired(message: str) -> ApiError:
    return ApiError(failure(410, "Expired", message))


def too_large(limit_bytes: int) -> ApiError:
    return ApiError(failure(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit_bytes}"))


def unsupported_media(message: str) -> ApiError:
    return ApiError(failure(415, "UnsupportedMediaType", message))


def not_acceptable(message: str) -> ApiError:
    return ApiError(failure(406, "NotAcceptable", message))


def method_not_allowed(message: str = "the server does not allow this method on the requested resource") -> ApiError:
    return ApiError(failure(405, "MethodNotAllowed", message, {}))


def not_implemented(what: str) -> ApiError:
    """501: outside what the sandbox does. It is said, never guessed."""
    return ApiError(failure(501, "NotImplemented", f"the chaoskit sandbox does not implement {what}"))


def unavailable(message: str) -> ApiError:
    return ApiError(failure(503, "ServiceUnavailable", message))


def internal(message: str) -> ApiError:
    return ApiError(failure(500, "InternalError", f"Internal error occurred: {message}"))
