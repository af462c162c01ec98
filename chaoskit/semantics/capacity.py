"""Whether pods find room on nodes by what they request, as the scheduler counts it. Pure; knows no other rule of the scheduler than `nodes.takes`.

Source: kubernetes.io, Resource Management for Pods and Containers (effective requests with init containers; overhead); Quantity format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from chaoskit.model.resource import Obj
from chaoskit.semantics.nodes import takes

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)\Z")
_SUFFIX: Mapping[str, Fraction] = {
    "": Fraction(1),
    **{
        suffix: Fraction(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{suffix}i": Fraction(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}

COUNTED = ("cpu", "memory", "ephemeral-storage")


def quantity(text: str | int | float) -> Fraction:
    """A Kubernetes quantity such as "250m" or "1Gi" as a number. Raises ValueError for anything else."""
    match = _QUANTITY.match(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    return Fraction(match[1]) * (Fraction(10) ** int(match[2]) if match[2] else _SUFFIX[match[3] or ""])


def requests_of(pod: Obj) -> Mapping[str, Fraction]:
    """What the scheduler sets aside for a pod: the sum of its containers, or its largest init container, and the overhead."""
    spec = pod["spec"]
    running, starting = _sum(spec.get("containers") or ()), Fraction(0)
    found = {}
    for name in COUNTED:
        total, starting = running[name], Fraction(0)
        for container in spec.get("initContainers") or ():
            own = _requested(container, name)
            if container.get("restartPolicy") == "Always":
                total += own  # a sidecar stays
            starting = max(starting, own)
        found[name] = max(total, starting) + quantity((spec.get("overhead") or {}).get(name, 0))
    return found


def _sum(containers: Iterable[Obj]) -> Mapping[str, Fraction]:
    listed = list(containers)
    return {name: sum((_requested(container, name) for container in listed), Fraction(0)) for name in COUNTED}


def _requested(container: Obj, name: str) -> Fraction:
    resources = container.get("resources") or {}
    # A limit without a request is the request.
    return quantity((resources.get("requests") or {}).get(name, (resources.get("limits") or {}).get(name, 0)))


def homeless(moving: Sequence[Obj], nodes: Sequence[Obj], staying: Sequence[Obj]) -> Sequence[Obj]:
    """Those of the moving pods for which the nodes have no room beside the staying ones, placed one by one, the largest first."""
    free = {node["metadata"]["name"]: _free(node, staying) for node in nodes}
    left = []
    for pod in sorted(moving, key=lambda pod: tuple(requests_of(pod).values()), reverse=True):
        needed = {**requests_of(pod), "pods": Fraction(1)}
        place = next(
            (name for node in nodes if takes(node, pod) and _fits(needed, free[name := node["metadata"]["name"]])), None
        )
        if place is None:
            left.append(pod)
            continue
        free[place] = {name: free[place][name] - needed[name] for name in free[place]}
    return left


def _free(node: Obj, staying: Iterable[Obj]) -> Mapping[str, Fraction]:
    """What is not set aside on a node, of the resources it tells of."""
    told = (node.get("status") or {}).get("allocatable") or {}
    mine = [pod for pod in staying if pod["spec"].get("nodeName") == node["metadata"]["name"]]
    free = {
        name: quantity(told[name]) - sum((requests_of(pod)[name] for pod in mine), Fraction(0))
        for name in COUNTED
        if name in told
    }
    return free | ({"pods": quantity(told["pods"]) - len(mine)} if "pods" in told else {})


def _fits(needed: Mapping[str, Fraction], free: Mapping[str, Fraction]) -> bool:
    return all(needed[name] <= free[name] for name in free)
