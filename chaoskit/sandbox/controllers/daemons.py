"""A DaemonSet's pods by their nodes: which nodes want one, which pods are to be made or deleted. Pure.

Rules: pkg/controller/daemon/daemon_controller.go (manage, nodeShouldRunDaemonPod) and update.go (rollingUpdate). A pod
that is being deleted keeps its node occupied until it has ended, not until it is gone (recorded).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaoskit.sandbox.controllers.podwork import pod_from
from chaoskit.sandbox.facts.pods import available_in, is_deleting, is_finished, is_ready, phase
from chaoskit.sandbox.facts.selection import labels_of
from chaoskit.sandbox.placement.affinity import matches_node
from chaoskit.sandbox.placement.taints import taints_of, tolerations_of, untolerated
from chaoskit.sandbox.registry import thaw

Obj = dict[str, Any]
HASH_LABEL, GENERATION_LABEL = "controller-revision-hash", "pod-template-generation"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


@dataclass(frozen=True, slots=True)
class Daemons:
    """A DaemonSet, the nodes there are, and its pods at one moment. `mark` is the hash of its present template."""

    owner: Obj
    nodes: Sequence[Obj]
    pods: Sequence[Obj]
    mark: str
    now_s: float

    @property
    def by_node(self) -> dict[str, list[Obj]]:
        """Pods by the node they are on or meant for, the oldest first; what was deleted and has ended is left out."""
        found: defaultdict[str, list[Obj]] = defaultdict(list)
        for pod in sorted(self.pods, key=_age):
            if not (is_finished(pod) and is_deleting(pod)):
                found[home_of(pod)].append(pod)
        return dict(found)


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do now: node names that get a pod, and pods that go."""

    create: tuple[str, ...] = ()
    delete: tuple[Obj, ...] = ()


def _age(pod: Obj) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]


def home_of(pod: Mapping[str, Any]) -> str:
    """The node a pod is bound to, or the one its affinity names while it waits for the scheduler."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ()
    fields = [field for term in terms for field in term.get("matchFields") or () if field["key"] == "metadata.name"]
    return str(fields[0]["values"][0]) if fields else ""


def daemon(owner: Obj, node: str, mark: str) -> Obj:
    """The pod for one node: bound to it by affinity (the scheduler does the rest), tolerating what nodes suffer from."""
    pod = pod_from(owner)
    generation = (owner["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation", "1")
    pod["metadata"]["labels"] = labels_of(pod) | {HASH_LABEL: mark, GENERATION_LABEL: generation}
    told = list(pod["spec"].get("tolerations") or ())
    added = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect} for key, effect in _TOLERATED]
    pod["spec"]["tolerations"] = [*told, *(each for each in added if each not in told)]
    pod["spec"]["affinity"] = _bound(pod["spec"].get("affinity"), node)
    return pod


def _bound(affinity: Obj | None, node: str) -> Obj:
    """The affinity with every required node term replaced by the node's name; what they asked for was checked before."""
    bound = thaw(affinity or {})
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    bound["nodeAffinity"] = (bound.get("nodeAffinity") or {}) | required
    return bound


def fits(owner: Obj, node: Obj) -> tuple[bool, bool]:
    """(should a pod run there, may one that runs go on). Cordon matters to neither."""
    asked: Obj = {"metadata": {}, "spec": owner["spec"]["template"]["spec"]}
    tolerations = tolerations_of(daemon(owner, node["metadata"]["name"], ""))
    if not matches_node(asked, node):
        return False, False
    if untolerated(taints_of(node, "NoSchedule", "NoExecute"), tolerations) is None:
        return True, True
    return False, untolerated(taints_of(node, "NoExecute"), tolerations) is None


def placing(daemons: Daemons) -> Changes:
    """A pod for every node that wants one, none where none may be, one only where there are several."""
    create: list[str] = []
    delete: list[Obj] = []
    by_node = daemons.by_node
    for node in daemons.nodes:
        name = node["metadata"]["name"]
        wanted, allowed = fits(daemons.owner, node)
        pods = by_node.get(name, [])
        alive = [pod for pod in pods if not is_deleting(pod)]
        if wanted and not pods:
            create.append(name)
        elif not allowed:
            delete += alive
        else:
            delete += [pod for pod in alive if is_finished(pod)]
            delete += _excess(daemons, [pod for pod in alive if not is_finished(pod)])
    return Changes(tuple(create), tuple(delete))


def _excess(daemons: Daemons, running: list[Obj]) -> list[Obj]:
    """All but the oldest; with a surge, an old pod and a new one may be there together."""
    if len(running) <= 1:
        return []
    if _limits(daemons)[0] == 0:
        return running[1:]
    new = [pod for pod in running if _is_new(daemons, pod)]
    old = [pod for pod in running if not _is_new(daemons, pod)]
    excess = [*new[1:], *old[1:]]
    return [*excess, *(old[:1] if new and _is_available(daemons, new[0]) else [])]


