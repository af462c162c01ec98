"""Which of the fitting nodes is best: several scores of 0 to 100, weighted and summed. Pure but for breaking ties.

Plugins, weights and formulas: pkg/scheduler/framework/plugins (podtopologyspread, noderesources, tainttoleration,
nodeaffinity) with the default weights. A pod without constraints of its own is spread away from its siblings, the pods of
the same controller, over host names (maxSkew 3) and zones (maxSkew 5).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from chaoskit.sandbox.placement.affinity import preference, spread_constraints, spread_counts
from chaoskit.sandbox.placement.ledger import Room, controller_uid
from chaoskit.sandbox.placement.resources import assumed_requests_of
from chaoskit.sandbox.placement.taints import taints_of, tolerates, tolerations_of

Obj = dict[str, Any]
Scores = list[float]
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
DEFAULT_SPREAD = ((HOSTNAME, 3), (ZONE, 5))


def best(pod: Obj, fitting: Sequence[Room], rooms: Sequence[Room], rng: random.Random) -> Room:
    """The node with the highest sum; among equals any. `fitting` must not be empty."""
    weighted = [(2, spread(pod, fitting, rooms)), (1, roomy(pod, fitting)), (1, balanced(pod, fitting))]
    weighted += [(3, untainted(pod, fitting)), (2, preferred(pod, fitting))]
    sums = [sum(weight * scores[place] for weight, scores in weighted) for place in range(len(fitting))]
    highest = max(sums)
    return rng.choice([room for room, score in zip(fitting, sums, strict=True) if score >= highest - 1e-9])


def spread(pod: Obj, fitting: Sequence[Room], rooms: Sequence[Room]) -> Scores:
    """Higher where fewer siblings are: count x log(domains + 2), plus maxSkew - 1, per constraint; then inverted."""
    costs = [0.0] * len(fitting)
    for key, skew, counts in _spreading(pod, rooms):
        weight = math.log(len({room.labels[key] for room in fitting if key in room.labels}) + 2)
        for place, room in enumerate(fitting):
            costs[place] += counts[room.labels[key]] * weight + skew - 1 if key in room.labels else 0.0
    most, least = max(costs), min(costs)
    return [100.0 * (most + least - cost) / most if most > 0 else 100.0 for cost in costs]


def _spreading(pod: Obj, rooms: Sequence[Room]) -> list[tuple[str, int, Counter[str]]]:
    declared = spread_constraints(pod, "ScheduleAnyway")
    if declared or pod["spec"].get("topologySpreadConstraints"):
        return [(each["topologyKey"], int(each["maxSkew"]), spread_counts(each, pod, rooms)) for each in declared]
    uid = controller_uid(pod)
    return [] if uid is None else [(key, skew, _siblings(uid, key, rooms)) for key, skew in DEFAULT_SPREAD]


def _siblings(uid: str, key: str, rooms: Sequence[Room]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for room in rooms:
        if key in room.labels:
            counts[room.labels[key]] += room.siblings[uid]
    return counts


def roomy(pod: Obj, fitting: Sequence[Room]) -> Scores:
    """LeastAllocated: the free share of cpu and memory once the pod is there."""
    return [100.0 * (1 - sum(shares) / len(shares)) for shares in map(_shares_after(pod), fitting)]


def balanced(pod: Obj, fitting: Sequence[Room]) -> Scores:
    """BalancedAllocation: higher where cpu and memory are taken to like degrees."""
    return [100.0 * (1 - abs(cpu - memory) / 2) for cpu, memory in map(_shares_after(pod), fitting)]


def _shares_after(pod: Obj) -> Callable[[Room], tuple[float, float]]:
    asked = assumed_requests_of(pod)

    def share(room: Room, name: str) -> float:
        has = room.allocatable.get(name, 0)
        return min(1.0, (room.assumed.get(name, 0) + asked.get(name, 0)) / has) if has > 0 else 1.0

    return lambda room: (share(room, "cpu"), share(room, "memory"))


def untainted(pod: Obj, fitting: Sequence[Room]) -> Scores:
    """Fewer PreferNoSchedule taints that the pod does not tolerate."""
    tolerations = tolerations_of(pod)
    counts = [
        sum(
            not any(tolerates(each, taint) for each in tolerations)
            for taint in taints_of(room.node, "PreferNoSchedule")
        )
        for room in fitting
    ]
    most = max(counts)
    return [100.0 * (1 - count / most) if most else 100.0 for count in counts]


def preferred(pod: Obj, fitting: Sequence[Room]) -> Scores:
    weights = [preference(pod, room.node) for room in fitting]
    most = max(weights)
    return [100.0 * weight / most if most > 0 else 0.0 for weight in weights]
