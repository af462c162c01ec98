"""Release a bad canary: a copy of the target's live template with a declared patch, behind the same Service. Creates nothing itself.

Undo: the canary Deployment is deleted, found by our mark. The target's own Deployment is never touched.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, Strict, model_validator
from pydantic.dataclasses import dataclass

from chaoskit.experiments.fits import fitting_promises
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.operation import Create
from chaoskit.model.resource import Obj, Ref
from chaoskit.model.seams import SLO, View
from chaoskit.model.step import Aim, FieldIs, Outcome, Stage, Until, step
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT

CANARY_LABEL = "chaoskit.dev/canary"
"""Tells the canary's pods from the stable ones; its value is the run's id."""

_NAME_LIMIT = 52  # a ReplicaSet adds 11 characters to its Deployment's name, a label holds 63


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CanaryPatch:
    """What makes the canary bad. At least one of these."""

    image: Annotated[str, Field(min_length=1)] | None = None
    """Another image."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables, added or replaced."""
    command: tuple[str, ...] | None = None
    """Another command."""
    args: tuple[str, ...] | None = None
    """Other arguments."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.image is None and not self.env and self.command is None and self.args is None:
            raise ValueError("an empty patch would release a good canary; change image, env, command or args")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class BadCanary:
    """Create `replicas` canary pods beside the Deployment of the target.

    Witness: the canary Deployment is there, as we wrote it. Promise: canaryContained.
    """

    kind: ClassVar[str] = "badCanary"

    patch: CanaryPatch
    """What makes it bad."""
    replicas: Annotated[int, Strict(), Field(ge=1, le=50)] = 1
    """How many canary pods."""
    container: str | None = None
    """Which container is patched; needed when there are several."""

    async def stages(self, view: View, aim: Aim) -> AsyncGenerator[Stage, tuple[Outcome, ...]]:
        """One stage: the canary Deployment."""
        if aim.target.deployment is None:
            raise CouldNotRun(f"a canary needs a target of kind deployment, not {aim.target}")
        stable = await view.get(Ref("Deployment", aim.target.deployment, aim.target.namespace or ""))
        canary = self._canary(stable, aim)
        ref = Ref("Deployment", canary["metadata"]["name"], canary["metadata"]["namespace"])
        yield Stage((step(Create(ref, canary), Until(FieldIs(ref, "/spec/replicas", self.replicas), 10.0)),))

    def promises(self, subject: Subject) -> tuple[SLO, ...]:
        """What a bad canary puts to the test."""
        return fitting_promises(subject, "canaryContained", "onlyReadyEndpoints")

    def _canary(self, stable: Obj, aim: Aim) -> dict[str, Any]:
        template = copy.deepcopy(dict(stable["spec"]["template"]))
        _refuse_claims(stable, template)
        labels = {**(template["metadata"].get("labels") or {}), CANARY_LABEL: aim.run}
        template["metadata"] = {**template["metadata"], "labels": labels}
        self._spoil(self._container(stable, template))
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": f"{stable['metadata']['name'][: _NAME_LIMIT - len(aim.run) - 8]}-canary-{aim.run}",
                "namespace": stable["metadata"]["namespace"],
                "labels": {CANARY_LABEL: aim.run},
            },
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": {CANARY_LABEL: aim.run}},
                "template": template,
            },
        }

    def _container(self, stable: Obj, template: dict[str, Any]) -> dict[str, Any]:
        containers: list[dict[str, Any]] = template["spec"]["containers"]
        named = [c for c in containers if self.container is None or c["name"] == self.container]
        if len(named) != 1:
            names = ", ".join(c["name"] for c in containers)
            raise CouldNotRun(
                f"name one container of deployment {stable['metadata']['name']} to patch with `container`: {names}"
            )
        return named[0]

    def _spoil(self, container: dict[str, Any]) -> None:
        for key in ("image", "command", "args"):
            value = getattr(self.patch, key)
            if value is not None:
                container[key] = value if key == "image" else list(value)
        kept = [entry for entry in container.get("env") or [] if entry["name"] not in self.patch.env]
        container["env"] = [*kept, *({"name": name, "value": value} for name, value in self.patch.env.items())]


def _refuse_claims(stable: Obj, template: Obj) -> None:
    if any("persistentVolumeClaim" in volume for volume in template["spec"].get("volumes") or ()):
        raise CouldNotRun(
            f"deployment {stable['metadata']['name']} mounts a PersistentVolumeClaim; a canary would write into the stable pods' data"
        )
