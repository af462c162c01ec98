"""Which of a fault's promises fit a subject. Chooses by kind; judges nothing."""

from __future__ import annotations

from chaoskit.model.seams import SLO
from chaoskit.model.subject import Subject
from chaoskit.slos import from_value

_NEEDS_SERVICE = frozenset({"onlyReadyEndpoints", "returnsToService", "canaryContained"})
_NEEDS_WORKLOAD = frozenset({"replicasRestored", "canaryContained"})


def fitting_promises(subject: Subject, *kinds: str) -> tuple[SLO, ...]:
    """The named promises, without those that need a Service or a workload where the subject has none."""
    fits = [
        kind
        for kind in kinds
        if not (kind in _NEEDS_SERVICE and not subject.services)
        and not (kind in _NEEDS_WORKLOAD and not subject.workloads)
    ]
    return tuple(from_value(kind, None) for kind in fits)
