"""A process that runs faults on a real API server and is killed at a chosen moment by a real SIGKILL. A front for tests; asserts nothing.

`python -m tests.safety.victim` reads an order, a line of JSON, forks a child that carries it out, and writes a line when it ended: forking
spares the second that importing takes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import LiveCluster, connect
from chaoskit.experiments.bad_canary import BadCanary, CanaryPatch
from chaoskit.experiments.drain_node import DrainNode
from chaoskit.experiments.fail_liveness import FailLiveness
from chaoskit.experiments.fail_readiness import FailReadiness
from chaoskit.experiments.kill_pod import KillPod
from chaoskit.experiments.switches import ExecSwitch
from chaoskit.model.experiment import Experiment, Guards, Phases
from chaoskit.model.seams import Fault
from chaoskit.model.target import Target
from chaoskit.runner.claim import claiming
from chaoskit.runner.folder import open_journal
from chaoskit.runner.plan import plan
from chaoskit.runner.run import Run
from chaoskit.runner.watchdog import Order, watched
from chaoskit.slos import parse_slo

SICK = "/tmp/chaoskit-sick"


def faults(namespace: str) -> dict[str, tuple[Fault, Target]]:
    """Every fault, on the sample application in a namespace."""
    checkout = Target(namespace=namespace, deployment="checkout")
    by_exec = ExecSwitch(set=("touch", SICK), clear=("rm", "-f", SICK), check=("test", "-e", SICK))
    return {
        "killPod": (KillPod(), checkout),
        "drainNode": (
            DrainNode(force=True, delete_empty_dir_data=True),
            Target(namespace=namespace, node_of="checkout"),
        ),
        "badCanary": (BadCanary(patch=CanaryPatch(env={"BROKEN": "requests"})), checkout),
        "failReadiness": (FailReadiness(), checkout),
        "failLiveness": (FailLiveness(), checkout),
        "failReadinessByExec": (FailReadiness(exec=by_exec), checkout),
    }


class Deadly:
    """A live cluster and a journal that pass points, at one of which the process kills itself."""

    def __init__(self, live: LiveCluster, dies_at: int | None) -> None:
        self._live = live
        self._dies_at = dies_at
        self.points = 0

    def pass_point(self) -> None:
        if self.points == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.points += 1

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._live, name)
        if name not in ("perform", "keep", "drop"):
            return found

        async def passing(*arguments: Any, **named: Any) -> Any:
            self.pass_point()
            # Once sent and not waited for: the request is on its way when the process dies.
            sending = asyncio.ensure_future(found(*arguments, **named))
            await asyncio.sleep(0.002)
            self.pass_point()
            answer = await sending
            self.pass_point()
            return answer

        return passing


@dataclass(frozen=True)
class Job:
    """What a child does. `dies_at` None: it lives, unless somebody kills it. `hold_s`: how long the fault is held."""

    kubeconfig: str
    context: str
    namespace: str
    fault: str
    run: str
    folder: str
    dies_at: int | None = None
    hold_s: float = 0.3
    watchdog: bool = False


async def lived(job: Job) -> int:
    """The whole run; how many points it has."""
    fault, target = faults(job.namespace)[job.fault]
    access = await asyncio.to_thread(read_access, job.context, Path(job.kubeconfig))
    async with connect(access) as live, AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(dir=job.folder))
        cluster: Any = Deadly(live, job.dies_at)
        experiment = Experiment(
            name="victim",
            target=target,
            fault=fault,
            slos=(parse_slo("replicasRestored"),),
            guards=Guards(min_ready=0),
            phases=Phases(baseline="100ms", hold=f"{job.hold_s}s", sustain="100ms", settle="200ms"),
        )
        planned = await plan(experiment, cluster, run=job.run, seed=1)
        claim = await stack.enter_async_context(claiming(cluster, job.run))
        await claim.take_targets(planned)
        if job.watchdog:
            order = Order(job.context, job.run, job.namespace, job.kubeconfig)
            await stack.enter_async_context(watched(order, folder, claim))
        journal = await stack.enter_async_context(open_journal(folder))
        journal.listeners.append(lambda event: cluster.pass_point() if event.kind == "stage.intended" else None)
        run = Run(experiment, planned, cluster, journal, claim=claim, on_phase=_say_phase)
        journal.listeners.append(run.hear)
        await journal.commit("run.began", run=job.run)
        async with run:
            await run.hold(job.hold_s)
    if run.aborted:
        print(json.dumps({"aborted": run.aborted}), flush=True)
    return int(cluster.points)


def _say_phase(name: str) -> None:
    print(json.dumps({"phase": name, "pid": os.getpid()}), flush=True)


def _carry_out(job: Job) -> None:
    try:
        print(json.dumps({"points": asyncio.run(lived(job))}), flush=True)
    except Exception as error:  # noqa: BLE001 - the border of a child: whoever ordered it is told
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Carry out one order after the other until there are no more."""
    import kubernetes.config  # noqa: F401 - once, before the forks

    for line in sys.stdin:
        job = Job(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            _carry_out(job)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
