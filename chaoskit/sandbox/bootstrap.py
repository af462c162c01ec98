"""What exists in every cluster and in every namespace before anybody asks. Writes through the registry.

Upstream a controller adds the service account and the authority's certificate some 20 ms after a namespace (recorded);
here they are there at once, so that nobody has to wait for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaoskit.sandbox.rules.cluster import SYSTEM_NAMESPACES

if TYPE_CHECKING:
    from chaoskit.sandbox.registry import Registry

_ACTOR: Final = "bootstrap"
_CERTIFICATE_NOTE: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as "
    "the internal service IP or kubernetes.default.svc."
)


def furnish_cluster(registry: Registry) -> None:
    """The namespaces of a fresh cluster."""
    for name in SYSTEM_NAMESPACES:
        registry.create("namespaces", "", {"metadata": {"name": name}}, actor=_ACTOR)


def furnish_namespace(registry: Registry, name: str) -> None:
    """The default service account and the authority's certificate."""
    certificate = registry.settings.ca_file.read_text()
    metadata = {"name": "kube-root-ca.crt", "annotations": {"kubernetes.io/description": _CERTIFICATE_NOTE}}
    registry.create("serviceaccounts", name, {"metadata": {"name": "default"}}, actor=_ACTOR)
    registry.create("configmaps", name, {"metadata": metadata, "data": {"ca.crt": certificate}}, actor=_ACTOR)
