"""GET: one object, lists, pages of lists. Reads the registry; changes nothing.

Paging needs no memory of its own: what existed at a revision is computed from the changes since.
Source: kubernetes.io, API Concepts, Retrieving large results sets in chunks; texts recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import orjson

from chaoskit.sandbox.api.query import ListOptions
from chaoskit.sandbox.errors import ApiError, bad_request, expired, failure
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.registry import Registry, matcher
from chaoskit.sandbox.store import Expired, Obj, Version

_TOO_OLD: Final = "The resourceVersion for the provided list is too old."
_CONTINUE_TOO_OLD: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
_ANY_REVISION: Final = -1


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Version]
    metadata: Obj


def list_page(registry: Registry, kind: Kind, namespace: str, options: ListOptions) -> Page:
    """The objects asked for, in key order. Raises ApiError 400, 410 or 504 (a revision from the future)."""
    holds = matcher(kind.plural, options.labels, options.fields)
    revision, start = _begin(registry, options)
    versions = _state(registry, kind, namespace, revision, start, options)
    found = [version for version in versions if _key(version) >= start and holds(version.obj)]
    shown = found[: options.limit] if options.limit else found
    metadata: Obj = {"resourceVersion": str(registry.store.revision if revision is None else revision)}
    if len(shown) < len(found):
        metadata["continue"] = _token(int(metadata["resourceVersion"]), _key(shown[-1]) + "\0")
        if not options.labels and not options.fields:
            metadata["remainingItemCount"] = len(found) - len(shown)
    return Page(shown, metadata)


def _begin(registry: Registry, options: ListOptions) -> tuple[int | None, str]:
    """The revision to list at (None: now) and the key to begin with."""
    if options.continued:
        if options.revision:
            raise bad_request("specifying resource version is not allowed when using continue")
        revision, start = _read_token(options.continued)
        return (None if revision == _ANY_REVISION else revision), start
    if not options.revision:
        return None, ""
    current = registry.store.revision
    if options.revision > current:
        raise _too_large(options.revision, current)
    exact = options.match == "Exact" or (options.limit and not options.match)
    return (options.revision if exact else None), ""


def _state(
    registry: Registry, kind: Kind, namespace: str, revision: int | None, start: str, options: ListOptions
) -> list[Version]:
    if revision is None:
        return list(registry.store.items(kind.plural, namespace))
    try:
        return registry.store.at(kind.plural, namespace, revision)
    except Expired:
        if not options.continued:
            raise expired(_TOO_OLD) from None
        refusal = expired(_CONTINUE_TOO_OLD)
        refusal.status["metadata"] = {"continue": _token(_ANY_REVISION, start)}
        raise refusal from None


def _too_large(revision: int, current: int) -> ApiError:
    message = f"Too large resource version: {revision}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details: dict[str, Any] = {"causes": [cause], "retryAfterSeconds": 1}
    return ApiError(failure(504, "Timeout", f"Timeout: {message}", details), retry_after_s=1)


def _key(version: Version) -> str:
    metadata = version.obj["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


def _token(revision: int, start: str) -> str:
    said = {"v": "meta.k8s.io/v1", "rv": revision, "start": start}
    return base64.urlsafe_b64encode(orjson.dumps(said)).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        said = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(said["rv"]), str(said["start"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error
