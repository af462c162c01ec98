"""Runs the command line as a user would, for tests of its texts and exit codes. Asserts nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
BROKEN = Path(__file__).parent / "broken"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command line said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """All its lines, stderr's last."""
        return [*self.out.splitlines(), *self.err.splitlines()]


def chaoskit(*arguments: str, folder: Path | None = None, **environment: str) -> Said:
    """One command line, without a terminal and without the user's kubeconfig."""
    kept = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "chaoskit", *arguments],
        cwd=folder,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def read_until(stream: IO[str] | None, part: str, within_s: float = 60.0) -> str:
    """The text up to the line that has the part in it."""
    assert stream is not None
    read, deadline = "", time.monotonic() + within_s
    while part not in read:
        line = stream.readline()
        assert line and time.monotonic() < deadline, f"never said {part!r}:\n{read}"
        read += line
    return read
