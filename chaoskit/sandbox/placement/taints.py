"""Taints and tolerations. Pure; used by the scheduler and by taint eviction.

Rules: kubernetes.io, Taints and Tolerations; staging/src/k8s.io/component-helpers/scheduling/corev1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Obj = dict[str, Any]


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """An empty effect tolerates all effects, an empty key with Exists all taints."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def taints_of(node: Mapping[str, Any], *effects: str) -> list[Obj]:
    return [taint for taint in node["spec"].get("taints") or () if taint.get("effect") in effects]


def tolerations_of(pod: Mapping[str, Any]) -> list[Obj]:
    return list(pod["spec"].get("tolerations") or ())


def untolerated(taints: Iterable[Obj], tolerations: Sequence[Obj]) -> Obj | None:
    """The first taint that no toleration covers."""
    return next((taint for taint in taints if not any(tolerates(each, taint) for each in tolerations)), None)


def stay_s(pod: Mapping[str, Any], taints: Sequence[Obj]) -> float | None:
    """How long the pod may stay under these NoExecute taints: None for ever, 0.0 when one is not tolerated.

    For each taint the first toleration that covers it is in use, whatever the later ones say; of those in use the shortest
    tolerationSeconds counts (component-helpers, GetMatchingTolerations; tainteviction, getMinTolerationTime).
    """
    tolerations = tolerations_of(pod)
    if untolerated(taints, tolerations) is not None:
        return 0.0
    used = [next(each for each in tolerations if tolerates(each, taint)) for taint in taints]
    limits = [each["tolerationSeconds"] for each in used if each.get("tolerationSeconds") is not None]
    return max(0.0, float(min(limits))) if limits else None
