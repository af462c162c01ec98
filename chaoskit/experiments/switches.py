"""How an application's own switches are reached: an HTTP switch on an admin port, or argument lists in a container. Describes steps; sends nothing.

The HTTP protocol an application implements: PUT turns the switch on (JSON body {"run", "ttlSeconds"}), GET answers 200 while it is on and
404 while it is off, DELETE with ?run= turns it off and is idempotent; the switch ends by itself after its time-to-live.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, Strict, model_validator
from pydantic.dataclasses import dataclass

from chaoskit.model.errors import CouldNotRun
from chaoskit.model.operation import Exec, Request
from chaoskit.model.resource import Obj, Ref, ref_of
from chaoskit.model.step import Aim, Answers, Exits, Step, Until, step
from chaoskit.model.target import STRICT
from chaoskit.semantics.probes import probes_of

PORT_ANNOTATION = "chaoskit.dev/switch-port"
"""Pod annotation with the admin port, where a file does not name one."""

SEEN_WITHIN_S = 5.0
TTL_SLACK_S = 10.0
TTL_LIMIT_S = 3600

Argv = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class HttpSwitch:
    """A switch on the pod's admin port."""

    port: Annotated[int, Strict(), Field(ge=1, le=65535)]
    """The admin port."""
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9/_.~-]+$")]
    """The switch's path."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ExecSwitch:
    """Argument lists run in the container; no shell unless a list names one. They have no time-to-live: prefer an HTTP switch."""

    set: Argv
    """Makes the probe fail."""
    clear: Argv
    """Makes it succeed again; must be harmless when repeated."""
    check: Argv
    """Exits 0 while the probe is made to fail."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Switch:
    """Which of the two ways; with neither, the HTTP switch of the pod's annotation."""

    http: HttpSwitch | None = None
    exec: ExecSwitch | None = None
    container: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.http is not None and self.exec is not None:
            raise ValueError("http and exec exclude each other")
        return self

    def step(self, pod: Obj, aim: Aim, name: str) -> Step:
        """The step that turns the switch `name` on in a pod; it lasts at least the detection, the hold and a slack."""
        ref, probe = ref_of(pod, "Pod"), f"{name}Probe"
        if self.exec is not None:
            return _by_exec(ref, self.exec, self.container or probed_container(pod, probe))
        http = self.http or _annotated(pod, name)
        detect_s = max((times.latest_s for _, times in probes_of(pod, probe)), default=0.0)
        ttl_s = min(TTL_LIMIT_S, math.ceil(aim.lasting_s + detect_s + TTL_SLACK_S))
        return _by_http(ref, http, aim.run, ttl_s)


def _by_http(ref: Ref, http: HttpSwitch, run: str, ttl_s: int) -> Step:
    body = json.dumps({"run": run, "ttlSeconds": ttl_s})
    on = Request(ref, http.port, "PUT", http.path, body)
    off = Request(ref, http.port, "DELETE", f"{http.path}?run={run}")
    return step(on, Until(Answers(ref, http.port, http.path, 200), SEEN_WITHIN_S), undo=off)


def _by_exec(ref: Ref, switch: ExecSwitch, container: str) -> Step:
    seen = Exits(ref, container, switch.check, 0)
    return step(Exec(ref, container, switch.set), Until(seen, SEEN_WITHIN_S), undo=Exec(ref, container, switch.clear))


def _annotated(pod: Obj, name: str) -> HttpSwitch:
    text = (pod["metadata"].get("annotations") or {}).get(PORT_ANNOTATION, "")
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise CouldNotRun(
            f'{ref_of(pod, "Pod")} declares no switch; name `http` or `exec` in the fault, or annotate the pod with {PORT_ANNOTATION}: "<admin port>"'
        )
    return HttpSwitch(port=int(text), path=f"/switches/{name}")


def probed_container(pod: Obj, probe: str) -> str:
    """The one container with that probe. Raises CouldNotRun when several have it; without any, the first container."""
    containers: Sequence[Obj] = pod["spec"]["containers"]
    probed = [container["name"] for container in containers if probe in container]
    if len(probed) > 1:
        raise CouldNotRun(
            f"{ref_of(pod, 'Pod')}: several containers have a {probe} ({', '.join(probed)}); name one with `container`"
        )
    return str((probed or [containers[0]["name"]])[0])
