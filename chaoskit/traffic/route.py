"""How traffic reaches a Service from here: which addresses there are, and which of them answer.

`candidates` is pure, over raw objects; `choose` sends a few plain requests. Never forwards a port and never changes anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import httpx

from chaoskit.model.errors import CouldNotRun
from chaoskit.model.plan import Route
from chaoskit.model.resource import Obj
from chaoskit.traffic.plan import Tls
from chaoskit.traffic.tls import context_of

KINDS = ("loadBalancer", "nodePort", "clusterIP")
"""The order in which `auto` prefers them: the way users come first."""
_NODES_TRIED = 3


class RouteError(CouldNotRun):
    """There is no way to the Service from here; names the ways out."""


class NoAnswer(RouteError):
    """There are ways to the Service, and none of them answers as it should; another moment may be better."""


def candidates(
    service: Obj | None, nodes: Sequence[Obj], via: str, url: str | None, port: str | int | None
) -> list[Route]:
    """The routes worth trying, best first. A given `url` wins. `via` is auto, url, loadBalancer, nodePort or clusterIP.

    Raises RouteError for a Service without an address of its own (headless, ExternalName), for a port that is not clear, for a
    `via` that this Service does not offer, and for port-forward: it holds on to one pod and dies with it.
    """
    if url is not None:
        return [Route("url", url.rstrip("/"), "url: of the experiment")]
    if service is None:
        raise RouteError("traffic names neither a service nor a url:")
    _refuse_unusable(service, via)
    wanted = _port(service, port)
    found = [route for kind in KINDS if via in ("auto", kind) for route in _of_kind(kind, service, nodes, wanted)]
    if not found:
        raise RouteError(f"{_name(service)} has no address for via: {via}; {_offer(service)}")
    return found


async def choose(
    candidates: Sequence[Route],
    path: str,
    timeout_s: float,
    want: int = 3,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    tls: Tls | None = None,
    own: bool = True,
) -> Route:
    """The first of the routes that answers `want` GETs in a row, each within `timeout_s`, with a status below 400.

    A path that is answered 404 would make every request a good one and the run prove nothing: it is no route. Where GET is not the
    traffic's `own` method, an answer that the path has no GET (405) will do.

    All are tried at once, so that addresses that lead nowhere cost no time. Raises RouteError naming each way and what happened to it.
    """
    trial = _Trial(path, timeout_s, want, headers, tls or Tls(), own)
    outcomes = await asyncio.gather(*(_try(route, trial) for route in candidates))
    for route, (works, what, named) in zip(candidates, outcomes, strict=True):
        if works:
            return replace(route, why=f"{route.why}; {what}", answered_with=named)
    tried = "; ".join(f"{r.kind} {r.base_url}: {what}" for r, (_, what, _) in zip(candidates, outcomes, strict=True))
    raise NoAnswer(f"no route answers from here ({tried}). {_advice(tried, own)}")


def _advice(tried: str, own: bool) -> str:
    if "certificate" in tried.lower():
        return "Give traffic.tls the caFile that its certificate is signed by, and the serverName that stands in it"
    if not own:
        return "Ways are tried with GET, so that nothing is changed: give the traffic a request of method GET that the application serves, too"
    return "Give traffic a path that the application serves, or a url: that reaches it from this machine"


@dataclass(frozen=True, slots=True)
class _Trial:
    """What the ways are tried with."""

    path: str
    timeout_s: float
    want: int
    headers: Mapping[str, str]
    tls: Tls
    own: bool

    def accepts(self, status: int) -> bool:
        return status < 400 or (status == 405 and not self.own)


async def _try(route: Route, trial: _Trial) -> tuple[bool, str, frozenset[str]]:
    """Whether it answers, what happened, and the names of the headers of its answers."""
    began, statuses, timeout_s, named = time.monotonic(), list[int](), trial.timeout_s, frozenset[str]()
    verify = context_of(trial.tls) if route.base_url.startswith("https:") else False
    extensions = {"sni_hostname": trial.tls.server_name} if trial.tls.server_name else {}
    headers = {**trial.headers, "Connection": "close"}
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=timeout_s, verify=verify) as client,
            asyncio.timeout(timeout_s * trial.want),
        ):
            for _ in range(trial.want):
                response = await client.get(route.base_url + trial.path, headers=headers, extensions=extensions)
                statuses.append(response.status_code)
                named |= frozenset(name.lower() for name in response.headers)
                if not trial.accepts(response.status_code):
                    return False, f"answered {response.status_code} to GET {trial.path}", named
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
        return False, f"{type(error).__name__} after {len(statuses)} answers{f', {error}' if str(error) else ''}", named
    took_ms = (time.monotonic() - began) / trial.want * 1000
    return True, f"answered {', '.join(map(str, statuses))} in {took_ms:.0f} ms on average", named


def _refuse_unusable(service: Obj, via: str) -> None:
    spec = service.get("spec", {})
    if via.lower().replace("-", "") == "portforward":
        raise RouteError(f"port-forward holds on to one pod and dies with it, so it proves nothing: {_WAYS_OUT}")
    if via == "url":
        raise RouteError("via: url needs a url: that reaches the application from this machine")
    if via not in ("auto", *KINDS):
        raise RouteError(f"via: {via} is unknown; there are auto, url, {', '.join(KINDS)}")
    if spec.get("type") == "ExternalName":
        raise RouteError(f"{_name(service)} is only a name for {spec.get('externalName', 'another host')}: {_WAYS_OUT}")
    if spec.get("clusterIP") == "None":
        raise RouteError(f"{_name(service)} is headless, it has no address that balances over its pods: {_WAYS_OUT}")


_WAYS_OUT = (
    "give traffic a url: that reaches the application from this machine, or name a Service with an address of its own"
)


def _port(service: Obj, wanted: str | int | None) -> Obj:
    """The Service's port by number or name; without either the only one."""
    ports = [port for port in service.get("spec", {}).get("ports", []) if port.get("protocol", "TCP") == "TCP"]
    fitting = [port for port in ports if wanted is None or wanted in (port["port"], port.get("name"))]
    if len(fitting) == 1:
        port: Obj = fitting[0]
        return port
    named = ", ".join(f"{port['port']}" + (f" ({port['name']})" if "name" in port else "") for port in ports) or "none"
    what = "no TCP port" if wanted is None and not ports else "several ports" if wanted is None else f"no port {wanted}"
    raise RouteError(f"{_name(service)} has {what}; name one of its TCP ports with port: {named}")


