"""Starts the traffic processes, steers them, follows their log and ends them, whatever happens. Never imports gevent or Locust.

One process with a socket each: orders go down, health comes up, and its end means that the other side is gone. What the traffic did
travels through the request log on disk, so it outlives both.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from chaoskit.model.requests import Requests
from chaoskit.model.resource import Json
from chaoskit.traffic import plan as plans
from chaoskit.traffic.log import Tail
from chaoskit.traffic.plan import GeneratorError, TrafficPlan

__all__ = ["Crew", "Generator", "GeneratorError", "Health", "TrafficPlan", "crew", "generator"]

READY_WITHIN_S = 30.0
_END_WITHIN_S = 2.0
_SPARE_S = 3.0


@dataclass(frozen=True, slots=True)
class Health:
    """The generator's own state: counts since the start; lateness and stall of the last second (`t_ns`: when it was told).

    `planned` is what was due so far, `sent` were begun, `completed` have ended in whatever way, `dropped` found no free worker. A
    locustfile has no timetable: there `planned` is what was sent. Lateness is actual minus intended start. `stall_ms` is the longest
    time that the process could not do anything else. `error` says what went wrong with the generator itself, "" if nothing did.
    `addresses` are all that the host's name has had since the start.
    """

    t_ns: int = 0
    planned: int = 0
    sent: int = 0
    completed: int = 0
    dropped: int = 0
    in_flight: int = 0
    late_p50_ms: float = 0.0
    late_p99_ms: float = 0.0
    late_max_ms: float = 0.0
    stall_ms: float = 0.0
    error: str = ""
    addresses: tuple[str, ...] = ()

    @property
    def stale_s(self) -> float:
        """The age of this knowledge; a generator that works tells once a second."""
        return (time.monotonic_ns() - self.t_ns) / 1e9


@asynccontextmanager
async def crew(processes: int) -> AsyncIterator[Crew]:
    """Traffic processes that load Locust while their plan is not known yet. However the block is left, they end."""
    members: list[_Child] = []
    try:
        for _ in range(processes):
            members.append(await _spawn())  # noqa: PERF401  # those that were started have to end when the next cannot
        yield Crew(members)
    finally:
        await asyncio.gather(*(child.end() for child in members))


class Crew:
    """Processes for one traffic. Made by `crew`."""

    def __init__(self, members: Sequence[_Child]) -> None:
        self._members = members

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(child.pid for child in self._members)

    async def introduce(self, plan: TrafficPlan, folder: Path) -> Sequence[_Child]:
        """Tell them their plan. The members; they are nobody else's from now on."""
        members, self._members = self._members, ()
        if len(members) != plan.processes:
            raise GeneratorError(f"traffic of {plan.processes} processes cannot be made by a crew of {len(members)}")
        for process, child in enumerate(members):
            await child.introduce(plan, folder, process)
        return members


@asynccontextmanager
async def generator(plan: TrafficPlan, folder: Path, *, crew: Crew | None = None) -> AsyncIterator[Generator]:
    """Traffic as planned, ready to start: its processes run and their clients have passed the self-test. The log goes into the folder.

    The processes are those of the crew, or new ones. However the block is left, they end. Raises GeneratorError when the plan is not
    possible or the generator not trustworthy.
    """
    plans.check(plan)
    folder.mkdir(parents=True, exist_ok=True)
    async with _crew_or(crew, plan.processes) as ready:
        children = await ready.introduce(plan, folder)
        try:
            await _all_ready(children, folder)
            yield Generator(plan, folder, children)
        finally:
            await asyncio.gather(*(child.end() for child in children))


@asynccontextmanager
async def _crew_or(given: Crew | None, processes: int) -> AsyncIterator[Crew]:
    if given is not None:
        yield given
        return
    async with crew(processes) as new:
        yield new


class Generator:
    """Running traffic. Made by `generator`."""

    def __init__(self, plan: TrafficPlan, folder: Path, children: Sequence[_Child]) -> None:
        self._plan = plan
        self._children = children
        self._tail = Tail(folder)

    async def start(self, t0_ns: int | None = None) -> None:
        """Begin the timetable at `t0_ns` of the monotonic clock, or now."""
        at_ns = time.monotonic_ns() if t0_ns is None else t0_ns
        for child in self._children:
            await child.order("start", t0_ns=at_ns)

    async def stop(self) -> Health:
        """End the timetable, wait for what is in flight, up to the plan's timeout, and for the processes to end."""
        for child in self._children:
            await child.order("stop")
        try:
            async with asyncio.timeout(self._plan.timeout_s + _SPARE_S):
                for child in self._children:
                    await child.ended()
        except TimeoutError:
            for child in self._children:
                child.overdue()
        return self.health

    def new_requests(self) -> Requests:
        """The requests that ended since the last call."""
        return self._tail.new()

    @property
    def health(self) -> Health:
        """The latest health; of several processes the sum of the counts and the worst of the rest."""
        return _together([child.health for child in self._children])

    @property
    def alive(self) -> bool:
        """Whether every process still runs."""
        return all(child.alive for child in self._children)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(child.pid for child in self._children)

    @property
    def selftest(self) -> tuple[str, ...]:
        """What the self-test of each client found, in words."""
        return tuple(self._children[0].selftest)

    @property
    def facts(self) -> Mapping[str, Json]:
        """What is worth recording beside the health: what the self-test found, whom it could not test, where the traffic went."""
        addresses = list(self.health.addresses)
        return {"selftest": list(self.selftest), "untested": list(self.untested), "addresses": addresses}

    @property
    def untested(self) -> tuple[str, ...]:
        """The clients of a locustfile that are taken at their word."""
        return tuple(self._children[0].untested)


