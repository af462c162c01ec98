"""Runs the command line as a user would, in a process of its own, and tells what it left behind. Asserts nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"


@dataclass(frozen=True, slots=True)
class Ended:
    """A command line that ended."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of its own for one command line: its temporary files, its state and its run folders, so that leftovers can be told apart."""

    path: Path

    def environment(self) -> dict[str, str]:
        for name in ("tmp", "state", "home"):
            (self.path / name).mkdir(exist_ok=True)
        own = {"TMPDIR": "tmp", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "tmp", "HOME": "home"}
        kept = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        return kept | {key: str(self.path / name) for key, name in own.items()}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "chaoskit", *arguments],
            cwd=self.path,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, timeout: float = 110.0) -> Ended:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{arguments} did not end within {timeout} s:\n{out}\n{err}") from None
        return Ended(process.returncode, out, err)

    def processes(self) -> Sequence[str]:
        """The command lines of living processes whose environment or working folder names this place."""
        return [text for pid in _pids() if (text := _if_within(pid, str(self.path)))]

    def temporary(self) -> Sequence[str]:
        """What stands in the temporary folder."""
        return sorted(entry.name for entry in (self.path / "tmp").iterdir())

    def leftovers(self, within_s: float = 10.0) -> Sequence[str]:
        """Processes and temporary files that are still there when the deadline has passed; sockets die with their processes."""
        deadline = time.monotonic() + within_s
        while (left := [*self.processes(), *self.temporary()]) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


def _pids() -> Iterator[int]:
    return (
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and int(entry.name) != os.getpid()
    )


def _if_within(pid: int, place: str) -> str:
    try:
        process = Path("/proc") / str(pid)
        if process.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return ""
        environment = process.joinpath("environ").read_bytes().decode(errors="replace")
        inside = place in environment or str(process.joinpath("cwd").readlink()).startswith(place)
        return f"{pid} {process.joinpath('cmdline').read_text().replace(chr(0), ' ')}" if inside else ""
    except OSError:
        return ""
