"""Which address leads to which endpoints: from Services and EndpointSlices to a table. Pure; opens no socket.

Rules: pkg/proxy/topology.go (ready endpoints; if there is none, those that serve while terminating; if none, refuse) and
pkg/proxy/endpointslicecache.go. TCP only. internalTrafficPolicy and externalTrafficPolicy are taken as Cluster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Obj = Mapping[str, Any]
SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where something listens: a Service's frontend or a pod's port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """One port of one Service and where its new connections may go; no endpoints means they are refused.

    `affinity_s` is how long a client address stays with its endpoint; 0.0 without session affinity.
    """

    namespace: str
    service: str
    uid: str
    port: str
    endpoints: tuple[Address, ...]
    affinity_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint with the three conditions that decide whether it is used."""

    address: Address
    ready: bool
    serving: bool
    terminating: bool


def table_of(services: Iterable[Obj], slices: Iterable[Obj], nodes: Sequence[str]) -> dict[Address, Route]:
    """The frontends of all Services. `nodes` are the addresses on which node ports listen."""
    by_service: defaultdict[tuple[str, str], list[Obj]] = defaultdict(list)
    for each in slices:
        metadata = each["metadata"]
        by_service[metadata["namespace"], (metadata.get("labels") or {}).get(SERVICE_LABEL, "")].append(each)
    table: dict[Address, Route] = {}
    for service in services:
        key = service["metadata"]["namespace"], service["metadata"]["name"]
        for port in service["spec"].get("ports") or ():
            if port.get("protocol", "TCP") == "TCP":
                route = _route(service, port, by_service.get(key, ()))
                table |= dict.fromkeys(_frontends(service, port, nodes), route)
    return table


def _route(service: Obj, port: Obj, slices: Iterable[Obj]) -> Route:
    metadata, name = service["metadata"], port.get("name") or ""
    found = [candidate for each in slices for candidate in candidates(each, name)]
    uid, affinity_s = metadata.get("uid", ""), affinity_of(service)
    return Route(metadata["namespace"], metadata["name"], uid, name, usable(found), affinity_s)


def affinity_of(service: Obj) -> float:
    """Seconds of sessionAffinity ClientIP, three hours unless told otherwise; 0.0 for None."""
    if service["spec"].get("sessionAffinity") != "ClientIP":
        return 0.0
    told = (service["spec"].get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return float(told.get("timeoutSeconds") or 10800)


def _frontends(service: Obj, port: Obj, nodes: Sequence[str]) -> Iterator[Address]:
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return
    for host in spec.get("clusterIPs") or [spec.get("clusterIP")]:
        if host and host != "None":
            yield Address(host, port["port"])
    if port.get("nodePort"):
        for host in nodes:
            yield Address(host, port["nodePort"])


def candidates(endpointslice: Obj, port_name: str) -> Iterator[Candidate]:
    """The endpoints of a slice that have this port. An absent `ready` means true, an absent `serving` means `ready`."""
    numbers = [each["port"] for each in endpointslice.get("ports") or () if (each.get("name") or "") == port_name]
    for endpoint in endpointslice.get("endpoints") or () if numbers else ():
        told = endpoint.get("conditions") or {}
        ready = told.get("ready") is not False
        serving = ready if told.get("serving") is None else bool(told["serving"])
        for host in endpoint["addresses"]:
            yield Candidate(Address(host, numbers[0]), ready, serving, bool(told.get("terminating")))


def usable(found: Sequence[Candidate]) -> tuple[Address, ...]:
    ready = {each.address for each in found if each.ready}
    fallback = {each.address for each in found if each.serving and each.terminating}
    return tuple(sorted(ready or fallback))
