"""What pods ask for and what nodes have: cpu in thousandths, memory and the rest in whole units. Pure.

Rules: staging/src/k8s.io/component-helpers/resource, PodRequests (containers summed, init containers by their maximum,
sidecars kept), and pkg/scheduler/framework/plugins/noderesources.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from chaoskit.sandbox.quantity import parse_quantity

Amounts = dict[str, int]
# What a container without a request counts for in scoring, never in fitting (pkg/scheduler/util/pod_resources.go).
ASSUMED: Amounts = {"cpu": 100, "memory": 200 * 1024 * 1024}


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """Rounded up: cpu to thousandths, everything else to units."""
    return {
        name: math.ceil(parse_quantity(text) * (1000 if name == "cpu" else 1))
        for name, text in (quantities or {}).items()
    }


def requests_of(pod: Mapping[str, Any]) -> Amounts:
    """What the pod asks of its node."""
    return _total(pod, _requests)


def assumed_requests_of(pod: Mapping[str, Any]) -> Amounts:
    """The same with cpu and memory assumed where a container asks for none, for scoring."""
    return _total(pod, lambda container: ASSUMED | _requests(container))


def _total(pod: Mapping[str, Any], of: Any) -> Amounts:
    spec = pod["spec"]
    running: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            running = add(running, of(container))
            peak = _maximum(peak, running)
        else:
            peak = _maximum(peak, add(running, of(container)))
    for container in spec.get("containers") or ():
        running = add(running, of(container))
    return add(_maximum(peak, running), amounts(spec.get("overhead")))


def _requests(container: Mapping[str, Any]) -> Amounts:
    return amounts((container.get("resources") or {}).get("requests"))


def allocatable_of(node: Mapping[str, Any]) -> Amounts:
    return amounts(node.get("status", {}).get("allocatable") or node.get("status", {}).get("capacity"))


def add(left: Mapping[str, int], right: Mapping[str, int]) -> Amounts:
    return {name: left.get(name, 0) + right.get(name, 0) for name in {*left, *right}}


def subtract(left: Mapping[str, int], right: Mapping[str, int]) -> Amounts:
    return {name: left.get(name, 0) - right.get(name, 0) for name in {*left, *right}}


def host_ports_of(pod: Mapping[str, Any]) -> set[tuple[str, int]]:
    """(protocol, number) of every host port; host addresses are not told apart."""
    return {
        (port.get("protocol", "TCP"), port["hostPort"])
        for container in pod["spec"].get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort")
    }


def _maximum(left: Mapping[str, int], right: Mapping[str, int]) -> Amounts:
    return {name: max(left.get(name, 0), right.get(name, 0)) for name in {*left, *right}}


def short_of(asked: Mapping[str, int], used: Mapping[str, int], has: Mapping[str, int]) -> Iterable[str]:
    """Names of the resources that do not suffice."""
    return sorted(
        name for name, amount in asked.items() if amount > 0 and amount > has.get(name, 0) - used.get(name, 0)
    )
