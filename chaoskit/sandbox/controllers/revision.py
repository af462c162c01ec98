"""Revisions of a Deployment: which annotations its ReplicaSets carry and how they move on. Pure.

Rules: pkg/controller/deployment/util/deployment_util.go, SetNewReplicaSetAnnotations and its neighbours. A ReplicaSet that is
used again (an undo) gets the next revision, and the one it had goes to revision-history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chaoskit.sandbox.controllers.rollout import DESIRED, MAXIMUM, maximum, revision_of, size

Obj = dict[str, Any]
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
_KEPT_BACK = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        HISTORY,
        DESIRED,
        MAXIMUM,
    }
)


def next_revision(old: Iterable[Mapping[str, Any]]) -> int:
    return max((revision_of(replicaset) for replicaset in old), default=0) + 1


def size_annotations(deployment: Obj) -> dict[str, str]:
    """What proportional scaling later measures against."""
    return {DESIRED: str(size(deployment)), MAXIMUM: str(maximum(deployment))}


def new_annotations(deployment: Obj, existing: Mapping[str, str], revision: int, *, fresh: bool) -> dict[str, str]:
    """The annotations of the new ReplicaSet: the Deployment's own, the sizes when `fresh`, and the revision.

    A revision only ever rises.
    """
    told = deployment["metadata"].get("annotations") or {}
    copied = {key: value for key, value in told.items() if key not in _KEPT_BACK}
    annotations = {**existing, **copied}
    before = annotations.get(REVISION)
    if before is None or int(before) < revision:
        annotations[REVISION] = str(revision)
        if before is not None:
            annotations[HISTORY] = ",".join(filter(None, [annotations.get(HISTORY), before]))
    return annotations | (size_annotations(deployment) if fresh else {})
