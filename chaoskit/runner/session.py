"""One experiment from its plan to its verdict, into one run folder. Joins the parts; decides nothing itself and prints nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaoskit import __version__
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.experiment import Experiment
from chaoskit.model.history import History
from chaoskit.model.plan import Plan, Route
from chaoskit.model.resource import Json, Obj, Ref
from chaoskit.model.seams import Cluster, View
from chaoskit.model.verdict import Verdict, verdict_to_json
from chaoskit.runner.folder import EXPERIMENT, VERDICT, open_journal, write_private
from chaoskit.runner.judge import judge_folder
from chaoskit.runner.plan import changed_since, foresee
from chaoskit.runner.run import Generator, Run
from chaoskit.traffic.route import candidates, choose
from chaoskit.traffic.supervisor import TrafficPlan, generator


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a run takes place, for its record: server URL, context name, the sandbox's profile or "", clock offset and its error in seconds."""

    server: str
    context: str
    profile: str = ""
    clock: tuple[float, float] | None = None


async def find_route(experiment: Experiment, view: View) -> Route | None:
    """How the experiment's traffic reaches its Service from here. Raises CouldNotRun with the ways out when there is none."""
    traffic = experiment.traffic
    if traffic is None:
        return None
    service: Obj | None = None
    nodes: tuple[Obj, ...] = ()
    if traffic.url is None and traffic.service is not None:
        service = await view.get(Ref("Service", traffic.service, experiment.target.namespace or "default"))
        nodes = tuple(await view.list("Node"))
    ways = candidates(service, nodes, traffic.via, traffic.url, traffic.port)
    return await choose(ways, traffic.path, traffic.timeout, headers=traffic.headers)


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
    on_run: Callable[[Run], None] = lambda run: None,
    on_phase: Callable[[str], None] = lambda name: None,
) -> tuple[History, Verdict]:
    """Run the planned experiment and judge its folder. `on_run` gets the live run, to abort or to show it.

    Whatever happens in it is in the journal; only what prevents the run from beginning is raised (CouldNotRun).
    """
    write_private(folder / EXPERIMENT, text)
    async with open_journal(folder) as journal, _traffic(experiment, plan, folder) as traffic:
        run = Run(experiment, plan, cluster, journal, traffic, on_phase=on_phase)
        journal.listeners.append(run.hear)
        await journal.commit("run.began", **_began(experiment, text, plan, scene))
        if scene.clock is not None:
            journal.note("clock", offset=scene.clock[0], error=scene.clock[1])
        on_run(run)
        async with run:
            await run.hold(experiment.phases.hold)
    # Nothing above is trusted from memory: the verdict is that of the closed journal.
    history, verdict = await asyncio.to_thread(judge_folder, folder)
    write_private(folder / VERDICT, _rendered(verdict_to_json(verdict)))
    return history, verdict


def _began(experiment: Experiment, text: str, plan: Plan, scene: Scene) -> Mapping[str, Json]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {
        "run": plan.aim.run,
        "version": __version__,
        "experiment": {"name": experiment.name, "source": experiment.source, "digest": digest},
        "server": scene.server,
        "context": scene.context,
        "profile": scene.profile,
        "wall": time.time(),
        "seed": plan.aim.seed,
        "python": platform.python_version(),
    }


@asynccontextmanager
async def _traffic(experiment: Experiment, plan: Plan, folder: Path) -> AsyncIterator[Generator | None]:
    if experiment.traffic is None or plan.route is None:
        yield None
        return
    async with generator(traffic_plan(experiment, plan.route, plan.aim.seed), folder) as started:
        yield started


def traffic_plan(experiment: Experiment, route: Route, seed: int) -> TrafficPlan:
    """The experiment's traffic, as the generator is told it."""
    traffic = experiment.traffic
    assert traffic is not None
    return TrafficPlan(
        url=route.base_url,
        path=traffic.path,
        method=traffic.method,
        rate_per_s=traffic.rate,
        arrivals=traffic.arrivals,
        policies={"fresh": traffic.connections.fresh, "reuse": traffic.connections.reuse},
        timeout_s=traffic.timeout,
        seed=seed,
        headers=traffic.headers,
        identity={"pod": traffic.identity.pod, "version": traffic.identity.version, "node": traffic.identity.node},
        locustfile=traffic.locustfile,
        users=traffic.users or 1,
    )


def _rendered(data: Mapping[str, Json]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
