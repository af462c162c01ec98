"""How Kubernetes turns a number or a percentage into a count of pods: maxSurge up, maxUnavailable down, budgets up.

Sources: kubernetes.io, Deployments (maxSurge, maxUnavailable); Specifying a Disruption Budget (percentages round up);
upstream pkg/controller/deployment/util (ResolveFenceposts).
"""

from __future__ import annotations

import re

from chaoskit.model.resource import Obj

_PERCENT = re.compile(r"(\d+)%\Z")


def scaled(value: int | str, total: int, *, up: bool) -> int:
    """An IntOrString of a total. Raises ValueError for text that is not a whole percentage."""
    if isinstance(value, int):
        return value
    match = _PERCENT.match(value)
    if match is None:
        raise ValueError(f"{value!r} is neither a number nor a percentage")
    exact = int(match[1]) * total
    return -(-exact // 100) if up else exact // 100


def rolling_update(workload: Obj) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) of a Deployment in pods; never both 0: then one may be unavailable."""
    spec = workload.get("spec") or {}
    replicas = 1 if spec.get("replicas") is None else int(spec["replicas"])
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge = scaled(_or(rolling.get("maxSurge"), "25%"), replicas, up=True)
    unavailable = scaled(_or(rolling.get("maxUnavailable"), "25%"), replicas, up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _or(value: int | str | None, default: str) -> int | str:
    return default if value is None else value
