"""The probes of the Kubernetes API: pods, endpoint slices, workloads, nodes, events. Each watches the subject's namespaces whole, because what a
fault brings forth (replacements, a canary) is not there when the watch begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.model.seams import Sight, View
from chaoskit.model.subject import Subject
from chaoskit.probes.watching import Place, watched


def _in_namespaces(subject: Subject, *kinds: str) -> list[Place]:
    return [(kind, namespace) for kind in kinds for namespace in subject.namespaces]


@dataclass(frozen=True, slots=True)
class Pods:
    """Feed `pods`: every pod of the subject's namespaces."""

    kind: ClassVar[str] = "pods"
    feeds: ClassVar[frozenset[str]] = frozenset({"pods"})

    def observe(self, view: View, subject: Subject) -> AsyncIterator[Sight]:
        """Watch until closed."""
        return watched(view, "pods", _in_namespaces(subject, "Pod"))


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Feed `endpoints`: every EndpointSlice of the subject's namespaces."""

    kind: ClassVar[str] = "endpoints"
    feeds: ClassVar[frozenset[str]] = frozenset({"endpoints"})

    def observe(self, view: View, subject: Subject) -> AsyncIterator[Sight]:
        """Watch until closed."""
        return watched(view, "endpoints", _in_namespaces(subject, "EndpointSlice"))


@dataclass(frozen=True, slots=True)
class Workloads:
    """Feed `workloads`: every Deployment and ReplicaSet of the subject's namespaces."""

    kind: ClassVar[str] = "workloads"
    feeds: ClassVar[frozenset[str]] = frozenset({"workloads"})

    def observe(self, view: View, subject: Subject) -> AsyncIterator[Sight]:
        """Watch until closed."""
        return watched(view, "workloads", _in_namespaces(subject, "Deployment", "ReplicaSet"))


@dataclass(frozen=True, slots=True)
class Nodes:
    """Feed `nodes`: every node."""

    kind: ClassVar[str] = "nodes"
    feeds: ClassVar[frozenset[str]] = frozenset({"nodes"})

    def observe(self, view: View, subject: Subject) -> AsyncIterator[Sight]:
        """Watch until closed."""
        return watched(view, "nodes", [("Node", "")])


@dataclass(frozen=True, slots=True)
class Events:
    """Feed `events`: the events of the subject's namespaces."""

    kind: ClassVar[str] = "events"
    feeds: ClassVar[frozenset[str]] = frozenset({"events"})

    def observe(self, view: View, subject: Subject) -> AsyncIterator[Sight]:
        """Watch until closed."""
        return watched(view, "events", _in_namespaces(subject, "Event"))
