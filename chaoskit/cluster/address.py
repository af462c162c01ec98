"""Where an object is served. Builds paths from checked names, so that nothing an author wrote can lead anywhere else; sends nothing."""

from __future__ import annotations

import re

from chaoskit.model.errors import CouldNotRun
from chaoskit.model.resource import Ref, Resource, resource_of
from chaoskit.model.target import checked_name

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?\Z")


def collection(kind: str, namespace: str = "") -> str:
    """The path of all objects of a kind, in one namespace or everywhere. Raises CouldNotRun for a namespace that is no name."""
    at = resource_of(kind)
    root = f"/apis/{at.group}/{at.version}" if at.group else f"/api/{at.version}"
    place = f"/namespaces/{_name(namespace, 'namespace')}" if at.namespaced and namespace else ""
    return f"{root}{place}/{at.plural}"


def path_of(ref: Ref, subresource: str = "") -> str:
    """The path of one object. Raises CouldNotRun for names that are none, and for a namespaced kind without a namespace."""
    at = resource_of(ref.kind)
    if at.namespaced and not ref.namespace:
        raise CouldNotRun(f"{ref} lies in a namespace and none is given")
    path = f"{collection(ref.kind, ref.namespace)}/{_name(ref.name, f'name of a {ref.kind}')}"
    return f"{path}/{subresource}" if subresource else path


def proxied(ref: Ref, port: int, path: str) -> str:
    """The path by which the API server forwards a request to a pod's port."""
    if not 1 <= port <= 65535:
        raise CouldNotRun(f"port {port} of {ref} is not between 1 and 65535")
    if not _PLAIN_PATH.match(path) or ".." in path.partition("?")[0].split("/"):
        raise CouldNotRun(f"{path!r} is not a path that can be asked of {ref}: it must begin with / and be URL-encoded")
    return f"{path_of(Ref('Pod', ref.name, ref.namespace))}:{port}/proxy{path}"


def api_version(at: Resource) -> str:
    """As it stands in a manifest: "v1", "apps/v1"."""
    return f"{at.group}/{at.version}" if at.group else at.version


def _name(text: str, what: str) -> str:
    try:
        return checked_name(text)
    except ValueError as error:
        raise CouldNotRun(f"{what}: {error}") from None
