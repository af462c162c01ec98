"""One objective over each connection policy, as one objective for each. Expands; judges nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from chaoskit.model.seams import SLO

POLICIES = ("fresh", "reuse")


def by_cohort(slos: Iterable[SLO]) -> tuple[SLO, ...]:
    """The SLOs, those with `policy: each` once for each policy: two findings say which of the two users felt it."""
    return tuple(one for slo in slos for one in _expanded(slo))


def _expanded(slo: SLO) -> tuple[SLO, ...]:
    return tuple(_of(slo, policy) for policy in POLICIES) if getattr(slo, "policy", None) == "each" else (slo,)


def _of(slo: SLO, policy: str) -> SLO:
    one = copy.copy(slo)
    object.__setattr__(
        one, "policy", policy
    )  # parsed already: made anew, its numbers would be refused for want of a unit
    return one
