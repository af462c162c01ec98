"""The arithmetic of a Deployment: which ReplicaSet grows or shrinks next, and to what size. Pure: no store, no clock.

Every function looks at one Rollout, a snapshot, and returns the Scales to make. Rules and their order:
pkg/controller/deployment/rolling.go, sync.go, recreate.go and util/deployment_util.go.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaoskit.sandbox.facts.pods import is_deleting, phase

Obj = dict[str, Any]
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"


@dataclass(frozen=True, slots=True)
class Scale:
    """One ReplicaSet shall get this size."""

    name: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """A Deployment with its ReplicaSets: the one of the current template, if there is one, and the older ones."""

    deployment: Obj
    new: Obj | None
    old: tuple[Obj, ...]

    @property
    def all(self) -> tuple[Obj, ...]:
        return self.old if self.new is None else (*self.old, self.new)


def name_of(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"]["name"])


def size(workload: Mapping[str, Any]) -> int:
    """spec.replicas; defaulted to 1 on admission."""
    return int(workload["spec"].get("replicas", 1))


def available(replicaset: Mapping[str, Any]) -> int:
    return int(replicaset.get("status", {}).get("availableReplicas", 0))


def total(replicasets: Iterable[Mapping[str, Any]]) -> int:
    return sum(size(replicaset) for replicaset in replicasets)


def is_rolling(deployment: Mapping[str, Any]) -> bool:
    return bool((deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def surge_and_unavailable(deployment: Mapping[str, Any]) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods: percentages of spec.replicas, surge rounded up, unavailable rounded down.

    Both zero would never move, so unavailable is then 1 (util, ResolveFenceposts). (0, 0) for Recreate; unavailable is never
    more than spec.replicas.
    """
    if not is_rolling(deployment):
        return 0, 0
    limits = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = _scaled(limits.get("maxSurge", "25%"), size(deployment), math.ceil)
    unavailable = _scaled(limits.get("maxUnavailable", "25%"), size(deployment), math.floor)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, size(deployment))


def _scaled(value: int | str, whole: int, rounding: Any) -> int:
    return int(rounding(int(value.rstrip("%")) * whole / 100)) if isinstance(value, str) else value


def maximum(deployment: Mapping[str, Any]) -> int:
    return size(deployment) + surge_and_unavailable(deployment)[0]


def first_size(rollout: Rollout, current: int = 0) -> int:
    """The size the new ReplicaSet may have now, being at `current` (util, NewRSNewReplicas): grow within the surge."""
    wanted = size(rollout.deployment)
    if not is_rolling(rollout.deployment):
        return wanted
    room = maximum(rollout.deployment) - total(rollout.all)
    return current if room <= 0 else current + min(room, wanted - current)


def scale_new(rollout: Rollout) -> list[Scale]:
    """Grow the new ReplicaSet as far as the surge lets it, or shrink it to spec.replicas.

    It does not grow while an old one has yet to delete what it was told to: upstream only sums up sizes, but its writes
    take so long that pods beyond the surge were never seen on a real cluster. Ours do not, so the order is kept by rule.
    """
    assert rollout.new is not None
    wanted, has = size(rollout.deployment), size(rollout.new)
    target = wanted if has > wanted else first_size(rollout, has)
    if target == has or (target > has and any(is_behind(each) for each in rollout.old)):
        return []
    return [Scale(name_of(rollout.new), target)]


def is_behind(replicaset: Mapping[str, Any]) -> bool:
    """Has its controller yet to act on its latest spec?"""
    seen = replicaset.get("status", {}).get("observedGeneration", 0)
    return bool(replicaset["metadata"].get("generation", 1) > seen)


def scale_old(rollout: Rollout) -> list[Scale]:
    """Shrink old ReplicaSets: first their unhealthy pods, then as far as enough others are available."""
    assert rollout.new is not None
    floor = size(rollout.deployment) - surge_and_unavailable(rollout.deployment)[1]
    new_unavailable = size(rollout.new) - available(rollout.new)
    budget = total(rollout.all) - floor - new_unavailable
    if total(rollout.old) == 0 or budget <= 0:
        return []
    aged = sorted(rollout.old, key=age_of)
    sizes = {name_of(replicaset): size(replicaset) for replicaset in aged}
    _drop_unhealthy(aged, sizes, budget)
    # With fresh statuses the second bound is never the smaller; a status that still counts deleted pods must not free more.
    _drop(aged, sizes, min(sum(available(replicaset) for replicaset in rollout.all) - floor, budget))
    return [
        Scale(name_of(replicaset), sizes[name_of(replicaset)])
        for replicaset in aged
        if sizes[name_of(replicaset)] != size(replicaset)
    ]


def _drop_unhealthy(aged: list[Obj], sizes: dict[str, int], budget: int) -> None:
    for replicaset in aged:
        drop = max(0, min(budget, size(replicaset) - available(replicaset)))
        sizes[name_of(replicaset)] -= drop
        budget -= drop


def _drop(aged: list[Obj], sizes: dict[str, int], budget: int) -> None:
    for replicaset in aged:
        drop = max(0, min(budget, sizes[name_of(replicaset)]))
        sizes[name_of(replicaset)] -= drop
        budget -= drop


