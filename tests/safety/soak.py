"""Many short runs in one process on the fake cluster, on real time: what memory, threads and file descriptors do meanwhile. Prints the slopes.

By hand: `python -m tests.safety.soak 300` (about five minutes). Exit 1 when something grows: more than 20 KiB, 0.01 threads or descriptors a run.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaoskit.runner.folder import create_folder
from chaoskit.runner.load import load_text
from chaoskit.runner.plan import new_run_id, plan
from chaoskit.runner.session import Scene, conduct
from tests.fake_cluster import shop

CHECKOUT = "{namespace: shop, deployment: checkout}"
FAULTS: Sequence[tuple[str, str]] = (
    ("{killPod: {}}", CHECKOUT),
    ("{failReadiness: {}}", CHECKOUT),
    ("{badCanary: {patch: {env: {BROKEN: requests}}}}", CHECKOUT),
    ("{drainNode: {}}", "{namespace: shop, nodeOf: checkout}"),
)
LIMITS = {"memory KiB": 20.0, "threads": 0.01, "descriptors": 0.01, "tasks": 0.01}
WARMING = 20
"""Runs after which caches and pools are as large as they get."""


@dataclass(frozen=True)
class Reading:
    """What the process holds after a run."""

    run: int
    values: dict[str, float]


async def one(number: int, folder: Path) -> None:
    """A whole run, from its plan to its verdict, as short as phases allow."""
    fault, target = FAULTS[number % len(FAULTS)]
    text = (
        "apiVersion: chaoskit.dev/v1alpha1\nkind: Experiment\nmetadata: {name: soak}\n"
        f"spec:\n  target: {target}\n  fault: {fault}\n  slos: [replicasRestored]\n"
        "  phases: {warmUp: 2s, baseline: 50ms, hold: 50ms, sustain: 50ms, settle: 2s}\n"
    )
    experiment = load_text(text, "soak.yaml", folder)
    cluster = shop()
    cluster.world.ready_after_s = cluster.world.terminating_s = 0.05
    found = await plan(experiment, cluster, run=new_run_id(), seed=number)
    where = create_folder(folder / str(number))
    await conduct(experiment, text, found, cluster, where, Scene("fake", "fake"))


def reading(number: int) -> Reading:
    gc.collect()
    statm = Path("/proc/self/statm").read_text().split()
    resident = int(statm[1]) * os.sysconf("SC_PAGE_SIZE") / 1024
    tasks = len([thread for thread in threading.enumerate() if thread.is_alive()])
    opened = len(list(Path("/proc/self/fd").iterdir()))
    return Reading(number, {"memory KiB": resident, "threads": float(tasks), "descriptors": float(opened)})


def slope(readings: Sequence[Reading], name: str) -> float:
    """Growth a run, by least squares."""
    n = len(readings)
    x, y = [r.run for r in readings], [r.values[name] for r in readings]
    mean_x, mean_y = sum(x) / n, sum(y) / n
    spread = sum((each - mean_x) ** 2 for each in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread


async def soaked(count: int) -> list[Reading]:
    """A reading after each run."""
    readings = []
    with tempfile.TemporaryDirectory(prefix="chaoskit-soak-") as folder:
        for number in range(count):
            await one(number, Path(folder))
            readings.append(reading(number))
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            readings[-1].values["tasks"] = float(len(left))
    return readings


def main(count: int) -> int:
    readings = asyncio.run(soaked(count))[WARMING:]
    grows = False
    for name, limit in LIMITS.items():
        grown = slope(readings, name)
        grows = grows or grown > limit
        first, last = readings[0].values[name], readings[-1].values[name]
        print(f"{name:<12} {first:10.1f} -> {last:10.1f}   slope {grown:+.4f} a run (limit {limit:g})")
    print(f"{count} runs in one process: {'GROWS' if grows else 'flat'}")
    return 1 if grows else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