def _of_kind(kind: str, service: Obj, nodes: Sequence[Obj], port: Obj) -> Iterator[Route]:
    if kind == "loadBalancer":
        return _load_balancers(service, port)
    if kind == "nodePort":
        return _node_ports(nodes, port)
    return _cluster_ips(service, port)


def _load_balancers(service: Obj, port: Obj) -> Iterator[Route]:
    if service["spec"].get("type") != "LoadBalancer":
        return
    for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress") or []:
        host = ingress.get("ip") or ingress.get("hostname")
        if host:
            yield Route("loadBalancer", _url(port, host, port["port"]), "status.loadBalancer.ingress of the Service")


def _node_ports(nodes: Sequence[Obj], port: Obj) -> Iterator[Route]:
    """The port on a few nodes; ready ones that take pods first, since a node about to be taken away is a bad way in."""
    if not port.get("nodePort"):
        return
    usable = sorted(filter(_ready, nodes), key=lambda node: bool(node.get("spec", {}).get("unschedulable")))
    for node in usable[:_NODES_TRIED]:
        for kind in ("ExternalIP", "InternalIP"):
            for address in node["status"].get("addresses", []):
                if address["type"] == kind:
                    why = f"node port on {node['metadata']['name']} ({kind})"
                    yield Route("nodePort", _url(port, address["address"], port["nodePort"]), why)


def _cluster_ips(service: Obj, port: Obj) -> Iterator[Route]:
    spec = service["spec"]
    for address in spec.get("clusterIPs") or [spec.get("clusterIP")]:
        if address:
            yield Route("clusterIP", _url(port, address, port["port"]), "cluster IP, reached from inside or a sandbox")


def _ready(node: Obj) -> bool:
    conditions: Sequence[Any] = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _url(port: Obj, host: str, number: int) -> str:
    return f"{_scheme(port)}://{f'[{host}]' if ':' in host else host}:{number}"


def _scheme(port: Obj) -> str:
    """What the Service says about its port: appProtocol, else a name that begins with https, else port 443."""
    said = port.get("appProtocol") or port.get("name") or ""
    return "https" if said.split("-")[0] == "https" or (not port.get("appProtocol") and port["port"] == 443) else "http"


def _offer(service: Obj) -> str:
    kind = service.get("spec", {}).get("type", "ClusterIP")
    return f"it is of type {kind} and no other address fits. Use via: auto, or {_WAYS_OUT}"


def _name(service: Obj) -> str:
    meta = service["metadata"]
    return f"service {meta.get('namespace', 'default')}/{meta['name']}"