def empty_old(rollout: Rollout) -> list[Scale]:
    """Recreate: every old ReplicaSet goes to zero before anything new is made."""
    return [Scale(name_of(replicaset), 0) for replicaset in rollout.old if size(replicaset) > 0]


def has_old_pods(rollout: Rollout, old_pods: Iterable[Obj]) -> bool:
    """Recreate waits while an old pod is neither Succeeded nor Failed, also while it is terminating."""
    counted = any(replicaset.get("status", {}).get("replicas", 0) > 0 for replicaset in rollout.old)
    return counted or any(phase(pod) not in ("Succeeded", "Failed") for pod in old_pods)


def is_resized(rollout: Rollout) -> bool:
    """Was spec.replicas changed since the active ReplicaSets were last sized? (isScalingEvent)"""
    wanted = str(size(rollout.deployment))
    return any(
        (told := (replicaset["metadata"].get("annotations") or {}).get(DESIRED)) is not None and told != wanted
        for replicaset in rollout.all
        if size(replicaset) > 0
    )


def resize(rollout: Rollout) -> list[Scale]:
    """spec.replicas changed: one active ReplicaSet takes it all; several share in proportion to their sizes (sync.go, scale)."""
    wanted = size(rollout.deployment)
    sole = _sole_active(rollout)
    if sole is not None:
        return [] if size(sole) == wanted else [Scale(name_of(sole), wanted)]
    if _is_saturated(rollout):
        return empty_old(rollout)
    return _shares(rollout) if is_rolling(rollout.deployment) else []


def _sole_active(rollout: Rollout) -> Obj | None:
    """The only ReplicaSet with pods; with none, the new one or the youngest old one (util, FindActiveOrLatest)."""
    active = [replicaset for replicaset in rollout.all if size(replicaset) > 0]
    if len(active) > 1:
        return None
    youngest = max(rollout.old, key=age_of, default=None)
    return active[0] if active else rollout.new or youngest


def _is_saturated(rollout: Rollout) -> bool:
    if rollout.new is None:
        return False
    told = (rollout.new["metadata"].get("annotations") or {}).get(DESIRED)
    wanted = size(rollout.deployment)
    return size(rollout.new) == wanted and told == str(wanted) and available(rollout.new) == wanted


def _shares(rollout: Rollout) -> list[Scale]:
    """Spread the difference over the active ReplicaSets in proportion, the remainder going to the largest."""
    deployment = rollout.deployment
    allowed = maximum(deployment) if size(deployment) > 0 else 0
    missing = allowed - total(rollout.all)
    # Largest first; among equals the youngest when growing, the oldest when shrinking.
    active = sorted((each for each in rollout.all if size(each) > 0), key=age_of, reverse=missing > 0)
    active.sort(key=size, reverse=True)
    shares, given = {}, 0
    for replicaset in active:
        fraction = _fraction(replicaset, deployment)
        share = 0 if missing == 0 else min(fraction, missing - given) if missing > 0 else max(fraction, missing - given)
        shares[name_of(replicaset)] = share
        given += share
    scales = []
    for place, replicaset in enumerate(active):
        target = size(replicaset) + shares[name_of(replicaset)] + (missing - given if place == 0 else 0)
        scales.append(Scale(name_of(replicaset), max(0, target)))
    return [scale for scale, replicaset in zip(scales, active, strict=True) if scale.replicas != size(replicaset)]


def _fraction(replicaset: Obj, deployment: Obj) -> int:
    """How much this ReplicaSet should grow (or shrink, negative) for its part of the new whole."""
    if size(deployment) == 0:
        return -size(replicaset)
    told = (replicaset["metadata"].get("annotations") or {}).get(MAXIMUM)
    before = int(told) if told else int(deployment.get("status", {}).get("replicas", 0))
    before = before or maximum(deployment)
    return math.floor(size(replicaset) * maximum(deployment) / before + 0.5) - size(replicaset)


def superfluous(rollout: Rollout) -> list[Obj]:
    """Old, empty ReplicaSets beyond spec.revisionHistoryLimit, lowest revision first (sync.go, cleanupDeployment)."""
    limit = rollout.deployment["spec"].get("revisionHistoryLimit")
    if limit is None:
        return []
    alive = sorted((replicaset for replicaset in rollout.old if not is_deleting(replicaset)), key=revision_of)
    return [replicaset for replicaset in alive[: max(0, len(alive) - limit)] if _is_at_rest(replicaset)]


def _is_at_rest(replicaset: Obj) -> bool:
    left = replicaset.get("status", {}).get("replicas", 0)
    return not is_behind(replicaset) and size(replicaset) == 0 and left == 0


def revision_of(replicaset: Mapping[str, Any]) -> int:
    told = (replicaset["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", "0")
    return int(told) if told.isdecimal() else 0


def age_of(replicaset: Mapping[str, Any]) -> tuple[str, int, str]:
    """Sorts the oldest first. Creation times have whole seconds only, so the revision orders what shares one."""
    return str(replicaset["metadata"].get("creationTimestamp", "")), revision_of(replicaset), name_of(replicaset)
