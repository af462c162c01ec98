"""A StatefulSet's pods by their ordinals: which is to be made, deleted or left, and what identity each has. Pure.

Rules and their order: pkg/controller/statefulset/stateful_set_control.go and stateful_set_utils.go. OrderedReady stops at
the first pod that is not as it should be, also for replacements (recorded) and for updates: a broken revision stays stuck
until somebody deletes its pod. maxUnavailable of the rolling update is alpha upstream and not done here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chaoskit.sandbox.controllers.podwork import pod_from
from chaoskit.sandbox.facts.pods import available_in, is_deleting, is_finished, is_ready, phase
from chaoskit.sandbox.facts.selection import labels_of

Obj = dict[str, Any]
REVISION_LABEL = "controller-revision-hash"
NAME_LABEL, INDEX_LABEL = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
_MEMBER = re.compile(r"^(.*)-([0-9]+)$")


@dataclass(frozen=True, slots=True)
class Move:
    """One thing to do: `create` and `identify` name the ordinal, `delete` the pod. `update`: deleted for its revision."""

    act: Literal["create", "delete", "identify"]
    ordinal: int
    pod: Obj | None = None
    update: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """A StatefulSet with its pods at one moment, by ordinal, and the names of its two revisions.

    `now_s` is when; availability depends on it.
    """

    owner: Obj
    pods: Mapping[int, Obj]
    current_revision: str
    update_revision: str
    now_s: float

    @property
    def wanted(self) -> range:
        start = start_of(self.owner)
        return range(start, start + int(self.owner["spec"]["replicas"]))

    @property
    def condemned(self) -> list[int]:
        """Ordinals out of range, the highest first."""
        return sorted((each for each in self.pods if each not in self.wanted), reverse=True)

    @property
    def is_ordered(self) -> bool:
        return bool(self.owner["spec"].get("podManagementPolicy") != "Parallel")


def start_of(owner: Mapping[str, Any]) -> int:
    return int((owner["spec"].get("ordinals") or {}).get("start", 0))


def ordinal_of(owner: Mapping[str, Any], pod: Mapping[str, Any]) -> int | None:
    """The number at the end of the pod's name; None for a pod that is not named after the owner."""
    found = _MEMBER.match(pod["metadata"]["name"])
    return int(found.group(2)) if found and found.group(1) == owner["metadata"]["name"] else None


def by_ordinal(owner: Obj, pods: Iterable[Obj]) -> dict[int, Obj]:
    return {number: pod for pod in pods if (number := ordinal_of(owner, pod)) is not None}


def is_running_and_ready(pod: Mapping[str, Any]) -> bool:
    return phase(pod) == "Running" and is_ready(pod)


def is_available(owner: Mapping[str, Any], pod: Mapping[str, Any], now_s: float) -> bool:
    waits_s = available_in(pod, owner["spec"].get("minReadySeconds", 0), now_s)
    return is_running_and_ready(pod) and waits_s == 0.0


def is_healthy(members: Members, number: int) -> bool:
    pod = members.pods.get(number)
    return pod is not None and is_available(members.owner, pod, members.now_s) and not is_deleting(pod)


def revision_of(pod: Mapping[str, Any]) -> str:
    return labels_of(pod).get(REVISION_LABEL, "")


def moves(members: Members) -> list[Move]:
    """What to do now: fill the range, then shrink to it, then update."""
    if is_deleting(members.owner):
        return []
    filling, stopped = _fill(members)
    if stopped:
        return filling
    shrinking, stopped = _shrink(members)
    return [*filling, *shrinking, *([] if stopped else _update(members))]


def _fill(members: Members) -> tuple[list[Move], bool]:
    done: list[Move] = []
    for number in members.wanted:
        pod = members.pods.get(number)
        move = _member_move(members, number, pod)
        if move is not None:
            done.append(move)
        if members.is_ordered and _holds_up(members, pod):
            return done, True
    return done, False


def _member_move(members: Members, number: int, pod: Obj | None) -> Move | None:
    if pod is None:
        return Move("create", number)
    if is_finished(pod):
        return None if is_deleting(pod) else Move("delete", number, pod)
    return None if has_identity(members.owner, pod, number) else Move("identify", number, pod)


def _holds_up(members: Members, pod: Obj | None) -> bool:
    """In order: nothing goes on past a pod that is missing, ending, or not yet available."""
    return pod is None or is_deleting(pod) or not is_available(members.owner, pod, members.now_s)


def _shrink(members: Members) -> tuple[list[Move], bool]:
    """From the top; in order one at a time, and an unhealthy pod only if no lower one is unhealthy too."""
    condemned = members.condemned
    if not members.is_ordered:
        pods = [(number, members.pods[number]) for number in condemned]
        return [Move("delete", number, pod) for number, pod in pods if not is_deleting(pod)], False
    if not condemned:
        return [], False
    pod = members.pods[condemned[0]]
    sick = next((number for number in reversed(condemned) if not is_healthy(members, number)), None)
    blocked = not is_available(members.owner, pod, members.now_s) and condemned[0] != sick
    return ([] if is_deleting(pod) or blocked else [Move("delete", condemned[0], pod)]), True


