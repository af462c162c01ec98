"""From an experiment file and a place to a Plan, as `plan` and `run` both need it. Looks; changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses

from chaoskit.cli.files import ExperimentFile, code_named
from chaoskit.cli.place import Place
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.plan import Plan, Route
from chaoskit.reports.forecast import Circumstances
from chaoskit.runner import plan as planner
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
    chosen = seed if seed is not None else experiment.seed if experiment.seed is not None else planner.new_seed()
    route = await _route(file, where, ANSWERS_WITHIN_S if is_fresh else 0.0)
    found = await planner.plan(experiment, cluster, run=run, seed=chosen, route=route)
    return dataclasses.replace(found, server=cluster.server, context=cluster.context)


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


async def refuse_missing_rights(plan: Plan, where: Place) -> None:
    """Raises CouldNotRun naming the rights the plan needs and these credentials lack. A sandbox grants all."""
    missing = [] if where.is_sandbox else await where.cluster.missing(plan.rights)
    if missing:
        named = ", ".join(f"{r.verb} {r.resource}" + (f" in {r.namespace}" if r.namespace else "") for r in missing)
        raise CouldNotRun(f"context {plan.context!r} lacks rights that this run needs: {named}; nothing was touched")
