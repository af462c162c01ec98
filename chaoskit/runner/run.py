"""A live run: six phases, one task tree, and the undo on every way out. Knows no fault by name, judges nothing, handles no signal.

async with Run(experiment, plan, cluster, journal, generator) as run:    # warm-up, baseline, inject
    await run.hold(15.0)
# revert and settle have happened, however the block was left
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from chaoskit.model.errors import ChaosError, CouldNotRun
from chaoskit.model.event import Event, Journal
from chaoskit.model.experiment import Experiment
from chaoskit.model.history import History
from chaoskit.model.plan import Plan
from chaoskit.model.requests import Requests
from chaoskit.model.resource import Json
from chaoskit.model.seams import SLO, Cluster, Gap, Listed, Seen, Sight
from chaoskit.model.step import Gate, Outcome, Stage, describe_condition
from chaoskit.model.verdict import Finding, Grade, Restored, Window
from chaoskit.probes import probes_for
from chaoskit.runner.claim import Claim
from chaoskit.runner.execute import perform
from chaoskit.runner.flight import Flights
from chaoskit.runner.guard import check_guards
from chaoskit.runner.phases import is_warm, unsettled
from chaoskit.runner.plan import plan_round, plan_to_json
from chaoskit.runner.settled import settled
from chaoskit.runner.undo import CLOSED, open_steps, put_back
from chaoskit.slos.judging import judged

V = TypeVar("V")

LOOK_S = 0.1
"""How often a phase asks whether it has ended, in seconds."""

SETTLE_LOOK_S = 0.25
"""The same for settling, which judges all promises each time, in seconds."""

GUARD_S = 0.5
"""How often the guards are evaluated, in seconds."""

WITNESS_S = 0.5
"""How often it is looked whether a fault that has to last is still in force, in seconds."""

FEEDS_WITHIN_S = 10.0
"""How long the probes may take to hear their feeds for the first time, in seconds."""

ALWAYS_WATCHED = frozenset({"pods", "endpoints", "workloads"})
"""Feeds watched even when no SLO needs them: the report shows them."""


class Health(Protocol):
    """What the traffic tells of itself: counts since its start, lateness of the last second in milliseconds."""

    @property
    def planned(self) -> int: ...
    @property
    def sent(self) -> int: ...
    @property
    def completed(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def late_p50_ms(self) -> float: ...
    @property
    def late_p99_ms(self) -> float: ...
    @property
    def late_max_ms(self) -> float: ...
    @property
    def error(self) -> str: ...


class Generator(Protocol):
    """The traffic, as far as a run needs it. `facts` is recorded beside its health."""

    @property
    def health(self) -> Health: ...

    @property
    def facts(self) -> Mapping[str, Json]: ...

    async def start(self, t0_ns: int | None = None) -> None: ...

    def new_requests(self) -> Requests: ...

    async def stop(self) -> object: ...


class Aborted(Exception):
    """The run was told to stop; carried inside the runner only."""


class Run:
    """One live run. `history` is the tail of the journal; `aborted` says why it was stopped, "" if it was not."""

    def __init__(
        self,
        experiment: Experiment,
        plan: Plan,
        cluster: Cluster,
        journal: Journal,
        generator: Generator | None = None,
        *,
        on_phase: Callable[[str], None] = lambda name: None,
        claim: Claim | None = None,
    ) -> None:
        self.experiment = experiment
        self.plan = plan
        self.history = History()
        self.restored: Restored = "yes"
        self._cluster = cluster
        self._journal = journal
        self._generator = generator
        self._on_phase = on_phase
        self._claim = claim
        self._flights = Flights()
        self._watching: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._why = ""
        self._round = 0
        self._round_plan = plan
        self._stages_begun = 0
        self._loop = asyncio.get_running_loop()
        if claim is not None:
            claim.on_lost = self._abort

    # -- for the front -------------------------------------------------------------------------------------------------------

    def abort(self, reason: str) -> None:
        """Stop what is being done and put back. Thread-safe; a second call changes nothing."""
        self._loop.call_soon_threadsafe(self._abort, reason)

    @property
    def aborted(self) -> str:
        """Why the run was stopped early; "" while it was not."""
        return self._why

    def hear(self, event: Event) -> None:
        """Take an event of the journal into the history."""
        self.history.add(event)

    async def hold(self, seconds: float | None) -> None:
        """Keep the fault on. None: until cancelled or aborted. Returns at once when the run was stopped before."""
        if self._why:
            return
        self._phase("hold")
        with contextlib.suppress(Aborted):
            await self._interruptible(self._held(seconds))

    async def again(self) -> None:
        """The further rounds of `repeat`: put back and settle, then inject on targets picked anew and hold. Does nothing for a single round."""
        while self._round + 1 < self.experiment.repeat and not self._why:
            try:
                await self._interruptible(self._next_round())
            except Aborted:
                return
            except Exception as error:  # noqa: BLE001 - a phase boundary, as at the first injection
                self._why = self._why or _said(error)
                return
            await self.hold(self.experiment.phases.hold)

    async def __aenter__(self) -> Self:
        control = self.experiment.control
        self._journal.note(
            "planned",
            **plan_to_json(self.plan),
            traffic=self._traffic_plan(),
            control=None if control is None else {"service": control.service},
            repeat=self.experiment.repeat,
        )
        try:
            await self._interruptible(self._until_injected())
        except Aborted:
            pass
        except Exception as error:  # noqa: BLE001 - a phase boundary: a fault of anybody's may raise anything, and the undo must follow
            self._why = self._why or _said(error)
        except BaseException:
            await settled(self._leave())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._why:
            self._why = f"{kind.__name__}: {error}" if str(error) else kind.__name__
        await settled(self._leave())

    # -- the phases ----------------------------------------------------------------------------------------------------------

    async def _until_injected(self) -> None:
        if await self._warm_up() and await self._baseline():
            await self._inject()

    async def _warm_up(self) -> bool:
        """Wait until feeds are heard, the rate is held and latency is stable; False when the latest end came first."""
        self._phase("warm-up")
        self._watch_feeds()
        if self._generator is not None:
            await self._generator.start()
            model = "closed" if self._rate is None else "open"
            self._journal.note("traffic.began", model=model, rate=self._rate, **self._generator.facts)
        try:
            async with asyncio.timeout(self.experiment.phases.warm_up):
                await self._until(lambda: self._cold() is None)
        except TimeoutError:
            self._why = f"warm-up did not end within {self.experiment.phases.warm_up:g} s: {self._cold()}"
        return not self._why

    def _cold(self) -> str | None:
        """What the warm-up still waits for, or None."""
        deaf = sorted(self._feeds - {str(event.data["feed"]) for event in self.history.of("feed.opened")})
        if deaf:
            why = next((f": {gap.because}" for gap in reversed(self.history.deaf) if gap.feed in deaf), "")
            return f"nothing heard of {', '.join(deaf)}{why}"
        if self._generator is not None and not is_warm(self.history.requests, self._rate, self._now_ns()):
            return "the planned rate is not held, or latency is not stable"
        return None

    async def _baseline(self) -> bool:
        """Measure the steady state; False when it is breached, and nothing must be injected."""
        self._phase("baseline")
        begin = self._now_ns()
        await self._sleep(self.experiment.phases.baseline)
        self._take_requests()
        window = Window("baseline", 0, begin, self._now_ns())
        breached = [
            finding
            for slo in self.plan.promises
            if slo.steady
            for finding in [judged(slo, self.history, window)]
            if finding.grade is not Grade.PASS
        ]
        for finding in breached:
            self._why = self._why or f"baseline: {finding.slo}: {finding.because}"
        return not breached

    async def _next_round(self) -> None:
        """From the end of one hold to the begin of the next. A system that has not settled is not hit again."""
        self._phase("revert")
        await settled(self._revert())
        if self.restored != "yes":
            raise CouldNotRun(f"round {self._round + 1} could not be put back")
        self._phase("settle")
        try:
            async with asyncio.timeout(self.plan.settle_s):
                await self._until(self._settled, SETTLE_LOOK_S)
        except TimeoutError:
            raise CouldNotRun(f"round {self._round + 1} did not settle within {self.plan.settle_s:g} s") from None
        self._round_plan = await plan_round(self.plan, self.experiment, self._cluster, self._round + 1)
        self._round += 1
        await self._inject()

    async def _inject(self) -> None:
        self._phase("inject")
        plan = self._round_plan
        stages = self.experiment.fault.stages(self._cluster, plan.aim)
        begun = list[Stage]()
        try:
            stage = await anext(stages)
            while True:
                begun.append(stage)
                guard = partial(check_guards, self._cluster, self.experiment.guards, plan.subject, begun, plan.grounds)
                await guard()
                outcomes: tuple[Outcome, ...] = await perform(
                    stage,
                    self._stages_begun,
                    plan,
                    self._cluster,
                    self._journal,
                    self._claim,
                    self._flights,
                    self._round,
                    guard,
                )
                if stage.gate is not None and not await self._passes(stage.gate):
                    return
                self._stages_begun += 1
                stage = await stages.asend(outcomes)
        except StopAsyncIteration:
            return
        finally:
            await stages.aclose()

    async def _passes(self, gate: Gate) -> bool:
        begin = self._now_ns()
        give_up = self._loop.time() + gate.within_s
        while True:
            self._take_requests()
            finding = judged(gate.slo, self.history, Window("gate", 0, begin, self._now_ns()))
            if finding.grade is not Grade.INCONCLUSIVE or self._loop.time() >= give_up:
                self._journal.note("gate", slo=finding.slo, grade=finding.grade.name, because=finding.because)
                return finding.grade is Grade.PASS
            await asyncio.sleep(LOOK_S)

    async def _leave(self) -> None:
        """Revert, then settle unless aborted, then end. Runs to its end whatever happens around it."""
        try:
            self._phase("revert")
            await self._revert()
            if not self._why and self.history.of("stage.intended"):
                self._phase("settle")
                with contextlib.suppress(TimeoutError, Aborted):
                    async with asyncio.timeout(self.plan.settle_s):
                        await self._interruptible(self._until(self._settled, SETTLE_LOOK_S))
        finally:
            self._phase("ended")
            await self._stop_traffic()
            await self._stop_watching()
            await self._journal.commit("run.ended", restored=self.restored, because=self._why)

    async def _revert(self) -> None:
        steps = open_steps(self.history.events)
        ended = await put_back(steps, self.plan.aim.run, self._cluster, self._journal, self._flights)
        if any(how not in CLOSED for how in ended.values()):
            self.restored = "no"
        elif self._claim is not None and self._round + 1 >= self.experiment.repeat:
            await self._claim.close()

    def _settled(self) -> bool:
        self._take_requests()
        sustain = self.experiment.phases.sustain
        return unsettled(self.history, self.plan.promises, sustain, self._now_ns(), self._round) is None

    async def _held(self, seconds: float | None) -> None:
        """Let the time pass, and watch that the fault stays in force."""
        watching = asyncio.ensure_future(self._watch_witnesses())
        try:
            await self._sleep(seconds)
        finally:
            watching.cancel()
            await _ended(watching)

    async def _watch_witnesses(self) -> None:
        """Note when what was seen of a step that has to last is seen no more, and when it is again. Somebody else may undo it before we do."""
        seen = {event.data["id"] for event in self.history.of("step.seen")}
        lasting = {id_: step for id_, step in open_steps(self.history.events) if step.undo is not None and id_ in seen}
        lapsed: set[str] = set()
        while lasting:
            await asyncio.sleep(WITNESS_S)
            for id_, step in lasting.items():
                with contextlib.suppress(ChaosError):
                    holds = await self._cluster.holds(step.until.condition)
                    if holds is (id_ in lapsed):
                        because = (
                            f"{'seen again' if holds else 'no longer so'}: {describe_condition(step.until.condition)}"
                        )
                        self._journal.note("step.lapsed", id=id_, back=holds, because=because)
                        (lapsed.discard if holds else lapsed.add)(id_)

    # -- guards --------------------------------------------------------------------------------------------------------------

    async def _guard(self) -> None:
        """Abort when a guard's objective is breached, or could not be judged for longer than its window: loss of signal is an abort."""
        deaf_since: dict[int, float] = {}
        while True:
            await asyncio.sleep(GUARD_S)
            self._take_requests()
            if self._touched_ns() is None:
                continue
            for number, slo in enumerate(self.experiment.aborts):
                finding = self._guarded(slo)
                if finding is None or finding.grade is Grade.PASS:
                    deaf_since.pop(number, None)
                    continue
                since = deaf_since.setdefault(number, self._loop.time())
                if finding.grade is Grade.FAIL or self._loop.time() - since > _sliding_s(slo):
                    self._journal.note("guard", slo=finding.slo, grade=finding.grade.name, because=finding.because)
                    self._abort(f"guard {finding.slo}: {finding.because}")
                    return

    def _touched_ns(self) -> int | None:
        """When the first mutation may have left: an operation that blocks may have its effect all the same."""
        return next((event.t_ns for event in self.history.of("stage.intended")), None)

    def _guarded(self, slo: SLO) -> Finding | None:
        now, injected = self._now_ns(), self._touched_ns()
        assert injected is not None
        if getattr(slo, "confidence", None) is not None and _stated_s(slo) is None:
            # Sure at every look, however often it is looked at: it may count from the first mutation on.
            return judged(slo, self.history, Window("guard", 0, injected, now)) if now > injected else None
        width = round(_sliding_s(slo) * 1e9)
        if now - injected < width:
            return None
        return judged(slo, self.history, Window("guard", 0, now - width, now))

    # -- feeds and traffic ---------------------------------------------------------------------------------------------------

    @property
    def _feeds(self) -> frozenset[str]:
        needed = {need for slo in self.plan.promises for need in slo.needs}
        return ALWAYS_WATCHED | (needed & {"nodes", "events"})

    @property
    def _rate(self) -> float | None:
        traffic = self.experiment.traffic
        return None if traffic is None or traffic.locustfile is not None else traffic.rate

    def _traffic_plan(self) -> Json:
        traffic = self.experiment.traffic
        if traffic is None:
            return None
        model = "closed" if traffic.locustfile is not None else "open"
        return {
            "rate": self._rate,
            "timeout": traffic.timeout,
            "arrivals": traffic.arrivals,
            "model": model,
            "service": traffic.service,
            "path": traffic.path,
            "requests": [sent.name or f"{sent.method} {sent.path}" for sent in traffic.kinds],
        }

    def _watch_feeds(self) -> None:
        for probe in probes_for(self._feeds):
            self._watching.append(
                asyncio.create_task(self._watch(probe.observe(self._cluster, self.plan.subject), probe.feeds))
            )
        self._watching.append(asyncio.create_task(self._health()))

    async def _watch(self, observations: Any, feeds: frozenset[str]) -> None:
        try:
            async for seen in observations:
                self._record(seen)
        except ChaosError as error:
            for feed in feeds:
                self._journal.note("feed.gap", feed=feed, start=self._now_ns(), end=1 << 62, because=str(error))

    def _record(self, sight: Sight) -> None:
        match sight:
            case Seen():
                self._journal.note("seen", at_ns=sight.t_ns, feed=sight.feed, type=sight.type, obj=sight.obj)
            case Gap(start, end, feed, because):
                self._journal.note("feed.gap", feed=feed, start=start, end=end, because=because)
            case Listed():
                self._journal.note("feed.opened", feed=sight.feed)

    async def _health(self) -> None:
        while self._generator is not None:
            await asyncio.sleep(1.0)
            self._journal.note("traffic.health", **_told(self._generator.health))

    def _take_requests(self) -> None:
        if self._generator is None:
            return
        self.history.requests.add_in_order(self._generator.new_requests())

    async def _stop_traffic(self) -> None:
        if self._generator is None:
            return
        await self._generator.stop()
        self._journal.note("traffic.ended", **_told(self._generator.health), **self._generator.facts)

    async def _stop_watching(self) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    # -- waiting -------------------------------------------------------------------------------------------------------------

    def _abort(self, reason: str) -> None:
        self._why = self._why or reason
        self._stop.set()

    def _phase(self, name: str) -> None:
        try:
            self._on_phase(name)
            told: dict[str, Json] = {}
        except Exception as error:  # noqa: BLE001 - a front: whoever looks on must not be able to stop the undo
            told = {"unheard": _said(error)}
        self._journal.note("phase", name=name, round=self._round, **told)

    def _now_ns(self) -> int:
        return round(self._loop.time() * 1e9)

    async def _until(self, ended: Callable[[], bool], look_s: float = LOOK_S) -> None:
        while True:
            self._take_requests()
            if ended():
                return
            await asyncio.sleep(look_s)

    async def _sleep(self, seconds: float | None) -> None:
        await (asyncio.Event().wait() if seconds is None else asyncio.sleep(seconds))

    async def _interruptible(self, work: Coroutine[Any, Any, V]) -> V:
        """The work's result; on an abort the work is cancelled, its answers are awaited, and Aborted is raised."""
        if self._stop.is_set():
            work.close()
            raise Aborted(self._why)
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        guard = asyncio.ensure_future(self._guard())
        try:
            await asyncio.wait({task, stop, guard}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                return task.result()
            if guard.done() and not guard.cancelled() and guard.exception() is not None:
                # Without its guards a run is not safe to go on.
                self._abort(f"the guards failed: {guard.exception()}")
            raise Aborted(self._why)
        finally:
            for each in (task, stop, guard):
                each.cancel()
            await _ended(task, stop, guard)


def _told(health: Health) -> dict[str, Json]:
    """A health as the journal keeps it."""
    return {
        "planned": health.planned,
        "sent": health.sent,
        "completed": health.completed,
        "dropped": health.dropped,
        "inFlight": health.in_flight,
        "latenessP50Ms": health.late_p50_ms,
        "latenessP99Ms": health.late_p99_ms,
        "latenessMaxMs": health.late_max_ms,
        "error": health.error,
    }


async def _ended(*tasks: Awaitable[Any]) -> None:
    """Wait for tasks that were cancelled; what they raise then was the cancellation, or is in the journal."""
    await asyncio.gather(*tasks, return_exceptions=True)


def _sliding_s(slo: SLO) -> float:
    return _stated_s(slo) or 5.0


def _stated_s(slo: SLO) -> float | None:
    """The sliding stretch that a guard names, in seconds."""
    stated: float | None = getattr(getattr(slo, "objective", None), "sliding_s", None)
    return stated


def _said(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]  # of several steps side by side the first that failed says why
    return str(error) if isinstance(error, ChaosError) else f"{type(error).__name__}: {error}"
