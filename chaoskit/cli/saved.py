"""A saved run as the command line needs it: its name, history and verdict. Reads; judges by the runner's own hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chaoskit.model.history import History
from chaoskit.model.verdict import Verdict
from chaoskit.reports.words import began
from chaoskit.runner.judge import judge_folder


@dataclass(frozen=True, slots=True)
class SavedRun:
    """A run folder, read and judged."""

    name: str
    history: History
    verdict: Verdict


def read_run(folder: Path) -> SavedRun:
    """The run of a folder, judged again. Raises UsageError when it is no run folder."""
    history, verdict = judge_folder(folder)
    return SavedRun(str(began(history).get("experiment", {}).get("name", folder.name)), history, verdict)
