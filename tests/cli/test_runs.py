"""Whole runs through the command line on a sandbox: what is said, what is written, and how signals end them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.command import ROOT, read_until
from tests.end_to_end.running import Ended, Place

EXPERIMENT = f"""
apiVersion: chaoskit.dev/v1alpha1
kind: Experiment
metadata: {{name: checkout-in-short}}
spec:
  setup: {{manifests: {ROOT / "sample-app" / "manifests" / "sturdy"}}}
  target: {{namespace: shop, deployment: checkout, pick: 1}}
  traffic: {{service: checkout, path: /, rate: 100/s}}
  fault: {{killPod: {{}}}}
  slos:
    - availability: ">= 90%"
    - replicasRestored
  phases: {{baseline: 1s, hold: 1s, sustain: 1s}}
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run to its end, as several tests look at it."""

    place: Place
    ended: Ended

    @property
    def folder(self) -> Path:
        (folder,) = (self.place.path / "runs").iterdir()
        return folder


def _place(path: Path) -> Place:
    (path / "short.yaml").write_text(EXPERIMENT)
    return Place(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    place = _place(tmp_path_factory.mktemp("finished"))
    return Finished(
        place, place.run("run", "short.yaml", "--sandbox", "--seed", "7", "-o", "json", "--junit", "junit.xml")
    )


def test_a_run_that_keeps_its_promises_exits_with_0(finished: Finished) -> None:
    assert finished.ended.code == 0, finished.ended.err
    assert finished.ended.result["verdict"] == "PASS"
    assert finished.ended.result["seed"] == 7


def test_stdout_carries_the_document_and_nothing_else(finished: Finished) -> None:
    document = json.loads(finished.ended.out)
    assert document["folder"] == str(finished.folder.relative_to(finished.place.path))
    assert {finding["slo"].split()[0] for finding in document["findings"]} == {"availability", "replicasRestored"}


def test_without_a_terminal_each_phase_is_one_plain_line(finished: Finished) -> None:
    lines = [line for line in finished.ended.err.splitlines() if line.startswith("t+")]
    assert [line.split()[-1] if len(line.split()) < 4 else line[11:].split()[0] for line in lines] == [
        "warm-up", "baseline", "inject", "hold", "revert", "settle", "ended",
    ]  # fmt: skip
    assert "\x1b" not in finished.ended.err


def test_the_run_folder_holds_the_evidence_and_is_private(finished: Finished) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert {"journal.jsonl", "requests.bin", "experiment.yaml", "verdict.json", "report.html"} <= names
    assert finished.folder.stat().st_mode & 0o077 == 0
    assert finished.folder.name.endswith(f"-checkout-in-short-{finished.ended.result['run']}")


def test_the_junit_file_has_a_case_for_each_slo(finished: Finished) -> None:
    (suite,) = ET.parse(finished.place.path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")


def test_a_saved_run_is_judged_the_same_without_a_cluster(finished: Finished) -> None:
    again = finished.place.run("judge", str(finished.folder), "-o", "json")
    assert again.code == 0
    same = ("verdict", "restored", "findings", "premises", "run", "seed")
    assert {key: again.result[key] for key in same} == {key: finished.ended.result[key] for key in same}


def test_a_report_is_written_again_the_same(finished: Finished) -> None:
    report = finished.folder / "report.html"
    before = report.read_text()
    report.unlink()
    said = finished.place.run("report", str(finished.folder))
    assert said.code == 0
    assert "PASS" in said.out
    assert report.read_text() == before


def test_a_run_leaves_no_process_and_no_temporary_file(finished: Finished) -> None:
    assert finished.place.leftovers() == []


def test_a_plan_says_whom_and_what_and_how_it_is_judged(tmp_path: Path) -> None:
    place = _place(tmp_path)
    said = place.run("plan", "short.yaml", "--sandbox", "--seed", "11")
    assert said.code == 0, said.err
    for part in (
        "context chaoskit-sandbox at https://127.0.0.1:",
        "seed     11",
        "2 ready of 3 pods stay untouched",
        "undo     irreversible",
        "if       uid ",
        "witness  pod shop/checkout-",
        "delete pods in shop",
        "by nodePort",
        "availability >= 90 % (100 requests sent, 10 needed)",
        "replicasRestored within ",
        "onlyReadyEndpoints  not named under slos",
        "manifests  ",
    ):
        assert part in said.out, part
    assert not (tmp_path / "runs").exists()
    assert place.leftovers() == []


def _stopped(place: Place, at: str, *signals: signal.Signals) -> tuple[subprocess.Popen[str], str, str]:
    """A run that gets signals when it says `at`; the process, its stdout, and its stderr from then on."""
    process = place.start("run", "short.yaml", "--sandbox", "-o", "json")
    read_until(process.stderr, at)
    for number in signals:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_run_puts_back_and_says_which(number: signal.Signals, tmp_path: Path) -> None:
    place = _place(tmp_path)
    process, out, err = _stopped(place, "  inject", number)
    assert process.returncode == 128 + number, err
    assert f"{number.name}: putting back" in err
    result = json.loads(out)
    assert (result["verdict"], result["restored"]) == ("INCONCLUSIVE", "yes")
    assert (tmp_path / result["folder"] / "report.html").exists()
    assert place.leftovers() == []


def test_a_signal_while_the_sandbox_starts_ends_cleanly(tmp_path: Path) -> None:
    place = _place(tmp_path)
    process, out, err = _stopped(place, "starting a sandbox", signal.SIGTERM)
    assert (process.returncode, out) == (143, ""), err
    assert not (tmp_path / "runs").exists()
    assert place.leftovers() == []


def test_a_second_signal_does_not_stop_the_putting_back(tmp_path: Path) -> None:
    place = _place(tmp_path)
    process, out, _ = _stopped(place, "  hold", signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert json.loads(out)["restored"] == "yes"
    assert place.leftovers() == []


def test_a_killed_run_leaves_nothing_and_its_folder_says_what_is_known(tmp_path: Path) -> None:
    place = _place(tmp_path)
    process, _, _ = _stopped(place, "  hold", signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert place.leftovers() == []
    (folder,) = (tmp_path / "runs").iterdir()
    judged = place.run("judge", str(folder), "-o", "json")
    assert judged.code == 4
    assert judged.result["restored"] == "unknown"
    assert judged.result["verdict"] == "INCONCLUSIVE"


_ON_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes standard input the controlling terminal, so that its end is a hangup."""


def test_a_closed_terminal_ends_the_run_and_puts_back(tmp_path: Path) -> None:
    place = _place(tmp_path)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "chaoskit", "run", "short.yaml", "--sandbox", "--run-dir", "closed"]
    process = subprocess.Popen(
        [sys.executable, "-c", _ON_A_TERMINAL, *command],
        cwd=tmp_path,
        env={key: value for key, value in place.environment().items() if key != "CI"} | {"TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    while b"failed" not in shown:  # the live view has seen traffic
        shown += os.read(master, 65536)
    os.close(master)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    assert place.leftovers() == []
    judged = place.run("judge", "closed", "-o", "json")
    assert (judged.result["verdict"], judged.result["restored"]) == ("INCONCLUSIVE", "yes")
    assert (tmp_path / "closed" / "report.html").exists()
