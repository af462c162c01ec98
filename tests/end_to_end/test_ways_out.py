"""However a run on a sandbox ends, nothing of it is left: no process, no socket, no temporary file. Signals sent as a user's terminal would."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.running import EXPERIMENTS, Place

FILE = str(EXPERIMENTS / "storefront-survives-a-drained-node.yaml")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def started(place: Place, phase: str) -> subprocess.Popen[str]:
    """A run that has just reached a phase."""
    process = place.start("run", FILE, "--sandbox", "--run-dir", "kept")
    assert process.stderr is not None
    deadline = time.monotonic() + 60
    said = []
    for line in process.stderr:
        said.append(line)
        if phase in line.split():
            return process
        if time.monotonic() > deadline:
            break
    process.kill()
    raise AssertionError(f"did not reach {phase}: {said}")


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_signal_while_the_fault_is_on_puts_back_and_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    place = Place(tmp_path)
    process = started(place, "hold")
    process.send_signal(number)
    process.send_signal(number)  # a second one does not stop the undo
    process.communicate(timeout=30)
    assert process.returncode == CODES[number]
    assert place.leftovers() == []
    journal = (tmp_path / "kept" / "journal.jsonl").read_text()
    assert '"how":"undone"' in journal


@pytest.mark.parametrize("phase", ["warm-up", "baseline"])
def test_a_signal_before_the_fault_injects_nothing(phase: str, tmp_path: Path) -> None:
    place = Place(tmp_path)
    process = started(place, phase)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert place.leftovers() == []
    assert "stage.intended" not in (tmp_path / "kept" / "journal.jsonl").read_text()


@pytest.mark.parametrize("phase", ["baseline", "hold"])
def test_a_sigkill_leaves_no_process_and_no_file_of_the_sandbox(phase: str, tmp_path: Path) -> None:
    place = Place(tmp_path)
    process = started(place, phase)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert place.leftovers() == []


def test_what_a_killed_run_recorded_can_still_be_judged(tmp_path: Path) -> None:
    place = Place(tmp_path)
    process = started(place, "hold")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    ended = place.run("judge", "kept", "-o", "json")
    assert ended.code == 4, ended.err  # nobody saw it being put back: unknown
    assert ended.result["restored"] == "unknown"
