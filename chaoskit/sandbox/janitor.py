"""Leaves nothing behind: finds every process that carries a cluster's mark, ends it, and removes the cluster's folder.

Works from the outside, by /proc, so that it needs no cooperation of what it ends. Linux only.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from chaoskit.sandbox import kubeconfig
from chaoskit.sandbox.settings import MARK

_PREFIX: Final = "chaoskit-sandbox"
_PATIENCE_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.005
LOCK: Final = "lock"
_TRACES: Final = "traces.json"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - what is made there has a name of its own and mode 0700


def state_dir(cluster: str) -> Path:
    """Where a cluster keeps its files: short, for the sake of unix sockets, and of this user."""
    return Path(tempfile.gettempdir()) / f"{_PREFIX}-{os.getuid()}-{cluster}"


def memory_dir(cluster: str) -> Path:
    """Where a cluster keeps what must not reach a disk: on a file system in memory, if there is one to write to."""
    if os.access(_MEMORY, os.W_OK | os.X_OK) and _is_memory(_MEMORY):
        return _MEMORY / f"{_PREFIX}-{os.getuid()}-{cluster}"
    return state_dir(cluster) / "memory"


@cache
def _is_memory(folder: Path) -> bool:
    with suppress(OSError):
        mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
        return any(fields[1] == str(folder) and fields[2] in ("tmpfs", "ramfs") for fields in mounts)
    return False


def marked(cluster: str, also: str = "") -> list[int]:
    """Processes of this user whose environment carries the mark, this one excepted. The dead ones do not count.

    `also` is another NAME=VALUE that must be in it.
    """
    wanted = {f"{MARK}={cluster}".encode(), *([also.encode()] if also else [])}
    return [pid for pid in _processes() if pid != os.getpid() and wanted.issubset(_environment(pid))]


def _processes() -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            yield int(entry.name)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def kill_marked(cluster: str, also: str = "") -> list[int]:
    """SIGKILL all of a cluster's processes but this one, until none is left; answers what outlived the patience.

    With `also`, only those that carry that NAME=VALUE too.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while (left := marked(cluster, also)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_AGAIN_S)  # a killed process needs a moment to be gone, and nothing tells when
    return left


def note_traces(folder: Path, server: str, *, record: str | None, merged_into: str | None) -> None:
    """Write down what the cluster leaves outside its folder, for whoever ends it."""
    traces = {"server": server, "record": record, "merged_into": merged_into}
    (folder / _TRACES).write_text(json.dumps(traces))


def end(cluster: str, folder: Path) -> None:
    """End a cluster: its processes, its traces elsewhere, and last its folder, so that a sweep can finish what we do not."""
    kill_marked(cluster)
    _remove_traces(cluster, folder / _TRACES)
    shutil.rmtree(memory_dir(cluster), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_traces(cluster: str, noted: Path) -> None:
    try:
        traces = json.loads(noted.read_text())
    except (OSError, ValueError):
        return
    if traces["merged_into"] is not None:
        kubeconfig.remove(Path(traces["merged_into"]), traces["server"])
    if traces["record"] is not None:
        _unlink_own(Path(traces["record"]), cluster)


def _unlink_own(record: Path, cluster: str) -> None:
    with suppress(OSError, ValueError):
        if json.loads(record.read_text())["id"] == cluster:
            record.unlink()


def hold(folder: Path) -> int:
    """Take the lock that says a cluster is alive; it is free again when this process is gone. Answers its descriptor."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def sweep() -> list[str]:
    """End what is left of clusters whose launcher is gone; answers their ids."""
    prefix = f"{_PREFIX}-{os.getuid()}-"
    swept = []
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        cluster = folder.name.removeprefix(prefix)
        if folder.is_dir() and not folder.is_symlink() and _abandoned(folder):
            end(cluster, folder)
            swept.append(cluster)
    for folder in _MEMORY.glob(f"{prefix}*"):
        cluster = folder.name.removeprefix(prefix)
        if not state_dir(cluster).exists() and not marked(cluster):
            shutil.rmtree(folder, ignore_errors=True)
    return swept


def _abandoned(folder: Path) -> bool:
    """Whether nobody holds the folder's lock. A folder without one has a launcher that is just beginning, or is dead."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > _PATIENCE_S if folder.exists() else False
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
