"""Signals and aborts in every phase of every fault, also while an operation blocks: the undo is sent at once. In virtual time."""

from __future__ import annotations

import statistics

import pytest

from chaoskit.runner import flight
from chaoskit.runner.flight import EXEC_DOUBT_S
from tests.safety.dying import FAULTS
from tests.safety.stopping import WITHIN_S, abort_latency_s, latencies, stopped, stops

EVERY = 9
"""CI takes every ninth stop; `python -m tests.safety.report` takes all."""

FIRST_S = 0.5
"""The first undo write leaves this soon after a stop, in seconds."""


@pytest.mark.parametrize("name", FAULTS)
def test_all_undo_writes_leave_within_five_seconds_of_a_stop(name: str) -> None:
    for each in [each for each in stops() if each[0] == name][::EVERY]:
        ended = stopped(*each)
        assert ended.wrong == ""
        if ended.first_s is not None and ended.last_s is not None:
            assert ended.first_s <= FIRST_S, each
            # A command in a container whose end was never heard is undone at once, and once more when it can run no longer.
            limit_s = EXEC_DOUBT_S if name == "failReadinessByExec" and "hangs" in each[2] else WITHIN_S
            assert ended.last_s <= limit_s + 0.5, each


def test_from_a_crossed_ceiling_to_the_undo_it_takes_a_second_even_while_an_operation_blocks() -> None:
    took = [took for each in list(latencies())[::EVERY] if (took := abort_latency_s(*each)) is not None]
    assert len(took) > 10
    assert statistics.median(took) <= 1.0 and max(took) <= 3.0


def test_an_undo_that_waits_for_the_blocked_answer_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sabotage: cancellation waits for the answer, and the undo with it."""
    from chaoskit.runner.settled import settled

    async def patient(self: flight.Flight) -> object:
        return await settled(_wait(self))

    async def _wait(self: flight.Flight) -> object:
        return await self._task

    monkeypatch.setattr(flight.Flight, "answer", patient)
    took = [abort_latency_s("drainNode", "the answer hangs, it was done at once", breach) for breach in (6.3, 6.8)]
    assert max(each or 0.0 for each in took) > 3.0


def test_an_undo_that_is_not_repeated_after_the_doubt_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sabotage: what lands after the undo stays."""
    monkeypatch.setattr(flight.Flights, "doubtful", lambda self, id_: None)
    how = "the answer hangs, it is done 4 s later"
    assert any(stopped("drainNode", moment, how).wrong for moment in (5.03, 5.06, 5.2, 6.5))
