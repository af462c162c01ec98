"""The scheduler's book: which node has which pods, and how much of it is taken. Kept from changes; decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaoskit.sandbox.facts.pods import is_deleting, is_finished
from chaoskit.sandbox.placement.resources import (
    Amounts,
    add,
    allocatable_of,
    assumed_requests_of,
    host_ports_of,
    requests_of,
    subtract,
)

Obj = dict[str, Any]


@dataclass(slots=True)
class Room:
    """One node with its pods by uid, the sums of what they ask for, and what the node offers.

    `siblings` counts its pods that are not being deleted, by the uid of their controller. `unfriendly` are its pods with
    affinity rules, which are few: others must be looked at for each new pod.
    """

    node: Obj
    allocatable: Amounts
    pods: dict[str, Obj] = field(default_factory=dict)
    used: Amounts = field(default_factory=dict)
    assumed: Amounts = field(default_factory=dict)
    siblings: Counter[str] = field(default_factory=Counter)
    unfriendly: dict[str, Obj] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.node["metadata"]["name"])

    @property
    def labels(self) -> Mapping[str, str]:
        return self.node["metadata"].get("labels") or {}

    @property
    def ports(self) -> set[tuple[str, int]]:
        return {port for pod in self.pods.values() for port in host_ports_of(pod)}


class Ledger:
    """Rooms by node name. A pod may be noted before its node is known and after it is gone."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}
        self._homes: dict[str, str] = {}
        self._homeless: dict[str, dict[str, Obj]] = {}

    def rooms(self) -> list[Room]:
        return [self._rooms[name] for name in sorted(self._rooms)]

    def pods(self) -> Iterator[tuple[Room, Obj]]:
        return ((room, pod) for room in self._rooms.values() for pod in room.pods.values())

    def note_node(self, node: Obj) -> None:
        name = node["metadata"]["name"]
        room = self._rooms.get(name)
        if room is not None:
            room.node, room.allocatable = node, allocatable_of(node)
            return
        self._rooms[name] = Room(node, allocatable_of(node))
        for pod in self._homeless.pop(name, {}).values():
            self._enter(self._rooms[name], pod)

    def forget_node(self, name: str) -> None:
        room = self._rooms.pop(name, None)
        if room is not None and room.pods:
            self._homeless[name] = room.pods

    def note_pod(self, pod: Obj) -> None:
        """Book a bound pod in, or update it; a finished one no longer takes room."""
        self.forget_pod(pod)
        home = pod["spec"].get("nodeName")
        if not home or is_finished(pod):
            return
        self._homes[pod["metadata"]["uid"]] = home
        if home in self._rooms:
            self._enter(self._rooms[home], pod)
        else:
            self._homeless.setdefault(home, {})[pod["metadata"]["uid"]] = pod

    def forget_pod(self, pod: Obj) -> None:
        uid = pod["metadata"]["uid"]
        home = self._homes.pop(uid, None)
        if home is None:
            return
        room = self._rooms.get(home)
        if room is None:
            self._homeless.get(home, {}).pop(uid, None)
            return
        before = room.pods.pop(uid)
        room.unfriendly.pop(uid, None)
        room.siblings.subtract(_counted(before))
        room.used = subtract(room.used, requests_of(before))
        room.assumed = subtract(room.assumed, assumed_requests_of(before))

    def _enter(self, room: Room, pod: Obj) -> None:
        room.pods[pod["metadata"]["uid"]] = pod
        if pod["spec"].get("affinity"):
            room.unfriendly[pod["metadata"]["uid"]] = pod
        room.siblings.update(_counted(pod))
        room.used = add(room.used, requests_of(pod))
        room.assumed = add(room.assumed, assumed_requests_of(pod))


def controller_uid(pod: Mapping[str, Any]) -> str | None:
    references = pod["metadata"].get("ownerReferences") or ()
    return next((str(each["uid"]) for each in references if each.get("controller")), None)


def _counted(pod: Obj) -> list[str]:
    uid = controller_uid(pod)
    return [] if uid is None or is_deleting(pod) else [uid]
