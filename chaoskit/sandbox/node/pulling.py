"""The pull of an image, as far as its failure goes: names the sandbox cannot run fail like a mistyped tag, with back-off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from chaoskit.sandbox.node.host import Place
from chaoskit.sandbox.node.images import Image, find_image
from chaoskit.sandbox.node.states import Waiting
from chaoskit.sandbox.node.stopping import field_path

Obj: TypeAlias = dict[str, Any]
Show: TypeAlias = Callable[[Waiting], Awaitable[None]]
"""Publishes a waiting state and returns when it is written."""
_RETRY_S = 1.0
"""Between ErrImagePull and the next look, where the back-off shows."""


async def pull(place: Place, container: Callable[[], Obj], show: Show) -> Image:
    """The container's image; asks again with growing delays until its name is one that can be run. The name may be patched meanwhile."""
    timings = place.host.settings.timings
    delay = timings.image_pull_backoff_initial_s
    while True:
        spec = container()
        image = find_image(spec["image"])
        if image is not None:
            _tell_success(place, spec)
            return image
        if spec.get("imagePullPolicy") == "Never":
            await _never(place, spec, show)
            await asyncio.sleep(delay)
            continue
        await _fail(place, spec, show)
        pause = min(_RETRY_S, delay / 2)
        await asyncio.sleep(pause)
        await _back_off(place, spec, show)
        await asyncio.sleep(delay - pause)
        delay = min(delay * 2, timings.image_pull_backoff_max_s)


def _tell_success(place: Place, spec: Obj) -> None:
    name, where = spec["image"], field_path(spec)
    if spec.get("imagePullPolicy") == "Always":
        place.event("Normal", "Pulling", f'Pulling image "{name}"', where)
        place.event(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{name}" in 1ms (1ms including waiting). Image size: 0 bytes.',
            where,
        )
        return
    place.event(
        "Normal", "Pulled", f'Container image "{name}" already present on machine and can be accessed by the pod', where
    )


async def _never(place: Place, spec: Obj, show: Show) -> None:
    message = f'Container image "{spec["image"]}" is not present with pull policy of Never'
    place.event("Warning", "ErrImageNeverPull", message, field_path(spec))
    place.event("Warning", "Failed", "Error: ErrImageNeverPull", field_path(spec))
    await show(Waiting("ErrImageNeverPull", message))


async def _fail(place: Place, spec: Obj, show: Show) -> None:
    name, where = spec["image"], field_path(spec)
    why = f'failed to resolve reference "{name}": not found; the sandbox runs python:3.x, busybox, alpine, bash and debian'
    place.event("Normal", "Pulling", f'Pulling image "{name}"', where)
    place.event("Warning", "Failed", f'Failed to pull image "{name}": {why}', where)
    place.event("Warning", "Failed", "Error: ErrImagePull", where)
    await show(Waiting("ErrImagePull", why))


async def _back_off(place: Place, spec: Obj, show: Show) -> None:
    name, where = spec["image"], field_path(spec)
    place.event("Normal", "BackOff", f'Back-off pulling image "{name}"', where)
    place.event("Warning", "Failed", "Error: ImagePullBackOff", where)
    await show(Waiting("ImagePullBackOff", f'Back-off pulling image "{name}": ErrImagePull'))
