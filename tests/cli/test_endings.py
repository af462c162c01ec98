"""How an ending is told: the exit code of each verdict, and what a person has to do when something was not put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaoskit.cli.endings import Ended, code_of, leftover_lines
from chaoskit.model.event import Event
from chaoskit.model.verdict import Grade, Restored
from tests.reports.stories import killed_pod, verdict


def _ended(restored: Restored, context: str = "staging", **undone: Any) -> Ended:
    history = killed_pod()
    if undone:
        history.add(Event(999, history.now_ns, "step.undone", undone))
    return Ended("shop-survives", context, "shop", Path("runs/a b"), history, verdict(Grade.PASS, restored=restored))


@pytest.mark.parametrize(
    ("grade", "restored", "code"),
    [
        (Grade.PASS, "yes", 0),
        (Grade.FAIL, "yes", 1),
        (Grade.INCONCLUSIVE, "yes", 3),
        (Grade.PASS, "no", 4),
        (Grade.FAIL, "unknown", 4),
    ],
)
def test_each_verdict_has_its_exit_code(grade: Grade, restored: Restored, code: int) -> None:
    assert code_of(replace(verdict(grade), restored=restored)) == code


def test_a_restored_run_needs_no_words() -> None:
    assert leftover_lines(_ended("yes")) == []


def test_what_was_not_put_back_is_told_with_the_command_to_run() -> None:
    lines = leftover_lines(_ended("no", id="0.0", how="blocked", because="403; do by hand: kubectl uncordon node-1"))
    assert lines == [
        "NOT RESTORED: shop-survives: something could not be put back",
        "  step 0.0: 403; do by hand: kubectl uncordon node-1",
        "  now run: chaoskit recover --context staging -n shop --run-dir 'runs/a b'",
    ]


def test_a_sandbox_that_is_gone_needs_no_command() -> None:
    lines = leftover_lines(_ended("unknown", context=""))
    assert lines[-1] == "  it was on a sandbox, which is gone"
    assert not any("recover" in line for line in lines)
