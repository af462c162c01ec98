"""One experiment from its plan to its verdict, into one run folder. Joins the parts; decides nothing itself and prints nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from chaoskit.model.errors import ChaosError, ClusterError, CouldNotRun
from chaoskit.model.event import Journal
from chaoskit.model.experiment import Experiment
from chaoskit.model.history import History
from chaoskit.model.plan import Plan, Route
from chaoskit.model.resource import Json, Obj, Ref
from chaoskit.model.seams import Cluster, View
from chaoskit.model.verdict import Verdict, verdict_to_json
from chaoskit.runner.audit import NOBODY, Announce, Author, Chronicle, audit_record, chronicled
from chaoskit.runner.beside import Beside
from chaoskit.runner.claim import Claim, claiming
from chaoskit.runner.folder import CONTROL, EXPERIMENT, VERDICT, open_journal, write_private
from chaoskit.runner.judge import judge_folder
from chaoskit.runner.plan import changed_since, foresee
from chaoskit.runner.redact import scrub_file
from chaoskit.runner.run import Generator, Run
from chaoskit.runner.sending import tls_of, traffic_plan, tried
from chaoskit.traffic.route import candidates, choose
from chaoskit.traffic.supervisor import Crew, crew, generator


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a run takes place, for its record: server URL, context name, the sandbox's profile or "", clock offset and its error in seconds."""

    server: str
    context: str
    profile: str = ""
    clock: tuple[float, float] | None = None
    read_clock: Callable[[], Awaitable[tuple[float, float]]] | None = None
    """Measures the clock once more, at the end of a run."""


async def find_route(experiment: Experiment, view: View, *, to_control: bool = False) -> Route | None:
    """How the experiment's traffic reaches its Service, or its control's, from here. Raises CouldNotRun with the ways out when there is none."""
    traffic, control = experiment.traffic, experiment.control if to_control else None
    if traffic is None or (to_control and control is None):
        return None
    service: Obj | None = None
    nodes: tuple[Obj, ...] = ()
    name, url = (traffic.service, traffic.url) if control is None else (control.service, None)
    if url is None and name is not None:
        service = await view.get(Ref("Service", name, experiment.target.namespace or "default"))
        nodes = await _nodes(view)
    ways = candidates(service, nodes, "auto" if traffic.via == "url" and to_control else traffic.via, url, traffic.port)
    if traffic.tls is not None:
        ways = [replace(way, base_url=way.base_url.replace("http://", "https://", 1)) for way in ways]
    path, sent_headers, own = tried(traffic)
    return await choose(ways, path, traffic.timeout, headers=sent_headers, tls=tls_of(traffic), own=own)


async def _nodes(view: View) -> tuple[Obj, ...]:
    """Only a NodePort needs them, and credentials for one namespace do not reach them."""
    try:
        return tuple(await view.list("Node"))
    except ClusterError as error:
        if error.status != 403:
            raise
        return ()


async def check_unchanged(experiment: Experiment, plan: Plan, view: View) -> None:
    """Raises CouldNotRun when the fault would touch other objects now than the plan says."""
    difference = changed_since(plan, await foresee(experiment.fault, view, plan.aim))
    if difference is not None:
        raise CouldNotRun(f"the targets changed since the plan ({difference}); plan again")