class _Child:
    """One traffic process and the line to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, line: tuple[Any, asyncio.StreamWriter], output: IO[bytes]
    ) -> None:
        self._process = process
        self._reader, self._writer = line
        self._early_output = output
        self._output: Path | None = None
        self._listening: asyncio.Task[None] | None = None
        self.health = Health()
        self.selftest: list[str] = []
        self.untested: list[str] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def order(self, do: str, **facts: Any) -> None:
        """Tell the process what to do; one that is gone cannot be told, and its health says so."""
        await self._write({"do": do, **facts})

    async def introduce(self, plan: TrafficPlan, folder: Path, process: int) -> None:
        """Say what its traffic is to be, and where the log and its own output go."""
        self._output = _output(folder, process)
        await self._write(
            {
                "plan": plans.to_json(plan),
                "folder": str(folder.resolve()),
                "output": str(self._output.resolve()),
                "process": process,
            }
        )

    async def hello(self) -> None:
        """Wait until the process is ready. Raises GeneratorError when it refuses or dies instead."""
        message = await self._read()
        if message is None:
            await self._process.wait()
            raise GeneratorError(f"the traffic process died before it was ready: {self._last_words()}")
        if message["is"] == "refused":
            raise GeneratorError(message["why"])
        self.selftest, self.untested = message["selftest"], message["untested"]
        self.health = Health(t_ns=time.monotonic_ns())
        self._listening = asyncio.create_task(self._listen())

    async def ended(self) -> None:
        if self._listening is not None:
            await asyncio.shield(self._listening)

    def overdue(self) -> None:
        """Note that it should have ended by now, if it has not."""
        if self.alive:
            self.health = dataclasses.replace(self.health, error="the traffic process did not end when it was told to")

    async def end(self) -> None:
        """SIGTERM, and SIGKILL if that is not enough; also when we are cancelled meanwhile."""
        try:
            self._signal(signal.SIGTERM)
            async with asyncio.timeout(_END_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            self._signal(signal.SIGKILL)
            self._writer.close()
            self._early_output.close()
            if self._listening is not None:
                self._listening.cancel()
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _listen(self) -> None:
        """Keep the latest health, until the process says goodbye or is gone without a word."""
        said_bye = False
        while (message := await self._read()) is not None:
            said_bye = message.pop("is") == "bye"
            before = self.health.error
            self.health = Health(**{**message, "addresses": tuple(message["addresses"])})
            if before and not self.health.error:
                self.health = dataclasses.replace(self.health, error=before)
        await self._process.wait()
        if not said_bye and not self.health.error:
            self.health = dataclasses.replace(
                self.health, error=f"the traffic process ended by itself: {self._last_words()}"
            )

    async def _read(self) -> dict[str, Any] | None:
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    async def _write(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            self._writer.write(json.dumps(message).encode() + b"\n")
            await self._writer.drain()

    def _last_words(self) -> str:
        """The end of what the process printed; a traceback's last line says most."""
        said = [line.strip() for line in self._printed().split("\n") if line.strip()]
        code = self._process.returncode
        how = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        return f"{how}, {said[-1]}" if said else how

    def _printed(self) -> str:
        if self._output is not None and self._output.exists() and (later := self._output.read_text(errors="replace")):
            return later
        self._early_output.seek(0)
        return self._early_output.read().decode(errors="replace")


async def _spawn() -> _Child:
    ours, theirs = socket.socketpair()
    output = tempfile.TemporaryFile()  # noqa: SIM115  # until the process is told where its output goes; nobody else can read it
    with theirs:
        line = await asyncio.open_connection(sock=ours)
        try:
            child = await _run(theirs.fileno(), output)
        except BaseException:
            line[1].close()
            output.close()
            raise
    return _Child(child, line, output)


async def _run(fd: int, output: IO[bytes]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        # -P: a file named locust.py in the current folder is not Locust
        *(sys.executable, "-P", "-m", "chaoskit.traffic.child", str(fd)),
        pass_fds=(fd,),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C is for the parent: the traffic goes on until the undo is done
    )


async def _all_ready(children: Sequence[_Child], folder: Path) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            for child in children:
                await child.hello()
    except TimeoutError:
        what = f"the traffic process was not ready within {READY_WITHIN_S:.0f} s; see {_output(folder)}"
        raise GeneratorError(what) from None


def _output(folder: Path, process: int = 0) -> Path:
    return folder / ("traffic.log" if process == 0 else f"traffic.{process}.log")


def _together(all_of: Sequence[Health]) -> Health:
    if len(all_of) == 1:
        return all_of[0]
    sums = ("planned", "sent", "completed", "dropped", "in_flight")
    worst = ("late_p50_ms", "late_p99_ms", "late_max_ms", "stall_ms")
    return Health(
        t_ns=min(health.t_ns for health in all_of),
        error="; ".join(health.error for health in all_of if health.error),
        addresses=tuple(dict.fromkeys(address for health in all_of for address in health.addresses)),
        **{name: sum(getattr(health, name) for health in all_of) for name in sums},
        **{name: max(getattr(health, name) for health in all_of) for name in worst},
    )
