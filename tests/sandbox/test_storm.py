"""A small part of the nightly storm (tests/sandbox/storm.py): one kill of each part in the middle of work leaves nothing."""

from __future__ import annotations

import pytest

from tests.sandbox.storm import storm, table


@pytest.mark.parametrize("victim", ["launcher", "api", "node", "pod"])
def test_a_part_killed_in_the_middle_of_work_leaves_nothing(victim: str) -> None:
    tallies = storm([victim], 1)
    assert tallies[victim].rounds == 1 and tallies[victim].clean, table(tallies)
