"""Perform a stage: durable intent, one request per step, witness. Never retries a mutation blindly and never touches what the plan did not name.

The intent is in the journal and in the cluster before the first request leaves. Each request is a flight of its own: a cancelled run does
not wait for it, and whoever undoes it later knows whether it may still land.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from chaoskit.model.errors import AnswerLost, ClusterError, CouldNotRun
from chaoskit.model.event import Journal
from chaoskit.model.operation import Delete, Evict, describe, rights
from chaoskit.model.plan import Plan
from chaoskit.model.resource import Json
from chaoskit.model.seams import Cluster, Reply
from chaoskit.model.step import Fate, Outcome, Stage, Step, describe_condition, step_to_json
from chaoskit.runner.claim import Claim
from chaoskit.runner.flight import Flights

LOOK_S = 0.1
"""How often a witness is looked for, in seconds."""

ASK_AGAIN_S = 5.0
"""How long a refused eviction waits before it is asked again, unless the server says so. Source: kubectl drain."""


Guard: TypeAlias = Callable[[], Awaitable[None]]


async def unguarded() -> None:
    """No limits but those that were checked before."""


async def perform(
    stage: Stage,
    number: int,
    plan: Plan,
    cluster: Cluster,
    journal: Journal,
    claim: Claim | None = None,
    flights: Flights | None = None,
    round: int = 0,
    guard: Guard = unguarded,
) -> tuple[Outcome, ...]:
    """Perform all steps side by side and wait for their witnesses. Raises CouldNotRun when a step lies outside the plan or the claim was lost.

    `number` goes on over the rounds of a run, so that no two steps bear one id. `guard` looks at the limits once more before a
    refused request is sent again, and raises when they are reached.
    """
    for step in stage.steps:
        _check_within(step, plan)
    ids = [f"{number}.{i}" for i in range(len(stage.steps))]
    steps = [step_to_json(step) | {"id": id_} for id_, step in zip(ids, stage.steps, strict=True)]
    await journal.commit("stage.intended", stage=number, round=round, steps=[_without_secrets(step) for step in steps])
    if claim is not None:
        await claim.intend(list(zip(ids, stage.steps, strict=True)))
    way = _Way(plan.aim.run, cluster, journal, claim, flights if flights is not None else Flights(), guard)
    async with asyncio.TaskGroup() as side_by_side:
        tasks = [
            side_by_side.create_task(_perform_step(step, id_, way)) for id_, step in zip(ids, stage.steps, strict=True)
        ]
    if stage.pause_s:
        await asyncio.sleep(stage.pause_s)
    return tuple(task.result() for task in tasks)


@dataclass(frozen=True, slots=True)
class _Way:
    """What every step of a stage goes through."""

    run: str
    cluster: Cluster
    journal: Journal
    claim: Claim | None
    flights: Flights
    guard: Guard


def _check_within(step: Step, plan: Plan) -> None:
    ref = step.do.ref
    if (ref.uid or f"{ref.kind}/{ref.namespace}/{ref.name}") not in plan.blast_radius:
        raise CouldNotRun(
            f"refused to {describe(step.do)}: it is outside the plan's blast radius; the targets changed since the plan"
        )
    beyond = {right.verb + " " + right.resource for right in rights(step.do)} - {
        r.verb + " " + r.resource for r in plan.rights
    }
    if beyond:
        raise CouldNotRun(
            f"refused to {describe(step.do)}: it needs rights the plan does not name ({', '.join(sorted(beyond))})"
        )


def _without_secrets(step: Mapping[str, Json]) -> Mapping[str, Json]:
    """A step for the journal. A created object's manifest is left out: its undo needs only the name, and environments may hold secrets."""
    do = step["do"]
    return step if do["op"] != "create" else {**step, "do": {**do, "manifest": {}}}


async def _perform_step(step: Step, id_: str, way: _Way) -> Outcome:
    outcome = await _asked(step, id_, way)
    if outcome is not None:
        return outcome
    return await _witnessed(step, id_, way.cluster, way.journal)


async def _asked(step: Step, id_: str, way: _Way) -> Outcome | None:
    """None when the request took effect; else the outcome that ends the step."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + step.patience_s
    while True:
        if way.claim is not None:
            await way.claim.check()
        flight = way.flights.launch(id_, step.do, _sent(step, id_, way.run, way.cluster, way.journal))
        reply = await flight.answer()
        if reply is None:
            return None
        if reply.status != 429 or loop.time() >= give_up:
            break
        await asyncio.sleep(min(reply.retry_after_s or ASK_AGAIN_S, max(0.0, give_up - loop.time())))
        # While a budget kept us waiting, pods may have been lost elsewhere.
        await way.guard()
    if 200 <= reply.status < 300:
        return None
    return _not_done(step, id_, reply, way.journal)


async def _sent(step: Step, id_: str, run: str, cluster: Cluster, journal: Journal) -> Reply | None:
    """Send once, note the answer at once: a cancellation between the two would leave an effect without its record.

    None: in doubt, because no answer came and nothing can be read back; then the witness decides, and the undo stays open.
    """
    mark = f"{run}/{id_}"
    before = asyncio.get_running_loop().time()
    try:
        reply = await cluster.perform(step.do, mark)
    except AnswerLost as lost:
        landed = await _read_back(step, mark, cluster)
        if landed is None:
            return None
        reply = Reply(200 if landed else 504, {"message": f"{lost}; read back: {'done' if landed else 'no effect'}"})
    except ClusterError as error:
        reply = Reply(error.status or 503, {"message": str(error)})
    if 200 <= reply.status < 300:
        journal.note(
            "step.done", id=id_, status=reply.status, seconds=round(asyncio.get_running_loop().time() - before, 4)
        )
    return reply


async def _read_back(step: Step, mark: str, cluster: Cluster) -> bool | None:
    try:
        return await cluster.landed(step.do, mark)
    except ClusterError:
        return None


def _not_done(step: Step, id_: str, reply: Reply, journal: Journal) -> Outcome:
    because = str(reply.body.get("message") or f"HTTP {reply.status}")
    if isinstance(step.do, Delete | Evict) and reply.status in (404, 409):
        journal.note("step.gone", id=id_, because=because)
        return Outcome(step, Fate.GONE, because, reply.status)
    journal.note("step.refused", id=id_, status=reply.status, because=because)
    return Outcome(step, Fate.REFUSED, because, reply.status)


async def _witnessed(step: Step, id_: str, cluster: Cluster, journal: Journal) -> Outcome:
    condition = step.until.condition
    last = ""
    try:
        async with asyncio.timeout(step.until.within_s):
            while True:
                try:
                    if await cluster.holds(condition):
                        break
                except ClusterError as error:
                    last = f"; last look: {error}"
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        because = f"not seen within {step.until.within_s:g} s: {describe_condition(condition)}{last}"
        journal.note("step.unseen", id=id_, because=because)
        return Outcome(step, Fate.UNSEEN, because)
    journal.note("step.seen", id=id_, because=describe_condition(condition))
    return Outcome(step, Fate.SEEN, describe_condition(condition))
