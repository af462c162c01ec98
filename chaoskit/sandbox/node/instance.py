"""One instance of a container: a folder as its root, an environment, a log, a process. Starts it and cleans up after it; restarts nothing."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from chaoskit.sandbox.node import environment, images, volumes
from chaoskit.sandbox.node.farewell import DEFAULT_PATH
from chaoskit.sandbox.node.host import Place, instance_marks
from chaoskit.sandbox.node.logs import Log
from chaoskit.sandbox.node.paths import Mounts
from chaoskit.sandbox.node.processes import Launch, Process, StartError, sweep

Obj: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """All that a command in the container needs: the instance's own, and what exec, hooks and probes bring."""

    env: Mapping[str, str]
    cwd: Path
    mounts: Mounts
    farewell: Path
    """Where the container may leave a termination message."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A started instance. `log_key` is for the end of its watching."""

    id: str
    process: Process
    setting: Setting
    log: Log
    log_key: int
    started_at: float


def new_id() -> str:
    """An id of the shape a container runtime gives."""
    return f"containerd://{secrets.token_hex(32)}"


async def configure(place: Place, container: Obj, number: int, instance: str) -> Setting:
    """Folder, mounts and environment of instance `number`. Raises ConfigError while something it refers to is missing."""
    services = await place.services()
    env = await environment.variables(container, place.facts(), services, place.fetch)
    root = place.folder / container["name"] / str(number)
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    mounts, farewell = _with_farewell(volumes.mount(container, place.volumes, root), container)
    cwd = mounts.inside(mounts_free(container.get("workingDir") or "/"))
    cwd.mkdir(parents=True, exist_ok=True)
    led = mounts.rewrite_env(env)
    if led != env:
        place.warn_of_rewriting()
    return Setting({**place.base_env(root), **led, **instance_marks(place, instance)}, cwd, mounts, farewell)


def _with_farewell(mounts: Mounts, container: Obj) -> tuple[Mounts, Path]:
    """The mounts with the file for the termination message among them, empty, and that file."""
    path = container.get("terminationMessagePath") or DEFAULT_PATH
    file = mounts.inside(mounts_free(path))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    return replace(mounts, paths=(path, *mounts.paths)), file


def mounts_free(path: str) -> str:
    """A working directory without steps upwards."""
    return os.path.normpath("/" + path)


def command(container: Obj, image: images.Image, setting: Setting, place: Place) -> tuple[str, ...]:
    """The argv to execute: expanded, led to this machine's folders and interpreter."""
    known = setting.env
    given = [[environment.expand(word, known) for word in container.get(key) or ()] for key in ("command", "args")]
    argv = images.argv_of(image, given[0], given[1])
    led = setting.mounts.rewrite_argv(argv)
    if led != argv:
        place.warn_of_rewriting()
    return images.on_this_machine(led)


def start(place: Place, container: Obj, argv: tuple[str, ...], setting: Setting, instance: str, log: Log) -> Instance:
    """Start the process. Raises StartError."""
    nothing, output = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), log.open()
    try:
        if not argv:
            raise StartError("no command specified")
        process = place.host.reaper.start(Launch(argv, setting.env, setting.cwd, nothing, output, output))
    finally:
        os.close(nothing)
        os.close(output)
    return Instance(instance, process, setting, log, place.host.logs.add(log), time.time())


def kill(instance: Instance) -> None:
    """SIGKILL the first process and what stayed in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(instance.process.pid, signal.SIGKILL)


async def clean_up(place: Place, instance: Instance) -> None:
    """After the end of the first process: nothing of the instance lives on, as when a PID namespace loses its first process."""
    kill(instance)
    place.host.logs.remove(instance.log_key)
    instance.log.close()
    await sweep(instance_marks(place, instance.id))