async def conduct(
    experiment: Experiment,
    text: str,
    plan: Plan,
    cluster: Cluster,
    folder: Path,
    scene: Scene,
    *,
    crew: Crew | None = None,
    by: Author = NOBODY,
    announce: Announce | None = None,
    claim: Claim | None = None,
    watch: Callable[[Claim], AbstractAsyncContextManager[object]] | None = None,
    on_run: Callable[[Run], None] = lambda run: None,
    on_phase: Callable[[str], None] = lambda name: None,
) -> tuple[History, Verdict]:
    """Run the planned experiment and judge its folder. `on_run` gets the live run, to abort or to show it; `announce` tells Events.

    Whatever happens in it is in the journal; only what prevents the run from beginning is raised (CouldNotRun). `claim` is the run's
    own where it holds one already; `watch` sets a watchdog over it.
    """
    write_private(folder / EXPERIMENT, text)
    control = await find_route(experiment, cluster, to_control=True)
    clock = _SecondLook(scene, on_phase)
    async with (
        _claimed(claim, cluster, plan, audit_record(experiment, text, by)) as held,
        open_journal(folder) as journal,
        contextlib.nullcontext() if watch is None else watch(held),
        chronicled(chronicle := Chronicle(plan.aim.run, experiment.name), announce),
        _traffic(experiment, plan, folder, crew) as traffic,
        _beside(experiment, plan, folder, traffic, control) as traffic,
    ):
        run = Run(experiment, plan, cluster, journal, traffic, on_phase=clock.on_phase, claim=held)
        journal.listeners += [run.hear, chronicle.hear]
        await journal.commit("run.began", **_began(experiment, text, plan, scene, by))
        if scene.clock is not None:
            journal.note("clock", offset=scene.clock[0], error=scene.clock[1])
        on_run(run)
        async with run:
            await run.hold(experiment.phases.hold)
            await run.again()
        await clock.note(journal)
    for log in folder.glob("traffic*.log"):
        scrub_file(log)  # what a locustfile printed is not ours, and its secrets are known here only
    # Nothing above is trusted from memory: the verdict is that of the closed journal.
    history, verdict = await asyncio.to_thread(judge_folder, folder)
    write_private(folder / VERDICT, _rendered(verdict_to_json(verdict)))
    return history, verdict


@asynccontextmanager
async def _claimed(
    claim: Claim | None, cluster: Cluster, plan: Plan, about: Mapping[str, Json]
) -> AsyncIterator[Claim]:
    """The run's claim, on the plan's targets too."""
    async with contextlib.AsyncExitStack() as stack:
        mine = claim if claim is not None else await stack.enter_async_context(claiming(cluster, plan.aim.run))
        await mine.take_targets(plan, about)
        yield mine


def _began(experiment: Experiment, text: str, plan: Plan, scene: Scene, by: Author) -> Mapping[str, Json]:
    return {
        "run": plan.aim.run,
        **audit_record(experiment, text, by),
        "server": scene.server,
        "context": scene.context,
        "profile": scene.profile,
        "wall": time.time(),
        "seed": plan.aim.seed,
        "python": platform.python_version(),
    }


class _SecondLook:
    """Measures the clock again while the run reverts and settles, so that it costs no time."""

    def __init__(self, scene: Scene, on_phase: Callable[[str], None]) -> None:
        self._read = scene.read_clock
        self._on_phase = on_phase
        self._looking: asyncio.Future[tuple[float, float]] | None = None

    def on_phase(self, name: str) -> None:
        """Begin with the last revert; the latest look is the one that counts."""
        if name == "revert" and self._read is not None and (self._looking is None or self._looking.done()):
            self._looking = asyncio.ensure_future(self._read())
        self._on_phase(name)

    async def note(self, journal: Journal) -> None:
        """Write down what was measured. A clock that could not be read again leaves the first measurement alone."""
        if self._looking is None:
            return
        with contextlib.suppress(ChaosError):
            offset, error = await self._looking
            journal.note("clock", offset=offset, error=error)


@asynccontextmanager
async def early_crew(experiment: Experiment) -> AsyncIterator[Crew | None]:
    """The processes of the experiment's traffic, to load what they need while the place is made ready; None without traffic."""
    if experiment.traffic is None:
        yield None
        return
    async with crew(experiment.traffic.processes) as loading:
        yield loading


@asynccontextmanager
async def _traffic(
    experiment: Experiment, plan: Plan, folder: Path, crew: Crew | None
) -> AsyncIterator[Generator | None]:
    if experiment.traffic is None or plan.route is None:
        yield None
        return
    sending = traffic_plan(experiment, plan.route, plan.aim.seed, lasts_s=plan.expected_s)
    async with generator(sending, folder, crew=crew) as started:
        yield started


@asynccontextmanager
async def _beside(
    experiment: Experiment, plan: Plan, folder: Path, traffic: Generator | None, control: Route | None
) -> AsyncIterator[Generator | None]:
    """The traffic, with the control's beside it if there is one; its log goes into a folder of its own."""
    if traffic is None or control is None:
        yield traffic
        return
    sending = traffic_plan(experiment, control, plan.aim.seed + 1, lasts_s=plan.expected_s)
    async with generator(sending, folder / CONTROL) as started:
        yield Beside(traffic, started)


def _rendered(data: Mapping[str, Json]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
