"""Which promises a subject can be held to, and how many requests an SLO takes. Chooses and counts; judges nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.model.plan import LeftOut
from chaoskit.model.seams import SLO
from chaoskit.model.subject import Subject
from chaoskit.semantics.bounds import has_readiness_gate
from chaoskit.semantics.owners import roots
from chaoskit.slos.endpoints import OnlyReadyEndpoints
from chaoskit.slos.replicas import ReplicasRestored


@dataclass(frozen=True, slots=True)
class Fitting:
    """The promises that fit a subject whatever the fault, and those that do not, with the reason."""

    promises: tuple[SLO, ...]
    left_out: tuple[LeftOut, ...]


def fitting(subject: Subject) -> Fitting:
    """Hold the subject to what Kubernetes promises of its kind. What a fault promises besides is the fault's to say."""
    found = list(_considered(subject))
    return Fitting(
        tuple(slo for slo, why in found if why is None),
        tuple(LeftOut(slo.kind, why) for slo, why in found if why is not None),
    )


def _considered(subject: Subject) -> Iterator[tuple[SLO, str | None]]:
    yield ReplicasRestored(), _no_replicas(subject)
    yield OnlyReadyEndpoints(), _no_endpoints(subject)


def _no_replicas(subject: Subject) -> str | None:
    if not roots(subject.workloads):
        return "no Deployment or ReplicaSet controls the target: nothing would replace a pod"
    if any(map(has_readiness_gate, subject.pods)):
        return "a readinessGate decides when a pod is ready: there is no bound"
    return None


def _no_endpoints(subject: Subject) -> str | None:
    if not subject.services:
        return "no Service selects the target's pods"
    if not any((service.get("spec") or {}).get("selector") for service in subject.services):
        return "its Services have no selector: somebody else manages their endpoints"
    return None


def samples_needed(slo: SLO) -> int | None:
    """How many requests the SLO takes to be decided; None when it counts none."""
    needed = getattr(slo, "samples_needed", None)
    return None if needed is None else int(needed())
