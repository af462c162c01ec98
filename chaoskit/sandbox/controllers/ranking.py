"""Which pods go first when a ReplicaSet shrinks. Pure.

Order: pkg/controller/controller_utils.go, ActivePodsWithRanks: without node; Pending, Unknown, Running; not ready; lower
deletion cost; more siblings on the node; ready more recently; more restarts; younger; then uid.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from chaoskit.sandbox.facts.clock import parse_time
from chaoskit.sandbox.facts.pods import is_active, is_ready, phase, ready_since, restarts

Obj = dict[str, Any]
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def first_to_go(pods: Sequence[Obj], related: Iterable[Obj], count: int, now_s: float) -> list[Obj]:
    """The `count` pods to delete. `related` are the pods of all ReplicaSets under the same owner: they count as siblings."""
    if count >= len(pods):
        return list(pods)
    siblings = Counter(pod["spec"].get("nodeName") for pod in related if is_active(pod))
    return sorted(pods, key=lambda pod: _rank(pod, siblings[pod["spec"].get("nodeName")], now_s))[:count]


def _rank(pod: Obj, siblings: int, now_s: float) -> tuple[Any, ...]:
    return (
        bool(pod["spec"].get("nodeName")),
        _PHASES.get(phase(pod), 2),
        is_ready(pod),
        _deletion_cost(pod),
        -siblings,
        _age_bucket(ready_since(pod), now_s) if is_ready(pod) else -1,
        -restarts(pod),
        _age_bucket(parse_time(pod["metadata"].get("creationTimestamp")), now_s),
        pod["metadata"].get("uid", ""),
    )


def _deletion_cost(pod: Obj) -> int:
    try:
        return int((pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _age_bucket(since_s: float, now_s: float) -> int:
    """Ages on a logarithmic scale: pods of about the same age count as equal (LogarithmicScaleDown)."""
    age_s = now_s - since_s
    return int(math.log2(age_s)) if age_s >= 1 else 0
