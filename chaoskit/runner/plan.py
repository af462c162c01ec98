"""An Experiment and a cluster into a Plan: looks, drives the fault as if each step were seen, and forecasts. Changes nothing."""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from chaoskit.experiments.targeting import survey
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.experiment import Experiment, Traffic
from chaoskit.model.operation import operation_to_json, rights
from chaoskit.model.plan import ANYWHERE, Grounds, LeftOut, Plan, Route, Samples
from chaoskit.model.resource import Json, Obj, Ref
from chaoskit.model.seams import SLO, Fault, View
from chaoskit.model.step import Aim, Fate, Outcome, Stage, Step, step_to_json
from chaoskit.model.subject import Subject, subject_to_json
from chaoskit.model.verdict import bound_to_json
from chaoskit.runner.guard import check_guards
from chaoskit.runner.hints import hints, subject_of
from chaoskit.semantics.services import selects
from chaoskit.slos.cohorts import by_cohort
from chaoskit.slos.fitting import samples_needed

_RUN_ID_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
STAGE_LIMIT = 100
"""A fault that foresees more stages than this does not bound itself."""

SETTLE_FLOOR_S = 15.0
"""The least time the settling may take, whatever the bounds say, in seconds."""


def new_run_id() -> str:
    """A short random id that may stand in names and labels."""
    return "".join(secrets.choice(_RUN_ID_ALPHABET) for _ in range(8))


def new_seed() -> int:
    return secrets.randbelow(1 << 31)


async def plan(
    experiment: Experiment,
    view: View,
    *,
    run: str,
    seed: int,
    route: Route | None = None,
    grounds: Grounds = ANYWHERE,
) -> Plan:
    """The forecast of a run. Raises CouldNotRun when the target is empty, protected, or beyond the guards."""
    aim = Aim(experiment.target, seed, run, experiment.phases.hold)
    subject = await survey(view, experiment.target)
    foreseen = await foresee(experiment.fault, view, aim)
    await check_guards(view, experiment.guards, subject, foreseen, grounds)
    subject = dataclasses.replace(subject, victims=_victims(foreseen))
    await check_control(experiment, subject, view)
    identity = identity_of(experiment.traffic, route)
    promises, left_out = promises_of(experiment, subject, identity)
    bounds = {slo.kind: bound for slo in promises if (bound := slo.bound(subject)) is not None}
    settle_s = _settle_s(experiment, [bound.seconds for bound in bounds.values()])
    return Plan(
        aim=aim,
        subject=subject,
        foreseen=foreseen,
        rights=frozenset(right for stage in foreseen for step in stage.steps for right in _rights(step)),
        promises=promises,
        bounds=bounds,
        left_out=left_out,
        samples=_samples(experiment, promises),
        route=route,
        settle_s=settle_s,
        expected_s=_expected_s(experiment),
        grounds=grounds,
        identity=identity,
        hints=hints(experiment, subject, promises),
    )


async def plan_round(planned: Plan, experiment: Experiment, view: View, round: int) -> Plan:
    """The plan of a further round: the same fault on targets picked anew, within the same guards and rights. Raises CouldNotRun beyond them."""
    aim = dataclasses.replace(planned.aim, seed=planned.aim.seed + round)
    subject = await survey(view, experiment.target)
    foreseen = await foresee(experiment.fault, view, aim)
    await check_guards(view, experiment.guards, subject, foreseen, planned.grounds)
    wanted = frozenset(right for stage in foreseen for step in stage.steps for right in _rights(step))
    # By name they differ with every pick; what may be done, and where, must not.
    allowed = {(right.verb, right.group, right.resource, right.namespace) for right in planned.rights}
    beyond = {right for right in wanted if (right.verb, right.group, right.resource, right.namespace) not in allowed}
    if beyond:
        named = ", ".join(sorted({f"{right.verb} {right.resource}" for right in beyond}))
        raise CouldNotRun(f"round {round + 1} needs rights the plan does not name ({named})")
    return dataclasses.replace(planned, aim=aim, subject=subject, foreseen=foreseen)


