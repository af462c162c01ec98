"""A dead man's switch: a detached process that puts back when the runner is gone or stands still. Injects nothing and renews nothing.

It holds one end of a pipe. A byte a second says that the runner moves, one farewell byte that the run is over; the end of the pipe without
it says that the runner is dead. It undoes by the very code of `chaoskit recover`. It dies with its machine: what a power cut leaves is put
back by `chaoskit recover`, from anywhere.

    python -m chaoskit.runner.watchdog '{"context": ..., "run": ...}'
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import connect
from chaoskit.model.errors import ChaosError, CouldNotRun
from chaoskit.model.plan import Plan
from chaoskit.runner.claim import Claim
from chaoskit.runner.place import STATE_NAMESPACE
from chaoskit.runner.recover import Report, Scope, recover_all

BEAT_S = 1.0
"""How often the runner shows that it moves, in seconds."""
STILL_S = 20.0
"""A runner that has not moved for so long is taken for stuck, in seconds."""
READY_WITHIN_S = 20.0
"""How long the watchdog may take to say that it is there, in seconds."""
TRY_FOR_S = 600.0
"""How long it tries to put back, in seconds."""
AGAIN_S = 2.0

_BEAT, _FAREWELL, _READY = b".", b"q", b"ready"


@dataclass(frozen=True, slots=True)
class Order:
    """Whom to watch: the run, and where its traces are. `kubeconfig` "" is the user's usual one."""

    context: str
    run: str
    namespace: str
    kubeconfig: str = ""
    state_namespace: str = STATE_NAMESPACE


def leaves_state(plan: Plan) -> bool:
    """Whether a run of the plan leaves anything to put back."""
    return any(step.undo is not None for stage in plan.foreseen for step in stage.steps)


# -- the runner's side -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watched(order: Order, folder: Path, claim: Claim) -> AsyncIterator[int]:
    """A watchdog for the length of the block; the claim lets nothing be injected before it has answered. Yields its pid."""
    with (folder / "watchdog.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "chaoskit.runner.watchdog", json.dumps(asdict(order))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    claim.before_first.append(lambda: _answered(process, folder))
    beating = asyncio.create_task(_beating(process, claim.lose))
    try:
        yield process.pid
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await asyncio.shield(_dismissed(process))


async def _answered(process: asyncio.subprocess.Process, folder: Path) -> None:
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN_S):
            if (await process.stdout.readline()).strip() == _READY:
                return
    raise CouldNotRun(
        f"the watchdog did not answer, and without it nothing is injected; see {folder / 'watchdog.log'}, or go without: --no-watchdog"
    )


async def _beating(process: asyncio.subprocess.Process, lose: Callable[[str], None]) -> None:
    assert process.stdin is not None
    try:
        while process.returncode is None:
            process.stdin.write(_BEAT)
            await process.stdin.drain()
            await asyncio.sleep(BEAT_S)
    except (ConnectionError, RuntimeError):
        pass
    lose("the watchdog has ended")


async def _dismissed(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError, RuntimeError):
        process.stdin.write(_FAREWELL)
        await process.stdin.drain()
        process.stdin.close()
    try:
        async with asyncio.timeout(5.0):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


# -- the watchdog's side -----------------------------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """Watch until the farewell, then end; or put back, then end. The exit code is that of `chaoskit recover`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = Order(**json.loads(argv[1]))
    try:
        return asyncio.run(_on_watch(order))
    except ChaosError as error:
        _say(f"{error}")
        return 3


async def _on_watch(order: Order) -> int:
    kubeconfig = Path(order.kubeconfig) if order.kubeconfig else None
    async with connect(read_access(order.context, kubeconfig)) as cluster:
        scope = Scope(order.namespace, order.state_namespace, order.run)
        await scope.traces(cluster)
        os.write(sys.stdout.fileno(), _READY + b"\n")
        because = await asyncio.to_thread(_until_still, sys.stdin.fileno())
        if not because:
            return 0
        _say(f"run {order.run}: {because}; putting back")
        give_up = time.monotonic() + TRY_FOR_S
        while True:
            report = await recover_all(cluster, scope, force=True)
            _tell(report)
            if report.is_clean and not report.unseen:
                return 0
            if time.monotonic() >= give_up:
                return 4
            await asyncio.sleep(AGAIN_S)


def _until_still(pipe: int) -> str:
    """Wait for the end of the runner: why to put back, or "" after its farewell."""
    while True:
        if not select.select([pipe], [], [], STILL_S)[0]:
            return f"the runner has not moved for {STILL_S:g} s"
        said = os.read(pipe, 4096)
        if not said:
            return "the runner is dead"
        if _FAREWELL in said:
            return ""


def _tell(report: Report) -> None:
    for each in report.recovered:
        _say(f"step {each.leftover.id}: {each.how}: {each.because}")
    for line in (*report.unseen, *report.unfenced.values()):
        _say(line)


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError):
        os.write(2, f"{stamp} {text}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv))
