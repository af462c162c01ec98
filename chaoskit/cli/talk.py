"""Where the command line speaks: talk on stderr, the result on stdout. Chooses the console; says nothing itself."""

from __future__ import annotations

import os
import sys
from typing import IO

from rich.console import Console

PLAIN_WIDTH = 120
"""How wide tables are where there is no terminal to ask, in characters."""


def talk() -> Console:
    """The console for people: stderr."""
    return _console(sys.stderr)


def result() -> Console:
    """The console for results: stdout."""
    return _console(sys.stdout)


def lively() -> bool:
    """Whether a view may move: a terminal, and nobody's log. Rich alone would believe FORCE_COLOR, which CI systems set."""
    return sys.stderr.isatty() and not os.environ.get("CI")


def _console(file: IO[str]) -> Console:
    width = None if file.isatty() else PLAIN_WIDTH
    # Names and messages come from a cluster: nothing in them is markup of ours.
    return Console(file=file, markup=False, highlight=False, emoji=False, width=width)
