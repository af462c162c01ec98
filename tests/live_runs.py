"""A whole run in virtual time: a journal in memory, traffic that is computed, a fake cluster. Arranges; asserts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaoskit.model.event import Event
from chaoskit.model.experiment import Experiment, Guards, Phases, Traffic
from chaoskit.model.history import History
from chaoskit.model.plan import Plan, Route
from chaoskit.model.requests import Request, Requests
from chaoskit.model.resource import Json
from chaoskit.model.seams import SLO, Fault
from chaoskit.model.target import Target
from chaoskit.model.verdict import Verdict
from chaoskit.runner.claim import claiming
from chaoskit.runner.folder import loop_ns
from chaoskit.runner.holder import Holder
from chaoskit.runner.judge import judge
from chaoskit.runner.plan import plan
from chaoskit.runner.run import Run
from chaoskit.slos import parse_slo
from tests.fake_cluster import FakeCluster

RUN = "r4nd0m"


class MemoryJournal:
    """The journal as a list. `on_commit` is called at each durable write and may raise there, as a death would."""

    def __init__(self, on_commit: Callable[[str], None] = lambda kind: None) -> None:
        self.events: list[Event] = []
        self.listeners: list[Callable[[Event], None]] = []
        self.on_commit = on_commit

    def note(self, kind: str, *, at_ns: int | None = None, **data: Any) -> Event:
        event = Event(len(self.events), loop_ns() if at_ns is None else at_ns, kind, data)
        self.events.append(event)
        for listen in self.listeners:
            listen(event)
        return event

    async def commit(self, kind: str, **data: Any) -> Event:
        self.on_commit(kind)
        return self.note(kind, **data)

    def kinds(self) -> Sequence[str]:
        return [event.kind for event in self.events]

    def of(self, kind: str) -> Sequence[Event]:
        return [event for event in self.events if event.kind == kind]


@dataclass(frozen=True)
class FakeHealth:
    planned: int = 0
    sent: int = 0
    completed: int = 0
    dropped: int = 0
    in_flight: int = 0
    late_p50_ms: float = 0.0
    late_p99_ms: float = 0.0
    late_max_ms: float = 0.0
    error: str = ""


@dataclass
class FakeTraffic:
    """Arrivals on virtual time. `status_at` says what a request sent at that second (of the loop) gets; `silent_from` ends them early."""

    rate: float = 100.0
    latency_s: float = 0.002
    status_at: Callable[[float], int] = lambda t_s: 200
    silent_from: float = float("inf")
    sent: int = 0
    start_s: float | None = None
    stopped: bool = False

    async def start(self, t0_ns: int | None = None) -> None:
        self.start_s = asyncio.get_running_loop().time()

    def new_requests(self) -> Requests:
        new = Requests()
        if self.start_s is None or self.stopped:
            return new
        now = min(asyncio.get_running_loop().time(), self.silent_from)
        while (intended := self.start_s + self.sent / self.rate) + self.latency_s <= now:
            new.append(self._request(intended))
            self.sent += 1
        return new

    def _request(self, at_s: float) -> Request:
        begin = round(at_s * 1e9)
        end = begin + round(self.latency_s * 1e9)
        return Request(self.sent, begin, begin, end, self.status_at(at_s), pod="p", policy="fresh")

    @property
    def health(self) -> FakeHealth:
        return FakeHealth(self.sent, self.sent, self.sent)

    @property
    def facts(self) -> dict[str, Json]:
        return {}

    async def stop(self) -> None:
        self.stopped = True


@dataclass
class Story:
    """One experiment on one fake cluster, and what came of it."""

    cluster: FakeCluster
    fault: Fault
    target: Target
    slos: Sequence[str] = ("availability >= 99%",)
    guards: Guards = field(default_factory=Guards)
    phases: Phases = field(default_factory=lambda: Phases(baseline="5s", hold="10s"))
    traffic: FakeTraffic | None = field(default_factory=FakeTraffic)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    history: History = field(default_factory=History)
    run: Run | None = None
    plan: Plan | None = None
    run_id: str = RUN

    def experiment(self) -> Experiment:
        parsed: tuple[SLO, ...] = tuple(parse_slo(text) for text in self.slos)
        aborts = tuple(parse_slo(text, strict=False) for text in self.guards.keep)
        traffic = None if self.traffic is None else Traffic(service="checkout")
        return Experiment(
            name="story",
            target=self.target,
            fault=self.fault,
            slos=parsed,
            aborts=aborts,
            traffic=traffic,
            guards=self.guards,
            phases=self.phases,
            repeat=self.repeat(),
        )

    def repeat(self) -> int:
        """How often the fault is injected."""
        return 1

    async def tell(self, meanwhile: Callable[[Run], Any] | None = None) -> Verdict:
        """Plan and run it to the end, then judge. `meanwhile` is given the run as soon as it is there."""
        await self.play(meanwhile)
        return self.verdict()

    async def play(self, meanwhile: Callable[[Run], Any] | None = None) -> None:
        experiment = self.experiment()
        route = None if self.traffic is None else Route("url", "http://checkout", "a story")
        self.plan = await plan(experiment, self.cluster, run=self.run_id, seed=1, route=route)
        loop = asyncio.get_running_loop()
        async with claiming(self.cluster, self.run_id, holder=Holder(self.run_id, "a story"), now_s=loop.time) as claim:
            await claim.take_targets(self.plan)
            run = self.run = Run(experiment, self.plan, self.cluster, self.journal, self.traffic, claim=claim)
            self.journal.listeners.append(run.hear)
            self.history = run.history
            self.journal.note("run.began", run=self.run_id)
            if meanwhile is not None:
                meanwhile(run)
            async with run:
                await run.hold(experiment.phases.hold)
                await run.again()

    def verdict(self) -> Verdict:
        assert self.plan is not None
        return judge(self.history, self.plan.promises)


def at(seconds: float, do: Callable[[], Any]) -> None:
    """Do something so many seconds from now."""
    asyncio.get_running_loop().call_later(seconds, do)
