"""What a path of the API means. Text in, a Route out; looks at no object.

Source: kubernetes.io, API Concepts, Resource URIs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from chaoskit.sandbox.errors import ApiError, no_such_path, not_implemented
from chaoskit.sandbox.kinds import BY_PATH, UPSTREAM_GROUPS, Kind
from chaoskit.sandbox.notices import count_unsupported

_OF_NAMESPACES: Final = frozenset({"status", "finalize"})


@dataclass(frozen=True, slots=True)
class Route:
    """A resource, or one object of it, or a subresource; `rest` is what follows a proxy."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


def parse_route(raw_path: str) -> Route | None:
    """The route of a path below /api/VERSION or /apis/GROUP/VERSION; None for one that leads to no resource.

    Raises ApiError 404 for groups that no cluster has and 501 for those that this one does not serve.
    """
    parts = raw_path.split("/")[1:]
    if parts[0] == "api" and len(parts) > 2:
        return _resolve("", parts[1], parts[2:])
    if parts[0] == "apis" and len(parts) > 3:
        return _resolve(parts[1], parts[2], parts[3:])
    return None


def _resolve(group: str, version: str, parts: list[str]) -> Route | None:
    if parts and parts[-1] == "":
        parts = parts if "proxy" in parts else parts[:-1]
    if not parts:
        return None
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in _OF_NAMESPACES:
        namespace, parts = unquote(parts[1]), parts[2:]
    kind = BY_PATH.get((group, version, parts[0]))
    if kind is None:
        raise _not_served(group, version, parts[0])
    name, subresource, *rest = [*(unquote(part) for part in parts[1:3]), "", ""][:2] + parts[3:]
    if kind.plural != "namespaces" and bool(namespace) != kind.namespaced and (name or namespace):
        raise no_such_path()
    if subresource and subresource not in kind.subresources:
        raise _not_served(group, version, f"{kind.plural}/{subresource}")
    return Route(kind, namespace, name, subresource, "/".join(rest))


def _not_served(group: str, version: str, resource: str) -> ApiError:
    if group not in UPSTREAM_GROUPS:
        return no_such_path()
    what = f"{resource}.{version}.{group}" if group else resource
    count_unsupported(what)
    return not_implemented(what)
