"""Kill pods: delete by uid, with the pod's own grace period. Says what to delete; deletes nothing itself.

Undo: none; the controller replaces the pod, and that is the promise under test. After the run the pod has another name and uid.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, ClassVar, Self

from pydantic import Field, Strict, model_validator
from pydantic.dataclasses import dataclass

from chaoskit.experiments.fits import fitting_promises
from chaoskit.experiments.targeting import controller_kind, pick_pods
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.operation import Delete
from chaoskit.model.resource import Obj, ref_of
from chaoskit.model.seams import SLO, View
from chaoskit.model.step import Aim, Gone, Outcome, Stage, Step, Until, step
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.semantics.pods import grace_s

SLACK_S = 15.0
"""How much longer than its grace period a pod may take to be gone from the API before the kill counts as not seen."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class KillPod:
    """Delete the picked pods, all at once.

    Witness: the pod's uid is gone from the API. Promises: replicasRestored, onlyReadyEndpoints.
    """

    kind: ClassVar[str] = "killPod"

    grace: Annotated[int, Strict(), Field(ge=1)] | None = None
    """Grace period in whole seconds, 1 or more; by default the pod's own."""
    force: bool = False
    """Grace period 0: the object is gone at once while the process may run on. Refused for StatefulSets, whose next pod bears the same name."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.force and self.grace is not None:
            raise ValueError("grace and force exclude each other; force means a grace period of 0")
        return self

    async def stages(self, view: View, aim: Aim) -> AsyncGenerator[Stage, tuple[Outcome, ...]]:
        """One stage: the deletions, side by side."""
        pods = await pick_pods(view, aim)
        yield Stage(tuple(self._kill(pod) for pod in pods))

    def promises(self, subject: Subject) -> tuple[SLO, ...]:
        """What a killed pod puts to the test."""
        return fitting_promises(subject, "replicasRestored", "onlyReadyEndpoints")

    def _kill(self, pod: Obj) -> Step:
        ref = ref_of(pod, "Pod")
        if controller_kind(pod) is None:
            raise CouldNotRun(
                f"{ref} has no controller and would never come back; choose a pod that a workload controls"
            )
        if self.force and controller_kind(pod) == "StatefulSet":
            raise CouldNotRun(f"{ref} belongs to a StatefulSet: two processes could bear one identity; leave out force")
        grace = 0 if self.force else self.grace
        patience = grace_s(pod) if grace is None else grace
        return step(Delete(ref, grace), Until(Gone(ref), patience + SLACK_S))
