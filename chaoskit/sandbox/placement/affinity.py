"""Node affinity, pod affinity and topology spread: which nodes a pod's wishes leave over. Pure.

Rules: kubernetes.io, Assigning Pods to Nodes; Pod Topology Spread Constraints; pkg/scheduler/framework/plugins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chaoskit.sandbox.facts.pods import is_deleting
from chaoskit.sandbox.facts.selection import labels_of, matches_requirement
from chaoskit.sandbox.placement.ledger import Room
from chaoskit.sandbox.selectors import selects

Obj = dict[str, Any]


def matches_node(pod: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """nodeSelector and required node affinity: all pairs, and any one of the terms."""
    wanted = pod["spec"].get("nodeSelector") or {}
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_term_holds(term, node) for term in required.get("nodeSelectorTerms") or ())


def preference(pod: Mapping[str, Any], node: Mapping[str, Any]) -> int:
    """The summed weights of the preferred node affinity terms this node meets."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(each["weight"] for each in preferred if _term_holds(each["preference"], node))


def _term_holds(term: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    named = {"metadata.name": node["metadata"]["name"]}
    return all(matches_requirement(each, labels_of(node)) for each in expressions) and all(
        matches_requirement(each, named) for each in fields
    )


def pod_terms(pod: Mapping[str, Any], kind: str) -> Sequence[Obj]:
    """The required terms of `podAffinity` or `podAntiAffinity`."""
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()


def term_picks(term: Mapping[str, Any], owner: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Does a term of `owner` mean the pod `other`? Without namespaces it means the owner's own."""
    namespaces = term.get("namespaces") or []
    everywhere = term.get("namespaceSelector") == {}
    if not namespaces and term.get("namespaceSelector") is None:
        namespaces = [owner["metadata"].get("namespace", "")]
    within = everywhere or other["metadata"].get("namespace", "") in namespaces
    return within and selects(term.get("labelSelector"), labels_of(other))


def domains_of(term: Mapping[str, Any], owner: Mapping[str, Any], rooms: Iterable[Room]) -> set[str]:
    """The topology domains where a pod that the term means is running."""
    key = term["topologyKey"]
    return {
        room.labels[key]
        for room in rooms
        if key in room.labels and any(term_picks(term, owner, other) for other in room.pods.values())
    }


def repelled_domains(pod: Obj, rooms: Iterable[Room]) -> set[tuple[str, str]]:
    """(topology key, domain) of running pods whose own anti-affinity means this pod."""
    return {
        (term["topologyKey"], room.labels[term["topologyKey"]])
        for room in rooms
        for other in room.unfriendly.values()
        for term in pod_terms(other, "podAntiAffinity")
        if term["topologyKey"] in room.labels and term_picks(term, other, pod)
    }


def spread_constraints(pod: Mapping[str, Any], when: str) -> list[Obj]:
    """The declared constraints of one kind: DoNotSchedule or ScheduleAnyway."""
    told = pod["spec"].get("topologySpreadConstraints") or ()
    return [each for each in told if each.get("whenUnsatisfiable", "DoNotSchedule") == when]


def spread_selector(constraint: Mapping[str, Any], pod: Mapping[str, Any]) -> Obj | None:
    """The constraint's selector, narrowed to the pod's own values of matchLabelKeys."""
    selector = constraint.get("labelSelector")
    own = {key: labels_of(pod)[key] for key in constraint.get("matchLabelKeys") or () if key in labels_of(pod)}
    if selector is None or not own:
        return selector
    return {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **own}}


def spread_counts(constraint: Mapping[str, Any], pod: Mapping[str, Any], rooms: Iterable[Room]) -> Counter[str]:
    """Matching live pods per domain, over the nodes the pod's own node affinity allows."""
    key, selector = constraint["topologyKey"], spread_selector(constraint, pod)
    namespace = pod["metadata"].get("namespace", "")
    counts: Counter[str] = Counter()
    for room in rooms:
        if key in room.labels and matches_node(pod, room.node):
            counts[room.labels[key]] += sum(
                other["metadata"].get("namespace", "") == namespace
                and not is_deleting(other)
                and selects(selector, labels_of(other))
                for other in room.pods.values()
            )
    return counts


def spread_allows(constraint: Mapping[str, Any], pod: Mapping[str, Any], counts: Counter[str], domain: str) -> bool:
    """DoNotSchedule: would the skew stay within maxSkew with one more pod in this domain?"""
    itself = int(selects(spread_selector(constraint, pod), labels_of(pod)))
    enough = len(counts) >= (constraint.get("minDomains") or 1)
    fewest = min(counts.values(), default=0) if enough else 0
    return counts[domain] + itself - fewest <= int(constraint["maxSkew"])