async def foresee(fault: Fault, view: View, aim: Aim) -> tuple[Stage, ...]:
    """The stages the fault would yield if every step were seen. The same generator that the run drives."""
    foreseen: list[Stage] = []
    stages = fault.stages(view, aim)
    try:
        stage = await anext(stages)
        while True:
            foreseen.append(stage)
            if len(foreseen) > STAGE_LIMIT:
                raise CouldNotRun(f"the fault {fault.kind} foresees more than {STAGE_LIMIT} stages")
            stage = await stages.asend(tuple(Outcome(step, Fate.SEEN) for step in stage.steps))
    except StopAsyncIteration:
        pass
    finally:
        await stages.aclose()
    if not any(stage.steps for stage in foreseen):
        raise CouldNotRun(f"the fault {fault.kind} has nothing to do on {aim.target}; nothing was touched")
    return tuple(foreseen)


def promises_of(
    experiment: Experiment, subject: Subject, identity: tuple[str, ...] | None = None
) -> tuple[tuple[SLO, ...], tuple[LeftOut, ...]]:
    """What is judged: the SLOs the author named, else the fault's promises that fit the subject. And what is left out, with the reason.

    `identity`: what the responses say of who answers; None when that is not known. What they do not say, no default promise hangs on.
    """
    fitting = experiment.fault.promises(subject)
    nameless = [slo for slo in fitting if identity is not None and "pod" not in identity and "identity" in slo.needs]
    judged = by_cohort(experiment.slos or [slo for slo in fitting if slo not in nameless])
    named = {slo.kind for slo in judged}
    left_out = [
        LeftOut(slo.kind, _no_name(experiment) if slo in nameless and not experiment.slos else "not named under slos")
        for slo in fitting
        if slo.kind not in named
    ]
    if experiment.traffic is None:
        left_out += [LeftOut(slo.kind, "the experiment has no traffic") for slo in judged if "traffic" in slo.needs]
    return tuple(judged), tuple(left_out)


def hints_of_manifests(experiment: Experiment, manifests: Sequence[Obj]) -> tuple[str, ...]:
    """What can be advised from the experiment's own manifests, without a cluster; nothing where they do not hold the target."""
    subject = subject_of(experiment, manifests)
    return hints(experiment, subject, promises_of(experiment, subject)[0]) if subject.pods else ()


def _no_name(experiment: Experiment) -> str:
    header = "X-Pod" if experiment.traffic is None else experiment.traffic.identity.pod
    return (
        f"no response names the pod that answered: let the application send its POD_NAME (downward API, metadata.name) in the header {header}, "
        "or name the header it has under traffic.identity"
    )


def identity_of(traffic: Traffic | None, route: Route | None) -> tuple[str, ...] | None:
    """Which of pod, version and node the responses on the route name; None when nobody looked, or a locustfile sends what it will."""
    if traffic is None or traffic.locustfile is not None or route is None or route.answered_with is None:
        return None
    names = {"pod": traffic.identity.pod, "version": traffic.identity.version, "node": traffic.identity.node}
    return tuple(what for what, header in names.items() if header.lower() in route.answered_with)


async def check_control(experiment: Experiment, subject: Subject, view: View) -> None:
    """Raises CouldNotRun for a control that the fault may touch too, NotFound for one that is not there."""
    if experiment.control is None:
        return
    if experiment.traffic is None:
        raise CouldNotRun("a control needs traffic: it is the same traffic to a Service that is not faulted")
    service = await view.get(Ref("Service", experiment.control.service, experiment.target.namespace or "default"))
    hit = [pod["metadata"]["name"] for pod in subject.pods if selects(service, pod)]
    if hit:
        raise CouldNotRun(
            f"the control {experiment.control.service} stands before pods of the target ({', '.join(hit[:3])}); "
            "name a Service whose pods the fault does not touch"
        )


def _rights(step: Step) -> frozenset[Any]:
    return rights(step.do) | (rights(step.undo) if step.undo is not None else frozenset())


