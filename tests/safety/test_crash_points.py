"""The runner dies before, within and after every request and every durable write of every fault; then recovery puts back, from the cluster alone.

Enumerated, in virtual time. `python -m tests.safety.report` runs all of it; here is a part that reaches into every stretch of every fault.
"""

from __future__ import annotations

import asyncio

import pytest

from chaoskit.runner.recover import recover
from chaoskit.runner.traces import Leftover
from chaoskit.runner.undo import CLOSED, open_steps
from tests.live_runs import RUN
from tests.safety.dying import FAULTS, LEAVES_NOTHING, Mortal, lived, recovered
from tests.virtual_time import run_virtual

EVERY = 5
"""CI takes every fifth point of a fault."""


def points_of(name: str) -> int:
    """How many points the life of a run of this fault has."""
    mortal = Mortal(None)
    run_virtual(lived(name, mortal))
    return mortal.points


async def leftovers_after(name: str, point: int, *, late: bool = False) -> str:
    """What is wrong after a death and a recovery that knows nothing but the cluster; "" when all is as before."""
    left = await lived(name, Mortal(point, late=late), after_s=0.0 if late else 1.0)
    report = await recovered(left.cluster, force=late)
    assert report is not None
    if not report.is_clean or report.alive or report.unseen:
        return f"{name} at {point}: {report}"
    hows = {each.how for each in report.recovered}
    if not hows <= {"undone", "already", "gone"}:
        return f"{name} at {point}: {hows}"
    await asyncio.sleep(5.0)
    if not late and not left.is_as_before:
        return f"{name} at {point}: not as before"
    # A lease whose making was still under way may come after a recovery that saw nothing: it is ours alone, and the next one clears it.
    landed = len(left.cluster.landed_ops)
    again = await recovered(left.cluster)
    if again is None or again.recovered or len(left.cluster.landed_ops) != landed:
        return f"{name} at {point}: a second recovery found something: {again}"
    return "" if left.is_as_before else f"{name} at {point}: not as before"


async def leftovers_after_two_deaths(name: str, point: int, second: int) -> str | None:
    """The same when the recovery dies at its own point too, and another follows it. None when the recovery ended before that point."""
    left = await lived(name, Mortal(point))
    mortal = Mortal(second)
    await recovered(left.cluster, mortal)
    if not mortal.dead:
        return None
    done = [sent for sent in left.cluster.landed_ops if not sent.undoing]
    await asyncio.sleep(1.0)
    report = await recovered(left.cluster)
    assert report is not None
    if not report.is_clean or report.alive or not left.is_as_before:
        return f"{name} at {point}, then at {second}: {report}"
    if [sent for sent in left.cluster.landed_ops if not sent.undoing] != done:
        return f"{name} at {point}, then at {second}: a recovery did something new"
    return ""


@pytest.mark.parametrize("late", [False, True], ids=["long after", "at once, the last request still under way"])
@pytest.mark.parametrize("name", FAULTS)
def test_recovery_from_the_cluster_alone_puts_back(name: str, late: bool) -> None:
    total = points_of(name)
    assert total > 15
    wrong = [
        why for point in range(late, total, EVERY) if (why := run_virtual(leftovers_after(name, point, late=late)))
    ]
    assert wrong == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_recovery_that_dies_is_taken_up_by_the_next(name: str) -> None:
    seen = 0
    for point in range(2, points_of(name), 13):
        for second in range(point % 5, 60, 5):
            why = run_virtual(leftovers_after_two_deaths(name, point, second))
            if why is None:
                break
            seen += 1
            assert why == ""
    assert seen > 0


@pytest.mark.parametrize("name", FAULTS)
def test_recovery_from_the_journal_puts_back_at_once_and_a_second_time_does_nothing(name: str) -> None:
    async def story(point: int) -> None:
        left = await lived(name, Mortal(point))
        cluster = left.cluster
        leftovers = [Leftover(RUN, id_, step) for id_, step in open_steps(left.events) if step.undo is not None]
        await recover(cluster, leftovers)
        landed = len(cluster.landed_ops)
        again = await recover(cluster, leftovers)
        assert {recovered.how for recovered in again} <= CLOSED
        assert all(sent.undoing for sent in cluster.landed_ops[landed:])
        assert await recovered(cluster) is not None and left.is_as_before

    for point in range(1, points_of(name), 2 * EVERY):
        run_virtual(story(point))


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in LEAVES_NOTHING])
def test_without_recovery_a_death_leaves_something_at_some_point(name: str) -> None:
    """The sabotage: were nothing ever left, the tests above would prove nothing."""

    async def left(point: int) -> bool:
        return not (await lived(name, Mortal(point))).is_as_before

    assert any(run_virtual(left(point)) for point in range(0, points_of(name), EVERY))


def test_a_record_that_is_not_written_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sabotage of the record: without it a switch in a pod is not put back from the cluster alone."""
    from chaoskit.runner.claim import Claim

    async def forgetful(self: Claim, steps: object) -> None:
        return None

    monkeypatch.setattr(Claim, "intend", forgetful)
    assert any(
        run_virtual(leftovers_after("failReadinessByExec", point)) for point in range(points_of("failReadinessByExec"))
    )


def test_a_recovery_that_does_not_wait_out_the_doubt_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sabotage of the doubt: a request that was still under way lands after everything was closed."""
    monkeypatch.setattr("chaoskit.runner.recover.DOUBT_S", 0.0)
    names = ("drainNode", "failReadiness")
    assert any(
        run_virtual(leftovers_after(name, point, late=True)) for name in names for point in range(points_of(name))
    )
