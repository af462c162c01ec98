"""Which endpoints a Service should have, and which its slices say it has. Compares nothing and judges nothing.

Sources: kubernetes.io, EndpointSlices (conditions ready, serving, terminating); upstream endpointslice/utils.go (podToEndpoint) and
pkg/controller/util/endpoint (ShouldPodBeInEndpoints).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from chaoskit.model.resource import Obj
from chaoskit.semantics.pods import is_ready, is_terminal, is_terminating
from chaoskit.semantics.selectors import labels_of, service_selects

SERVICE_NAME = "kubernetes.io/service-name"
"""The label by which a slice names its Service."""


def services_of(pod: Obj, services: Iterable[Obj]) -> Sequence[Obj]:
    """The Services that select the pod."""
    return [service for service in services if selects(service, pod)]


def selects(service: Obj, pod: Obj) -> bool:
    """Whether the Service selects the pod: same namespace, and the labels match."""
    same = service["metadata"].get("namespace") == pod["metadata"].get("namespace")
    return same and service_selects(service, labels_of(pod))


def publishes_not_ready(service: Obj) -> bool:
    """Whether the Service lists its pods as ready whatever they say of themselves."""
    return bool((service.get("spec") or {}).get("publishNotReadyAddresses"))


def should_be_ready(service: Obj, pod: Obj) -> bool:
    """Whether the Service's slices should list the pod as ready.

    Ready and not terminating; with publishNotReadyAddresses every pod that has an address and has not ended, terminating ones included.
    """
    status = pod.get("status") or {}
    if not selects(service, pod) or is_terminal(pod) or not status.get("podIP"):
        return False
    return publishes_not_ready(service) or (is_ready(pod) and not is_terminating(pod))


def expected_ready(service: Obj, pods: Iterable[Obj]) -> frozenset[str]:
    """The uids of the pods that should be ready endpoints of the Service."""
    return frozenset(pod["metadata"]["uid"] for pod in pods if should_be_ready(service, pod))


def slices_of(service: Obj, slices: Iterable[Obj]) -> Sequence[Obj]:
    """The EndpointSlices of a Service."""
    return [found for found in slices if is_slice_of(found, service)]


def is_slice_of(found: Obj, service: Obj) -> bool:
    """Whether the slice names the Service as its own."""
    meta = service["metadata"]
    same = found["metadata"].get("namespace") == meta.get("namespace")
    return same and labels_of(found).get(SERVICE_NAME) == str(meta["name"])


def listed_ready(found: Obj) -> frozenset[str]:
    """The uids of the pods that one slice lists as ready. A condition that is not given counts as ready (kubernetes.io, EndpointSlices)."""
    return frozenset(
        endpoint["targetRef"]["uid"]
        for endpoint in endpoints(found)
        if (endpoint.get("targetRef") or {}).get("uid") and is_ready_endpoint(endpoint)
    )


def is_ready_endpoint(endpoint: Obj) -> bool:
    """The ready condition of one endpoint; absent means ready."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


def endpoints(found: Obj) -> Iterator[Obj]:
    """The endpoints of a slice; none when the list is null."""
    return iter(found.get("endpoints") or ())