def _victims(foreseen: Sequence[Stage]) -> tuple[str, ...]:
    refs = [step.do.ref for stage in foreseen for step in stage.steps]
    return tuple(
        dict.fromkeys(ref.uid if ref.kind == "Pod" else ref.name for ref in refs if ref.kind in ("Pod", "Node"))
    )


def _settle_s(experiment: Experiment, bounds: Sequence[float]) -> float:
    if experiment.phases.settle is not None:
        return experiment.phases.settle
    return max([SETTLE_FLOOR_S, *bounds]) + experiment.phases.sustain


def _expected_s(experiment: Experiment) -> float:
    warm_up = 0.0 if experiment.traffic is None else 2.0
    return (
        warm_up + experiment.phases.baseline + experiment.repeat * (experiment.phases.hold + experiment.phases.sustain)
    )


def _samples(experiment: Experiment, promises: Sequence[SLO]) -> tuple[Samples, ...]:
    traffic = experiment.traffic
    if traffic is None or traffic.locustfile is not None:
        return ()
    seconds = {
        "baseline": experiment.phases.baseline,
        "fault": experiment.phases.hold,
        "recovery": experiment.phases.sustain,
    }
    seconds["run"] = sum(seconds.values())
    needed = [(slo, samples_needed(slo)) for slo in promises]
    return tuple(
        Samples(str(slo), slo.over, math.floor(traffic.rate * seconds.get(slo.over, 0.0)), count)
        for slo, count in needed
        if count is not None
    )


def plan_to_json(of: Plan) -> Mapping[str, Json]:
    """The plan as plain data: for the journal's `planned` event and `-o json`. Manifests of created objects are left out."""
    return {
        "subject": subject_to_json(of.subject),
        "seed": of.aim.seed,
        "target": str(of.aim.target),
        "stages": [[_shown(step) for step in stage.steps] for stage in of.foreseen],
        "rights": sorted(
            f"{right.verb} {right.resource}" + (f" in {right.namespace}" if right.namespace else "")
            for right in of.rights
        ),
        "promises": [_promise(slo, of) for slo in of.promises],
        "leftOut": [{"slo": left.slo, "because": left.because} for left in of.left_out],
        "samples": [dataclasses.asdict(samples) for samples in of.samples],
        "route": None
        if of.route is None
        else {"kind": of.route.kind, "baseUrl": of.route.base_url, "why": of.route.why},
        "identity": None if of.identity is None else list(of.identity),
        "hints": list(of.hints),
        "expected": of.expected_s,
        "settle": of.settle_s,
    }


def _shown(step: Step) -> Json:
    data = step_to_json(step)
    if data["do"]["op"] == "create":
        data["do"] = {**operation_to_json(step.do), "manifest": {}}
    return data


def _promise(slo: SLO, of: Plan) -> Json:
    bound = of.bounds.get(slo.kind)
    return {"slo": slo.kind, "over": slo.over, "bound": None if bound is None else bound_to_json(bound)}


def changed_since(planned: Plan, again: Sequence[Stage]) -> str | None:
    """What differs between the planned steps and the same fault foreseen again; None when nothing does."""
    before = {_key(step.do.ref) for stage in planned.foreseen for step in stage.steps}
    now = {_key(step.do.ref) for stage in again for step in stage.steps}
    gone, new = sorted(before - now), sorted(now - before)
    if not gone and not new:
        return None
    return "; ".join(
        part
        for part in (f"no longer: {', '.join(gone)}" if gone else "", f"now also: {', '.join(new)}" if new else "")
        if part
    )


def _key(ref: Ref) -> str:
    return f"{ref} ({ref.uid})" if ref.uid else str(ref)


def service_of(services: Sequence[Obj], name: str) -> Obj:
    """The Service of a name. Raises CouldNotRun with those there are."""
    for service in services:
        if service["metadata"]["name"] == name:
            return service
    known = ", ".join(sorted(service["metadata"]["name"] for service in services)) or "none"
    raise CouldNotRun(f"there is no service {name!r} to send traffic to; there: {known}")
