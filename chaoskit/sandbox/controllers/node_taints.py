"""The taints the cluster itself puts on a node, and when a zone is too broken to evict from. Pure.

Rules: pkg/controller/nodelifecycle/node_lifecycle_controller.go (doNoScheduleTaintingPass, ComputeZoneState,
handleDisruption); kubernetes.io, Taints and Tolerations, "Taint based Evictions".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from chaoskit.sandbox.facts.clock import render_time
from chaoskit.sandbox.facts.conditions import find_condition
from chaoskit.sandbox.facts.selection import labels_of

Obj = dict[str, Any]
TaintId = tuple[str, str]

PREFIX = "node.kubernetes.io/"
NOT_READY, UNREACHABLE, UNSCHEDULABLE = f"{PREFIX}not-ready", f"{PREFIX}unreachable", f"{PREFIX}unschedulable"
# Condition type -> the status that is bad -> the taint's key.
_BY_CONDITION = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": f"{PREFIX}memory-pressure"},
    "DiskPressure": {"True": f"{PREFIX}disk-pressure"},
    "PIDPressure": {"True": f"{PREFIX}pid-pressure"},
    "NetworkUnavailable": {"True": f"{PREFIX}network-unavailable"},
}
MANAGED: frozenset[TaintId] = frozenset(
    {(key, "NoSchedule") for told in _BY_CONDITION.values() for key in told.values()}
    | {(UNSCHEDULABLE, "NoSchedule"), (NOT_READY, "NoExecute"), (UNREACHABLE, "NoExecute")}
)
LARGE_ZONE = 50
UNHEALTHY_ZONE = 0.55


def ready_status(node: Mapping[str, Any]) -> str:
    """True, False or Unknown; a node that never said anything is Unknown."""
    found = find_condition(node.get("status", {}).get("conditions") or (), "Ready")
    return "Unknown" if found is None else str(found.get("status", "Unknown"))


def wanted_taints(node: Mapping[str, Any], *, evict: bool) -> frozenset[TaintId]:
    """The managed taints this node should carry now; `evict` permits the NoExecute one of an unready node."""
    wanted = {(UNSCHEDULABLE, "NoSchedule")} if node["spec"].get("unschedulable") else set()
    conditions = node.get("status", {}).get("conditions") or ()
    for kind, keys in _BY_CONDITION.items():
        condition = find_condition(conditions, kind)
        key = None if condition is None else keys.get(condition.get("status", ""))
        if key is not None:
            wanted.add((key, "NoSchedule"))
        if key is not None and kind == "Ready" and evict:
            wanted.add((key, "NoExecute"))
    return frozenset(wanted)


def with_taints(taints: Iterable[Obj], wanted: frozenset[TaintId], now_s: float) -> list[Obj]:
    """The taints after the managed ones were brought to `wanted`; foreign ones and those already there stay as they are."""
    present = list(taints)
    kept = [taint for taint in present if _id(taint) not in MANAGED or _id(taint) in wanted]
    missing = sorted(wanted - {_id(taint) for taint in present}, key=lambda each: (each[1] != "NoSchedule", each))
    return [*kept, *({"key": key, "effect": effect, "timeAdded": render_time(now_s)} for key, effect in missing)]


def _id(taint: Mapping[str, Any]) -> TaintId:
    return taint["key"], taint["effect"]


def zone_of(node: Mapping[str, Any]) -> tuple[str, str]:
    labels = labels_of(node)
    return labels.get("topology.kubernetes.io/region", ""), labels.get("topology.kubernetes.io/zone", "")


def zone_state(readiness: Iterable[bool]) -> str:
    """`full` when no node of the zone is ready, `partial` from three unready ones that are 55 %, else `normal`."""
    ready = list(readiness)
    unready = ready.count(False)
    if unready and unready == len(ready):
        return "full"
    return "partial" if unready > 2 and unready / len(ready) >= UNHEALTHY_ZONE else "normal"


def may_evict(node: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]]) -> bool:
    """Are evictions from this node's zone going on?

    They stop when every zone is down (then the fault is more likely ours) and in a small zone that is mostly down.
    """
    zones: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for each in nodes:
        zones[zone_of(each)].append(ready_status(each) == "True")
    states = {zone: zone_state(readiness) for zone, readiness in zones.items()}
    if all(state == "full" for state in states.values()):
        return False
    own = zone_of(node)
    return states[own] != "partial" or len(zones[own]) > LARGE_ZONE
