"""Who runs: a name for people, and a process that can be found dead on this machine. Reads /proc; never looks at another machine's clock."""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Holder:
    """The one who holds a lease. `process` is BOOT/PID-NAMESPACE/PID/START, "" where that cannot be known."""

    run: str
    name: str
    process: str = ""

    @property
    def identity(self) -> str:
        """As it stands in a lease."""
        return f"{self.run} ({self.name})"


def this_process(run: str) -> Holder:
    """The holder that we are."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return Holder(run, f"{user}@{socket.gethostname()}, pid {os.getpid()}", _process(os.getpid()))


def is_dead_here(process: str) -> bool:
    """Whether that process lived on this machine, since its last boot, and is no more. False says nothing: it may be anywhere."""
    place, _, rest = process.rpartition("/")
    place, _, pid = place.rpartition("/")
    return bool(place) and place == _place() and rest != "" and _started(pid) != rest


def _process(pid: int) -> str:
    started = _started(str(pid))
    return f"{_place()}/{pid}/{started}" if started and _place() else ""


def _place() -> str:
    """This boot and this namespace of pids: only there does a pid name one process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: str) -> str:
    """When a process started, in ticks since boot; "" when there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def boot_s() -> float:
    """Seconds since boot, sleep included: CLOCK_MONOTONIC stands still while a laptop sleeps, and the others go on."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
