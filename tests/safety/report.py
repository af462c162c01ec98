"""The safety report: every crash point, every API fault, foreign actors, stops, and real kills on a sandbox, as one table.

python -m tests.safety.report                  all of it: one night on two cores
python -m tests.safety.report --every 20       a twentieth of the enumerations
python -m tests.safety.report --only crashes,stops
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from rich.console import Console
from rich.table import Table

from tests.safety import failing, stopping
from tests.safety.dying import FAULTS
from tests.safety.killing import Scene, scene
from tests.safety.test_crash_points import leftovers_after, leftovers_after_two_deaths, points_of
from tests.safety.test_foreign_actors import sequences
from tests.safety.victim import faults
from tests.virtual_time import run_virtual

SEQUENCES = 5000
REAL_POINTS = 30
KILLS = 30


@dataclass(frozen=True)
class Row:
    """One figure: what was done how often, what it must reach and what it reached, and what went wrong."""

    figure: str
    count: int
    must: str
    reached: str
    wrong: Sequence[str] = ()


def crashes(every: int) -> Iterator[Row]:
    for late in (False, True):
        points = [(name, point) for name in FAULTS for point in range(points_of(name))][::every]
        wrong = [why for name, point in points if (why := run_virtual(leftovers_after(name, point, late=late)))]
        when = "at once, the last request still under way" if late else "later"
        yield Row(f"crash points, recovery {when}", len(points), "0 leftovers", f"{len(wrong)} leftovers", wrong)


def nested(every: int) -> Iterator[Row]:
    count, wrong, turn = 0, list[str](), 0
    for name in FAULTS:
        for point in range(points_of(name)):
            for second in range(1000):
                turn += 1
                if turn % every:
                    continue
                why = run_virtual(leftovers_after_two_deaths(name, point, second))
                if why is None:
                    break
                count += 1
                wrong += [why] if why else []
    yield Row("second death inside the recovery", count, ">= 3000, 0 leftovers", f"{len(wrong)} leftovers", wrong)


def api_faults(every: int) -> Iterator[Row]:
    outcomes = [failing.schedule(*each) for each in islice(failing.schedules(), 0, None, every)]
    wrong = [outcome.wrong for outcome in outcomes if outcome.wrong]
    helped = sum(outcome.by_recovery for outcome in outcomes)
    said = f"{len(wrong)} wrong; {helped} with a recovery after the run"
    yield Row(
        "API faults, one schedule per call and kind", len(outcomes), ">= 1000, 0 leftovers, 0 doubled", said, wrong
    )


def foreign(every: int) -> Iterator[Row]:
    count, wrong = max(20, SEQUENCES // every), list[str]()
    try:
        sequences(count)
    except AssertionError as error:
        wrong = [str(error)]
    yield Row("foreign actors, sequences", count, ">= 5000, 0 overwritten", f"{len(wrong)} overwritten or left", wrong)


def stops(every: int) -> Iterator[Row]:
    ended = [(each, stopping.stopped(*each)) for each in islice(stopping.stops(), 0, None, every)]
    wrong = [stop.wrong for _, stop in ended if stop.wrong]
    first = max((stop.first_s for _, stop in ended if stop.first_s is not None), default=0.0)
    last = [(stop.last_s, each) for each, stop in ended if stop.last_s is not None]
    requests = max((took for took, each in last if "Exec" not in each[0]), default=0.0)
    commands = max((took for took, each in last if "Exec" in each[0]), default=0.0)
    said = f"first write <= {first:.2f} s, last <= {requests:.2f} s (repeated command <= {commands:.2f} s)"
    yield Row("stops in each phase of each fault", len(ended), "undo writes within 5 s", said, wrong)
    took = [
        t for each in islice(stopping.latencies(), 0, None, every) if (t := stopping.abort_latency_s(*each)) is not None
    ]
    said = f"median {statistics.median(took):.2f} s, worst {max(took):.2f} s" if took else "none"
    yield Row("abort: ceiling crossed to undo sent", len(took), "median <= 1 s, worst <= 3 s", said)


def real(every: int) -> Iterator[Row]:
    """Real processes and SIGKILL on a sandbox."""
    yield from asyncio.run(_real(max(1, REAL_POINTS // every), max(1, KILLS // every)))


async def _real(points: int, kills: int) -> list[Row]:
    async with scene() as here:
        rows = [await killed_at_points(here, name, points) for name in faults("")]
        rows.append(await watched_over(here, kills))
    return rows


async def killed_at_points(here: Scene, name: str, count: int) -> Row:
    """SIGKILL at points spread over a run, then a recovery."""
    assert await here.ended(here.job(name)) == 0, here.said[-5:]
    total = next(int(said["points"]) for said in reversed(here.said) if "points" in said)
    await here.settled()
    wrong: list[str] = []
    for number in range(count):
        point = (2 * number + 1) * total // (2 * count)
        code = await here.ended(here.job(name, dies_at=point))
        report = await here.recovered()
        await here.settled()
        if not report.is_clean or report.alive or not await here.is_as_before(10.0):
            wrong.append(f"{name} at {point} of {total} (exit {code}): {report}")
    return Row(f"SIGKILL on the sandbox: {name}", count, ">= 30 points, 0 leftovers", f"{len(wrong)} leftovers", wrong)


async def watched_over(here: Scene, count: int) -> Row:
    """SIGKILL while the fault is held; nobody recovers but the watchdog."""
    names = ("drainNode", "badCanary", "failReadiness", "failReadinessByExec")
    took: list[float] = []
    wrong: list[str] = []
    for number in range(count):
        name = names[number % len(names)]
        here.kill(await here.held(here.job(name, hold_s=30.0, watchdog=True)))
        began = time.monotonic()
        await here.hear("ended")
        if await here.is_as_before(60.0):
            took.append(time.monotonic() - began)
        else:
            wrong.append(f"{name}: not put back within 60 s")
        await here.settled()
    said_ = f"median {statistics.median(took):.1f} s, worst {max(took):.1f} s" if took else "never"
    return Row("watchdog: SIGKILL in the hold", count, "30 times, worst <= 45 s", said_, wrong)


SECTIONS: dict[str, Callable[[int], Iterator[Row]]] = {
    "crashes": crashes,
    "nested": nested,
    "faults": api_faults,
    "foreign": foreign,
    "stops": stops,
    "real": real,
}


def main() -> int:
    """Print the table; 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every n-th of each enumeration")
    parser.add_argument("--only", default=",".join(SECTIONS), help="which sections, separated by commas")
    asked = parser.parse_args()
    table = Table("figure", "count", "must reach", "reached", title="safety")
    rows: list[Row] = []
    for name in asked.only.split(","):
        began = time.monotonic()
        for row in SECTIONS[name](asked.every):
            rows.append(row)
            table.add_row(row.figure, str(row.count), row.must, row.reached, style="red" if row.wrong else "")
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    Console(width=140).print(table)
    wrong = [why for row in rows for why in row.wrong]
    for why in wrong[:50]:
        print(why, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
