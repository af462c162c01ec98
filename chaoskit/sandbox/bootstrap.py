"""What exists in every cluster and in every namespace before anybody asks. Writes through the registry.

Upstream a controller adds the service account and the authority's certificate some 20 ms after a namespace (recorded);
here they are there at once, so that nobody has to wait for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from chaoskit.sandbox.access.defaults import furnish_roles
from chaoskit.sandbox.rules.cluster import SYSTEM_NAMESPACES

if TYPE_CHECKING:
    from chaoskit.sandbox.registry import Registry

_ACTOR: Final = "bootstrap"
_CERTIFICATE_NOTE: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as "
    "the internal service IP or kubernetes.default.svc."
)


def furnish_cluster(registry: Registry) -> None:
    """The namespaces of a fresh cluster, its default roles, and the Service that leads to its API server."""
    for name in SYSTEM_NAMESPACES:
        registry.create("namespaces", "", {"metadata": {"name": name}}, actor=_ACTOR)
    furnish_roles(registry, _ACTOR)
    _furnish_service(registry)


def _furnish_service(registry: Registry) -> None:
    """`kubernetes` in `default`: the first of the Services' addresses, and an EndpointSlice that no controller keeps."""
    server = urlsplit(registry.settings.server)
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": server.port}
    spec = {"clusterIP": registry.settings.service_address(1), "ports": [port], "type": "ClusterIP"}
    registry.create(
        "services", "default", {"metadata": {"name": "kubernetes", "labels": labels}, "spec": spec}, actor=_ACTOR
    )
    endpoints = {
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [server.hostname], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": server.port, "protocol": "TCP"}],
    }
    registry.create("endpointslices", "default", endpoints, actor=_ACTOR)


def furnish_namespace(registry: Registry, name: str) -> None:
    """The default service account and the authority's certificate."""
    certificate = registry.settings.ca_file.read_text()
    metadata = {"name": "kube-root-ca.crt", "annotations": {"kubernetes.io/description": _CERTIFICATE_NOTE}}
    registry.create("serviceaccounts", name, {"metadata": {"name": "default"}}, actor=_ACTOR)
    registry.create("configmaps", name, {"metadata": metadata, "data": {"ca.crt": certificate}}, actor=_ACTOR)
