"""Processes of containers: start, signal, reap and sweep them. Knows Linux, knows nothing of pods or of the API.

Each process leads its own session, is marked in its environment and dies with this process (PR_SET_PDEATHSIG). This process
is the subreaper of all of them, so what double-forks away stays below it and is found by its mark.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import shutil
import signal
import termios
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """The command could not be executed; the text is what a container runtime would say."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to execute. `stdin`, `stdout` and `stderr` are file descriptors of ours that the child gets as 0, 1 and 2."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    stdin: int
    stdout: int
    stderr: int
    tty: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """A started child. `exited` yields its exit code, 128 + N when signal N ended it."""

    pid: int
    exited: asyncio.Future[int]

    def alive(self) -> bool:
        """Whether it has not been reaped yet."""
        return not self.exited.done()


class Reaper:
    """Starts children and collects every exit below this process. An async context manager; needs the main thread's loop."""

    def __init__(self) -> None:
        self._children: dict[int, asyncio.Future[int]] = {}

    async def __aenter__(self) -> Reaper:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._collect)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def start(self, launch: Launch) -> Process:
        """Fork and execute. Takes a few milliseconds; raises StartError when the command cannot be executed."""
        process = Process(_spawn(launch), asyncio.get_running_loop().create_future())
        self._children[process.pid] = process.exited
        return process

    def _collect(self) -> None:
        for pid, code in _exits():
            future = self._children.pop(pid, None)
            if future is not None and not future.done():
                future.set_result(code)


def _exits() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        yield pid, code if code >= 0 else 128 - code


def find_program(name: str, env: Mapping[str, str], cwd: Path) -> str:
    """The file to execute for argv[0]. Raises StartError in the words of a container runtime."""
    found = shutil.which(str(cwd / name) if "/" in name else name, path=env.get("PATH", os.defpath))
    if found is not None:
        return found
    why = "no such file or directory" if "/" in name else "executable file not found in $PATH"
    raise StartError(f'exec: "{name}": {why}')


def _spawn(launch: Launch) -> int:
    program = find_program(launch.argv[0], launch.env, launch.cwd)
    parent, (read_end, write_end) = os.getpid(), os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(program, launch, parent, write_end)
    os.close(write_end)
    trouble = os.read(read_end, 16)
    os.close(read_end)
    if trouble:
        os.waitpid(pid, 0)
        raise StartError(f'exec: "{launch.argv[0]}": {os.strerror(int(trouble))}')
    return pid


def _become(program: str, launch: Launch, parent: int, trouble: int) -> NoReturn:
    try:
        os.setsid()
        for number, ours in enumerate(_lifted(launch)):
            os.dup2(ours, number, inheritable=True)
        if launch.tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.chdir(launch.cwd)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent:
            os.execve(program, launch.argv, launch.env)  # noqa: S606 - a container is no shell
    except OSError as error:
        os.write(trouble, str(error.errno).encode())
    finally:
        os._exit(127)


def _lifted(launch: Launch) -> list[int]:
    # Copies above 2, so that filling one of the three places cannot overwrite the source of another.
    return [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (launch.stdin, launch.stdout, launch.stderr)]


def catches(pid: int, number: int) -> bool:
    """Whether process 1 of a container would see the signal: it has a handler (pid_namespaces(7)), blocks it, or waits for one.

    A blocked signal is kept for whoever reads it later, with sigwait or a signalfd (kernel/signal.c, sig_task_ignored).
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("SigCgt:", "SigBlk:")) and int(line.split()[1], 16) >> (number - 1) & 1:
                return True
        # While a process waits for signals, the kernel does not show them as blocked.
        return "sigtimedwait" in Path(f"/proc/{pid}/wchan").read_text()
    return False


def send(pid: int, number: int) -> None:
    """Send a signal; a process that is gone is fine."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def marked(marks: Mapping[str, str]) -> list[int]:
    """Processes, other than this one, whose environment carries all of the marks."""
    wanted = [f"{key}={value}".encode() for key, value in marks.items()]
    numbers = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    return [pid for pid in numbers if pid != os.getpid() and _carries(f"/proc/{pid}", wanted)]


def _carries(folder: str, wanted: list[bytes]) -> bool:
    try:
        with open(f"{folder}/environ", "rb") as file:  # noqa: PTH123 - a pathlib object for every process would double the cost
            variables = file.read().split(b"\0")
    except OSError:
        return False
    return all(mark in variables for mark in wanted)


async def sweep(marks: Mapping[str, str]) -> None:
    """SIGKILL all that carry the marks, until none is left: a process may fork while we look."""
    while pids := marked(marks):
        for pid in pids:
            send(pid, signal.SIGKILL)
        await asyncio.sleep(0.002)


def sweep_now(marks: Mapping[str, str]) -> None:
    """`sweep` for the last act of a process, when no loop runs any more; also collects the orphans that fell to us."""
    for _ in range(200):
        pids = marked(marks)
        for pid in pids:
            send(pid, signal.SIGKILL)
        list(_exits())
        if not pids:
            return
