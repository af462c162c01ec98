"""How a run ended: its exit code, and what a person has to do now. Pure; prints nothing."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from chaoskit.model.history import History
from chaoskit.model.verdict import Grade, Verdict

_CODES = {Grade.PASS: 0, Grade.INCONCLUSIVE: 3, Grade.FAIL: 1}


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that was judged. `context` "" is a sandbox, which is gone by the time this is read."""

    name: str
    context: str
    namespace: str
    folder: Path
    history: History
    verdict: Verdict


def code_of(verdict: Verdict) -> int:
    """The exit code of a verdict; what was not restored, or is not known to be, goes before everything."""
    return _CODES[verdict.grade] if verdict.restored == "yes" else 4


def leftover_lines(ended: Ended) -> list[str]:
    """What is left and the command that puts it back; empty when nothing is."""
    if ended.verdict.restored == "yes":
        return []
    said = {"no": "something could not be put back", "unknown": "it is not known whether all was put back"}
    lines = [f"NOT RESTORED: {ended.name}: {said[ended.verdict.restored]}"]
    blocked = [event for event in ended.history.of("step.undone") if event.data["how"] == "blocked"]
    lines += [f"  step {event.data['id']}: {event.data['because']}" for event in blocked]
    return [*lines, f"  now run: {recover_command(ended)}" if ended.context else "  it was on a sandbox, which is gone"]


def recover_command(ended: Ended) -> str:
    """The command line that puts back what this run left."""
    where = ["-n", ended.namespace] if ended.namespace else []
    words = ["chaoskit", "recover", "--context", ended.context, *where, "--run-dir", str(ended.folder)]
    return shlex.join(words)