def _update(members: Members) -> list[Move]:
    """The highest pod of another revision, once all above it are healthy; down to the partition."""
    strategy = members.owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    partition = int((strategy.get("rollingUpdate") or {}).get("partition", 0))
    for number in reversed(members.wanted[partition:]):
        pod = members.pods.get(number)
        if pod is not None and revision_of(pod) != members.update_revision and not is_deleting(pod):
            return [Move("delete", number, pod, update=True)]
        if not is_healthy(members, number):
            return []
    return []


def revision_for(members: Members, number: int) -> str:
    """The revision a new pod gets: below the partition the current one. Before the first update, both are the same."""
    strategy = members.owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return members.update_revision
    rolling, start = strategy.get("rollingUpdate"), start_of(members.owner)
    kept = int(members.owner.get("status", {}).get("currentReplicas", 0))
    below = start + (kept if rolling is None else int(rolling.get("partition", 0)))
    return members.current_revision if number < below else members.update_revision


def member(owner: Obj, number: int, revision: str, template: Obj) -> Obj:
    """The pod with this ordinal: its name, labels, host name and claims."""
    pod = pod_from(owner, template)
    pod["metadata"]["name"] = f"{owner['metadata']['name']}-{number}"
    pod["spec"]["hostname"] = pod["metadata"]["name"]
    if owner["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = owner["spec"]["serviceName"]
    pod["metadata"]["labels"] = labels_of(pod) | _marks(owner, number) | {REVISION_LABEL: revision}
    claims = {claim["metadata"]["name"]: claim_name(owner, claim, number) for claim in claim_templates(owner)}
    others = [each for each in pod["spec"].get("volumes") or () if each["name"] not in claims]
    mounted = [{"name": name, "persistentVolumeClaim": {"claimName": claim}} for name, claim in claims.items()]
    if mounted or others:
        pod["spec"]["volumes"] = [*mounted, *others]
    return pod


def _marks(owner: Obj, number: int) -> dict[str, str]:
    return {NAME_LABEL: f"{owner['metadata']['name']}-{number}", INDEX_LABEL: str(number)}


def has_identity(owner: Obj, pod: Obj, number: int) -> bool:
    return _marks(owner, number).items() <= labels_of(pod).items()


def identified(owner: Obj, pod: Obj, number: int) -> dict[str, str]:
    """The pod's labels with those of its identity restored."""
    return labels_of(pod) | _marks(owner, number)


def claim_templates(owner: Mapping[str, Any]) -> Sequence[Obj]:
    return owner["spec"].get("volumeClaimTemplates") or ()


def claim_name(owner: Mapping[str, Any], template: Mapping[str, Any], number: int) -> str:
    return f"{template['metadata']['name']}-{owner['metadata']['name']}-{number}"


def claims_of(owner: Obj, number: int) -> list[Obj]:
    """The PersistentVolumeClaims of one ordinal. They carry the set's labels and no owner: they outlive it."""
    shared = owner["spec"]["selector"].get("matchLabels") or {}
    return [
        {
            "metadata": {
                "name": claim_name(owner, template, number),
                "labels": labels_of(template) | shared,
                "annotations": template["metadata"].get("annotations"),
            },
            "spec": template["spec"],
        }
        for template in claim_templates(owner)
    ]


def status_of(members: Members, made: Sequence[Move], collisions: int) -> Obj:
    """The status these members make, after `made`: pods deleted for their revision no longer count as current.

    A pod that ends stays ready until it has ended (recorded), and counts as no revision's from its deletion on.
    """
    owner, pods = members.owner, list(members.pods.values())
    lasting = [revision_of(pod) for pod in pods if not is_deleting(pod)]
    counts = {
        "readyReplicas": sum(is_running_and_ready(pod) for pod in pods),
        "currentReplicas": lasting.count(members.current_revision) - sum(move.update for move in made),
        "updatedReplicas": lasting.count(members.update_revision),
    }
    status: Obj = {
        "observedGeneration": owner["metadata"].get("generation", 1),
        "replicas": len(pods),
        "availableReplicas": sum(is_available(owner, pod, members.now_s) for pod in pods),
        "currentRevision": members.current_revision,
        "updateRevision": members.update_revision,
        "collisionCount": collisions,
    }
    return _completed(owner, status | {name: count for name, count in counts.items() if count > 0})


def _completed(owner: Obj, status: Obj) -> Obj:
    """Once every pod is ready and of the new revision, that is the current one (completeRollingUpdate)."""
    wanted = owner["spec"]["replicas"]
    done = all(status.get(name, 0) == wanted for name in ("updatedReplicas", "readyReplicas", "replicas"))
    rolling = (owner["spec"].get("updateStrategy") or {}).get("type") == "RollingUpdate"
    if not done or not rolling:
        return status
    current = {"currentReplicas": wanted} if wanted else {}
    return status | {"currentRevision": status["updateRevision"]} | current


def next_look_in(members: Members) -> float | None:
    """Seconds until a ready pod that is still too young becomes available; None when there is none."""
    settle_s = members.owner["spec"].get("minReadySeconds", 0)
    waits = [available_in(pod, settle_s, members.now_s) for pod in members.pods.values() if not is_deleting(pod)]
    return min((wait for wait in waits if wait), default=None)
