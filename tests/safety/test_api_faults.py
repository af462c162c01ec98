"""The API fails at any call of any fault, in any way: nothing is left, nothing is deleted or evicted twice, and no run claims what is not so."""

from __future__ import annotations

import pytest

from chaoskit.runner import execute
from tests.safety.dying import FAULTS
from tests.safety.failing import schedule, schedules

EVERY = 61
"""CI takes every 61st schedule; `python -m tests.safety.report` takes all."""


@pytest.mark.parametrize("name", FAULTS)
def test_an_api_that_fails_once_leaves_nothing_behind(name: str) -> None:
    mine = list(schedules([name]))[::EVERY]
    assert len(mine) > 5
    assert [wrong for each in mine if (wrong := schedule(*each).wrong)] == []


def test_a_mutation_that_is_sent_again_after_a_lost_answer_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sabotage: a runner that believes every lost answer to have done nothing says of a fault that is on that all is well."""

    async def careless(*_: object) -> bool:
        return False

    monkeypatch.setattr(execute, "_read_back", careless)
    kinds = ("reset after the effect",)
    mine = [each for each in schedules(["badCanary"]) if each[2] in kinds]
    assert any(schedule(*each).wrong for each in mine)
