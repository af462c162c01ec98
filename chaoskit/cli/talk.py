"""Where the command line speaks: talk on stderr, the result on stdout. Chooses the console; says nothing itself."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import IO, cast

from rich.console import Console

PLAIN_WIDTH = 120
"""How wide tables are where there is no terminal to ask, in characters."""


def talk() -> Console:
    """The console for people: stderr."""
    return _console(_Steady(sys.stderr))


def result() -> Console:
    """The console for results: stdout."""
    return _console(sys.stdout)


def lively() -> bool:
    """Whether a view may move: a terminal, and nobody's log. Rich alone would believe FORCE_COLOR, which CI systems set."""
    return sys.stderr.isatty() and not os.environ.get("CI")


class _Steady(io.TextIOBase):
    """A stream that swallows what cannot be written: a closed terminal must not raise in the middle of an undo."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a text stream that wraps another has the other's
        return str(getattr(self._stream, "encoding", "utf-8"))

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def _console(file: IO[str] | _Steady) -> Console:
    width = None if file.isatty() else PLAIN_WIDTH
    # Names and messages come from a cluster: nothing in them is markup of ours.
    return Console(file=cast("IO[str]", file), markup=False, highlight=False, emoji=False, width=width)
