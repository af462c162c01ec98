"""From an experiment file and a place to a Plan, as `plan` and `run` both need it. Looks; changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses

from chaoskit.cli.files import ExperimentFile, code_named
from chaoskit.cli.place import Place
from chaoskit.model.errors import CouldNotRun, NotFound
from chaoskit.model.experiment import Experiment
from chaoskit.model.plan import Caveat, Plan, Route
from chaoskit.reports.forecast import Circumstances
from chaoskit.runner import plan as planner
from chaoskit.runner.guard import grounds
from chaoskit.runner.preflight import lacking, preflight, refuse_blocked
from chaoskit.runner.rights import foreseen_needs
from chaoskit.runner.sending import caveats as traffic_caveats
from chaoskit.runner.session import find_route
from chaoskit.traffic.route import NoAnswer

ANSWERS_WITHIN_S = 30.0
"""How long an application that was just set up may take to answer: without a readiness probe it counts as available before it listens. In seconds."""

TRY_AGAIN_S = 0.25


async def planned(file: ExperimentFile, where: Place, run: str, seed: int | None, *, is_fresh: bool) -> Plan:
    """The plan of a run here. `seed` goes before the file's; without either one is drawn. `is_fresh`: the application was just set up.

    Raises CouldNotRun.
    """
    experiment, cluster = file.experiment, where.cluster
    caveats = await _rights_lacking(experiment, where)
    chosen = seed if seed is not None else experiment.seed if experiment.seed is not None else planner.new_seed()
    try:
        route = await _route(file, where, ANSWERS_WITHIN_S if is_fresh else 0.0)
        rules = grounds(await where.needs_opt_in())
        found = await planner.plan(experiment, cluster, run=run, seed=chosen, route=route, grounds=rules)
        found = dataclasses.replace(found, server=cluster.server, context=cluster.context)
    except NotFound as error:
        hint = "" if is_fresh else "; apply the application first, or let --setup apply the experiment's manifests"
        raise CouldNotRun(f"{error} (context {cluster.context}, target {experiment.target}){hint}") from error
    caveats = (
        *caveats,
        *await preflight(experiment, found, cluster),
        *found.caveats,
        *traffic_caveats(experiment, route, found.expected_s),
    )
    return dataclasses.replace(found, caveats=caveats)


async def _route(file: ExperimentFile, where: Place, patience_s: float) -> Route | None:
    """The traffic's route, waiting for the application to answer."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + patience_s
    while True:
        try:
            return await find_route(file.experiment, where.cluster)
        except NoAnswer:
            if loop.time() >= give_up:
                raise
        await asyncio.sleep(TRY_AGAIN_S)


def circumstances(file: ExperimentFile, where: Place) -> Circumstances:
    """What a plan is printed with and does not hold itself."""
    code = tuple((what, str(path)) for what, path in code_named(file) if what != "manifests" or where.is_sandbox)
    return Circumstances(where.profile, code)


async def _rights_lacking(experiment: Experiment, where: Place) -> tuple[Caveat, ...]:
    """The rights that are wished for and missing. Raises CouldNotRun naming those without which nothing can be planned. A fresh sandbox grants all."""
    if where.is_sandbox:
        return ()
    found = await lacking(await foreseen_needs(experiment), where.cluster)
    refuse_blocked(found)
    return found
