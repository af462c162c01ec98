"""Drain a node: cordon it, then evict its pods by kubectl's rules. Plans evictions after the cordon holds; evicts nothing itself.

Undo: uncordon, if the cordon is still ours. Evictions are irreversible; afterwards the pods live elsewhere.
Source of the rules: kubectl drain (kubernetes.io, Safely Drain a Node; API-initiated Eviction).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar

from pydantic.dataclasses import dataclass

from chaoskit.experiments.fits import fitting_promises
from chaoskit.experiments.targeting import controller_kind, pick_nodes
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.operation import ABSENT, Evict, Field, Patch
from chaoskit.model.resource import Obj, Ref, ref_of
from chaoskit.model.seams import SLO, View
from chaoskit.model.step import Aim, Fate, FieldIs, Gone, Outcome, Stage, Step, Until, step
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.units import DurationField
from chaoskit.model.written import by_default
from chaoskit.semantics.pods import grace_s, is_active

SLACK_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DrainNode:
    """Cordon the node of a `node` or `nodeOf` target, then evict its pods side by side.

    Witnesses: the node is unschedulable; each evicted pod's uid is gone. A budget's refusal (429) is asked again until `timeout` and then
    is an answer, judged by the budget's promises. Left alone: DaemonSet pods, mirror pods, finished pods.
    Promises: replicasRestored, onlyReadyEndpoints.
    """

    kind: ClassVar[str] = "drainNode"

    timeout: DurationField = by_default(60.0)
    """How long a refused eviction is asked again."""
    delete_empty_dir_data: bool = False
    """Evict pods with emptyDir volumes too; their data is lost."""
    force: bool = False
    """Evict pods without a controller too; they never come back."""

    async def stages(self, view: View, aim: Aim) -> AsyncGenerator[Stage, tuple[Outcome, ...]]:
        """First the cordon, then the evictions of what is on the node once the cordon holds."""
        nodes = await pick_nodes(view, aim)
        for node in nodes:
            # Looked at before the cordon: a drain that must refuse a pod changes nothing, where kubectl leaves the node cordoned.
            await self._evictable(view, node)
        cordoned = yield Stage(tuple(_cordon(node) for node in nodes))
        if any(outcome.fate is not Fate.SEEN for outcome in cordoned):
            return
        pods = await asyncio.gather(*(self._evictable(view, node) for node in nodes))
        steps = tuple(self._evict(pod) for group in pods for pod in group)
        if steps:
            yield Stage(steps)

    def promises(self, subject: Subject) -> tuple[SLO, ...]:
        """What a drain puts to the test."""
        return fitting_promises(subject, "replicasRestored", "onlyReadyEndpoints")

    async def _evictable(self, view: View, node: Obj) -> Sequence[Obj]:
        name = node["metadata"]["name"]
        pods = await view.list("Pod", fields=f"spec.nodeName={name}")
        candidates = [
            pod for pod in pods if is_active(pod) and not _is_mirror(pod) and controller_kind(pod) != "DaemonSet"
        ]
        refused = [reason for pod in candidates if (reason := self._refusal(pod)) is not None]
        if refused:
            raise CouldNotRun(f"draining {name} is refused, nothing was touched: {'; '.join(refused)}")
        return candidates

    def _refusal(self, pod: Obj) -> str | None:
        ref = ref_of(pod, "Pod")
        if controller_kind(pod) is None and not self.force:
            return f"{ref} has no controller and would be lost (force: true permits it)"
        if _has_empty_dir(pod) and not self.delete_empty_dir_data:
            return f"{ref} has emptyDir data that would be lost (deleteEmptyDirData: true permits it)"
        return None

    def _evict(self, pod: Obj) -> Step:
        ref = ref_of(pod, "Pod")
        return step(Evict(ref), Until(Gone(ref), grace_s(pod) + SLACK_S), patience_s=self.timeout)


def _is_mirror(pod: Obj) -> bool:
    """A static pod's image in the API: the kubelet owns it, deleting it does nothing."""
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def _has_empty_dir(pod: Obj) -> bool:
    return any("emptyDir" in volume for volume in pod["spec"].get("volumes") or ())


def _cordon(node: Obj) -> Step:
    if node["spec"].get("unschedulable"):
        raise CouldNotRun(f"node {node['metadata']['name']} is cordoned already, and not by this run; choose another")
    ref: Ref = ref_of(node, "Node")
    patch = Patch(ref, (Field("/spec/unschedulable", ABSENT, True),))
    return step(patch, Until(FieldIs(ref, "/spec/unschedulable", True), 10.0))
