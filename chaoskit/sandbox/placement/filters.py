"""May this pod run on that node? One reason per node that says no, in upstream's words. Pure.

The order is that of upstream's default plugins: the first that objects speaks for the node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.sandbox.facts.selection import labels_of
from chaoskit.sandbox.placement.affinity import (
    domains_of,
    matches_node,
    pod_terms,
    repelled_domains,
    spread_allows,
    spread_constraints,
    spread_counts,
    term_picks,
)
from chaoskit.sandbox.placement.ledger import Room
from chaoskit.sandbox.placement.resources import Amounts, host_ports_of, requests_of, short_of
from chaoskit.sandbox.placement.taints import taints_of, tolerates, tolerations_of, untolerated

Obj = dict[str, Any]
CORDON_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a node is out. `final`: evicting others from it would not help."""

    reasons: tuple[str, ...]
    final: bool


@dataclass(frozen=True, slots=True)
class Wishes:
    """What must be known of a pod once, before its nodes are looked at one by one."""

    pod: Obj
    asked: Amounts
    near: tuple[tuple[Obj, frozenset[str]], ...]
    apart: tuple[tuple[Obj, frozenset[str]], ...]
    repelled: frozenset[tuple[str, str]]
    spread: tuple[tuple[Obj, Counter[str]], ...]


def wishes_of(pod: Obj, rooms: Sequence[Room]) -> Wishes:
    def placed(kind: str) -> tuple[tuple[Obj, frozenset[str]], ...]:
        return tuple((term, frozenset(domains_of(term, pod, rooms))) for term in pod_terms(pod, kind))

    spread = tuple((each, spread_counts(each, pod, rooms)) for each in spread_constraints(pod, "DoNotSchedule"))
    repelled = frozenset(repelled_domains(pod, rooms))
    return Wishes(pod, requests_of(pod), placed("podAffinity"), placed("podAntiAffinity"), repelled, spread)


def objection(wishes: Wishes, room: Room) -> Objection | None:
    """The first reason against this node; None when the pod may run there."""
    for check in (_unschedulable, _tainted, _mismatched, _port_taken, _insufficient, _uneven, _unfriendly):
        found = check(wishes, room)
        if found is not None:
            return found
    return None


def _final(reason: str) -> Objection:
    return Objection((reason,), final=True)


def _for_now(*reasons: str) -> Objection:
    return Objection(reasons, final=False)


def _unschedulable(wishes: Wishes, room: Room) -> Objection | None:
    tolerated = any(tolerates(each, CORDON_TAINT) for each in tolerations_of(wishes.pod))
    if not room.node["spec"].get("unschedulable") or tolerated:
        return None
    return _final("node(s) were unschedulable")


def _tainted(wishes: Wishes, room: Room) -> Objection | None:
    taint = untolerated(taints_of(room.node, "NoSchedule", "NoExecute"), tolerations_of(wishes.pod))
    if taint is None:
        return None
    return _final(f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}")


def _mismatched(wishes: Wishes, room: Room) -> Objection | None:
    return None if matches_node(wishes.pod, room.node) else _final("node(s) didn't match Pod's node affinity/selector")


def _port_taken(wishes: Wishes, room: Room) -> Objection | None:
    ports = host_ports_of(wishes.pod)
    if not ports or not ports & room.ports:
        return None
    return _for_now("node(s) didn't have free ports for the requested pod ports")


def _insufficient(wishes: Wishes, room: Room) -> Objection | None:
    reasons = ["Too many pods"] if len(room.pods) + 1 > room.allocatable.get("pods", 0) else []
    reasons += [f"Insufficient {name}" for name in short_of(wishes.asked, room.used, room.allocatable)]
    return _for_now(*reasons) if reasons else None


def _uneven(wishes: Wishes, room: Room) -> Objection | None:
    text = "node(s) didn't match pod topology spread constraints"
    for constraint, counts in wishes.spread:
        domain = room.labels.get(constraint["topologyKey"])
        if domain is None:
            return _final(f"{text} (missing required label)")
        if not spread_allows(constraint, wishes.pod, counts, domain):
            return _for_now(text)
    return None


def _unfriendly(wishes: Wishes, room: Room) -> Objection | None:
    if not all(_is_near(wishes.pod, term, domains, room) for term, domains in wishes.near):
        return _final("node(s) didn't match pod affinity rules")
    if any(room.labels.get(term["topologyKey"]) in domains for term, domains in wishes.apart):
        return _for_now("node(s) didn't match pod anti-affinity rules")
    if any(room.labels.get(key) == domain for key, domain in wishes.repelled):
        return _for_now("node(s) didn't satisfy existing pods anti-affinity rules")
    return None


def _is_near(pod: Obj, term: Mapping[str, Any], domains: frozenset[str], room: Room) -> bool:
    """In a domain with such a pod; or the first of its kind, which may start anywhere that has the label."""
    domain = room.labels.get(term["topologyKey"])
    if domain is None:
        return False
    return domain in domains or (not domains and bool(labels_of(pod)) and term_picks(term, pod, pod))


def explain(objections: Sequence[Objection]) -> str:
    """The message of FailedScheduling: reasons counted over nodes and sorted (framework/types.go, FitError)."""
    if not objections:
        return "no nodes available to schedule pods"
    nodes = len(objections)
    counts = Counter(reason for each in objections for reason in each.reasons)
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    final = sum(each.final for each in objections)
    why_not = [f"{final} Preemption is not helpful for scheduling"] if final else []
    why_not += [f"{nodes - final} No preemption victims found for incoming pod"] if nodes > final else []
    available = f"0/{nodes} nodes are available"
    return f"{available}: {listed}. preemption: {available}: {', '.join(sorted(why_not))}."