def updating(daemons: Daemons) -> Changes:
    """The rolling update's next step, on top of what `placing` has settled."""
    if (daemons.owner["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return Changes()
    surge, unavailable = _limits(daemons)
    return _surge(daemons, surge) if surge else _replace(daemons, unavailable)


def _limits(daemons: Daemons) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in nodes, percentages of the nodes that want a pod rounded up."""
    rolling = (daemons.owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    wanted = sum(fits(daemons.owner, node)[0] for node in daemons.nodes)
    surge, unavailable = (_scaled(rolling.get(key, usual), wanted) for key, usual in _USUAL)
    return surge, unavailable if surge or unavailable else 1


_USUAL: tuple[tuple[str, int], ...] = (("maxSurge", 0), ("maxUnavailable", 1))


def _scaled(value: int | str, whole: int) -> int:
    return math.ceil(int(value.rstrip("%")) * whole / 100) if isinstance(value, str) else value


def _replace(daemons: Daemons, limit: int) -> Changes:
    """Old pods that are not available go at once; of the others as many as may be unavailable."""
    unavailable, sick, candidates = 0, [], []
    for pods in daemons.by_node.values():
        old, new = _pair(daemons, pods)
        if (old is None) is (new is None):
            unavailable += 1
        elif new is not None:
            unavailable += not _is_available(daemons, new)
        elif old is not None and not _is_available(daemons, old):
            sick.append(old)
            unavailable += 1
        elif old is not None:
            candidates.append(old)
    return Changes(delete=(*sick, *candidates[: max(0, limit - unavailable)]))


def _surge(daemons: Daemons, limit: int) -> Changes:
    """New pods beside old ones, as many as the surge; an old pod goes once its successor is available."""
    surging, sick, candidates = 0, [], []
    done: list[Obj] = []
    for name, pods in daemons.by_node.items():
        old, new = _pair(daemons, pods)
        if old is None:
            continue
        if new is None and not _is_available(daemons, old):
            sick.append(name)
        elif new is None:
            candidates.append(name)
        elif not _is_available(daemons, old) or _is_available(daemons, new):
            done.append(old)
        else:
            surging += 1
    return Changes((*sick, *candidates[: max(0, limit - surging)]), tuple(done))


def _pair(daemons: Daemons, pods: Iterable[Obj]) -> tuple[Obj | None, Obj | None]:
    """The old and the new pod of one node, of those that are not being deleted."""
    alive = [pod for pod in pods if not is_deleting(pod)]
    old = next((pod for pod in alive if not _is_new(daemons, pod)), None)
    return old, next((pod for pod in alive if _is_new(daemons, pod)), None)


def _is_new(daemons: Daemons, pod: Obj) -> bool:
    return labels_of(pod).get(HASH_LABEL) == daemons.mark


def _is_available(daemons: Daemons, pod: Obj) -> bool:
    return available_in(pod, daemons.owner["spec"].get("minReadySeconds", 0), daemons.now_s) == 0.0


def status_of(daemons: Daemons, collisions: int) -> Obj:
    """Counted by nodes: what is wanted, what is there, what is ready. The oldest pod speaks for its node."""
    wanted = {node["metadata"]["name"] for node in daemons.nodes if fits(daemons.owner, node)[0]}
    names = [node["metadata"]["name"] for node in daemons.nodes]
    by_node = {name: pods for name, pods in daemons.by_node.items() if name in names}
    first = [pods[0] for name, pods in by_node.items() if name in wanted]
    available = sum(_is_available(daemons, pod) for pod in first)
    updated = sum(_is_new(daemons, pod) for pod in first)
    status: Obj = {
        "currentNumberScheduled": len(first),
        "numberMisscheduled": len(by_node) - len(first),
        "desiredNumberScheduled": len(wanted),
        "numberReady": sum(is_ready(pod) for pod in first),
        "observedGeneration": daemons.owner["metadata"].get("generation", 1),
    }
    counts = {
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": len(wanted) - available,
        "collisionCount": collisions,
    }
    return status | {name: count for name, count in counts.items() if count}


def next_look_in(daemons: Daemons) -> float | None:
    """Seconds until a ready pod that is still too young becomes available; None when there is none."""
    settle_s = daemons.owner["spec"].get("minReadySeconds", 0)
    waits = [available_in(pod, settle_s, daemons.now_s) for pod in daemons.pods if not is_deleting(pod)]
    return min((wait for wait in waits if wait), default=None)


def why_deleted(pod: Obj) -> tuple[str, str] | None:
    """(reason, message) of the event about a daemon that ended by itself; None for one that runs."""
    if not is_finished(pod):
        return None
    where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']} on node {home_of(pod)}"
    if phase(pod) == "Failed":
        return "FailedDaemonPod", f"Found failed daemon pod {where}, will try to kill it"
    return "SucceededDaemonPod", f"Found succeeded daemon pod {where}, will try to delete it"
