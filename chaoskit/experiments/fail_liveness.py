"""Make a pod's liveness probe fail, for real: the application's own switch, so that the kubelet finds out as it would. Switches nothing itself.

Undo: the switch is turned off; it also ends by itself. Promise under test: the container restarts in place within its bound.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import ClassVar

from pydantic.dataclasses import dataclass

from chaoskit.experiments.fits import fitting_promises
from chaoskit.experiments.switches import Switch
from chaoskit.experiments.targeting import pick_pods
from chaoskit.model.seams import SLO, View
from chaoskit.model.step import Aim, Outcome, Stage
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FailLiveness(Switch):
    """Turn the liveness switch of the picked pods on.

    Witness: the application itself says that its switch is on. Promises: restartedInPlace, onlyReadyEndpoints.
    """

    kind: ClassVar[str] = "failLiveness"

    async def stages(self, view: View, aim: Aim) -> AsyncGenerator[Stage, tuple[Outcome, ...]]:
        """One stage: the switches, side by side."""
        pods = await pick_pods(view, aim)
        yield Stage(tuple(self.step(pod, aim, "liveness") for pod in pods))

    def promises(self, subject: Subject) -> tuple[SLO, ...]:
        """What a failing liveness probe puts to the test."""
        return fitting_promises(subject, "restartedInPlace", "onlyReadyEndpoints")
