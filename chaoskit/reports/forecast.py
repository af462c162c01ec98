"""A plan on the terminal, whole and in short. Renders; asks nobody and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaoskit.model.experiment import Experiment, Traffic
from chaoskit.model.operation import describe, precondition
from chaoskit.model.plan import Caveat, Plan, Samples
from chaoskit.model.resource import Obj
from chaoskit.model.step import Step, describe_condition
from chaoskit.model.units import render_ratio, render_seconds
from chaoskit.reports.words import clean
from chaoskit.semantics.owners import controller_of, named, pods_of, roots
from chaoskit.semantics.pods import serves


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is printed with a plan and is not part of it: the sandbox's profile ("" on a named cluster), and the local files that are code."""

    profile: str = ""
    code: tuple[tuple[str, str], ...] = ()


def render_plan(experiment: Experiment, plan: Plan, around: Circumstances) -> RenderableType:
    """Everything that will happen: whom it meets, every request, how it is judged."""
    return Group(
        *_titled("Experiment", _facts(_head(experiment, plan, around))),
        *(_titled("Found before the run", _caveats(plan)) if plan.caveats else ()),
        *_titled("Victims", _victims(plan)),
        *_titled("What remains", _remaining(plan)),
        *_titled("Requests", Group(*_requests(plan))),
        *_titled("Rights used", _rights(plan)),
        *_titled("Traffic", _facts(_traffic(experiment.traffic, plan))),
        *_titled("Promises", _promises(plan)),
        *(_titled("Left out", _left_out(plan)) if plan.left_out else ()),
        *(_titled("Worth a thought", _facts([("hint", hint) for hint in plan.hints])) if plan.hints else ()),
        *_titled("Phases", _facts(_phases(experiment, plan))),
        *(_titled("Code that is run from this machine", _facts(around.code)) if around.code else ()),
    )


def render_plan_shortly(experiment: Experiment, plan: Plan, around: Circumstances) -> RenderableType:
    """The same in a few lines, for a sandbox, where nothing of anybody's is at stake."""
    steps = [step for stage in plan.foreseen for step in stage.steps]
    lines = [
        (experiment.name, f"{experiment.fault.kind} on {plan.aim.target}; seed {plan.aim.seed}"),
        ("cluster", f"sandbox at {plan.server}, profile {around.profile}"),
        *(("will", _in_words(step)) for step in steps),
        *(_caveat(caveat) for caveat in plan.caveats),
        *((("traffic", _traffic_line(experiment.traffic, plan)),) if experiment.traffic is not None else ()),
        *(("judged", _judged_shortly(str(slo), plan, slo.kind)) for slo in plan.promises),
        *(("left out", f"{left.slo}: {left.because}") for left in plan.left_out if "header" in left.because),
        *(("hint", hint) for hint in plan.hints),
        (
            "expected",
            f"about {render_seconds(plan.expected_s)}; settling takes at most {render_seconds(plan.settle_s)}",
        ),
        *(("code", f"{what} {path}") for what, path in around.code),
    ]
    return _facts(lines)


def _titled(title: str, body: RenderableType) -> tuple[RenderableType, ...]:
    return (Text(title, style="bold"), Padding(body, (0, 0, 1, 2)))


def _facts(lines: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(Text(clean(name)), Text(clean(value)))
    return table


def _head(experiment: Experiment, plan: Plan, around: Circumstances) -> list[tuple[str, str]]:
    cluster = f"context {plan.context} at {plan.server}" + (
        f" (sandbox, profile {around.profile})" if around.profile else ""
    )
    lines = [
        ("name", experiment.name),
        ("cluster", cluster),
        ("fault", experiment.fault.kind),
        ("target", str(plan.aim.target)),
        ("run", plan.aim.run),
        ("seed", str(plan.aim.seed)),
    ]
    return [*lines, ("file", experiment.source)] if experiment.source else lines


def _caveats(plan: Plan) -> RenderableType:
    return _facts([_caveat(caveat) for caveat in plan.caveats])


def _caveat(caveat: Caveat) -> tuple[str, str]:
    return ("BLOCKED" if caveat.blocks else "beware", str(caveat))


def _victims(plan: Plan) -> RenderableType:
    pods, nodes = plan.subject.victim_pods(), _victim_nodes(plan)
    if not pods and not nodes:
        return Text("none: nothing that is there is touched")
    table = _columns("kind", "name", "uid", "node", "ready", "owner")
    for node in nodes:
        table.add_row("node", node["metadata"]["name"], node["metadata"]["uid"], "", "", "")
    for pod in pods:
        table.add_row(*map(clean, _pod_row(pod)))
    return table


def _victim_nodes(plan: Plan) -> list[Obj]:
    return [node for node in plan.subject.nodes if node["metadata"]["name"] in plan.subject.victims]


def _pod_row(pod: Obj) -> tuple[str, ...]:
    owner = controller_of(pod)
    by = f"{str(owner['kind']).lower()} {owner['name']}" if owner is not None else "none"
    ready = "yes" if serves(pod) else "no"
    return "pod", named(pod), str(pod["metadata"]["uid"]), str(pod["spec"].get("nodeName") or "-"), ready, by


def _remaining(plan: Plan) -> RenderableType:
    touched = {pod["metadata"]["uid"] for pod in plan.subject.victim_pods()}
    lines = []
    for workload in roots(plan.subject.workloads):
        pods = pods_of(workload, plan.subject.workloads, plan.subject.pods)
        kept = [pod for pod in pods if serves(pod) and pod["metadata"]["uid"] not in touched]
        lines.append(
            (f"{workload['kind'].lower()} {named(workload)}", f"{len(kept)} ready of {len(pods)} pods stay untouched")
        )
    return _facts(lines) if lines else Text("no workload controls the target")


def _requests(plan: Plan) -> Iterator[RenderableType]:
    for number, stage in enumerate(plan.foreseen):
        for i, step in enumerate(stage.steps):
            yield Text(clean(f"{number}.{i}  {describe(step.do)}"))
            yield Padding(_facts(_step(step)), (0, 0, 0, 5))
        if stage.pause_s:
            yield Text(f"     then a pause of {render_seconds(stage.pause_s)}", style="dim")
        if stage.gate is not None:
            yield Text(f"     then only if {stage.gate.slo} within {render_seconds(stage.gate.within_s)}", style="dim")


def _step(step: Step) -> list[tuple[str, str]]:
    lines = [
        ("if", precondition(step.do)),
        ("undo", "irreversible" if step.undo is None else describe(step.undo)),
        ("witness", f"{describe_condition(step.until.condition)}, within {render_seconds(step.until.within_s)}"),
    ]
    return (
        [*lines, ("patience", f"a refusal is asked again for {render_seconds(step.patience_s)}")]
        if step.patience_s
        else lines
    )


def _in_words(step: Step) -> str:
    undo = "irreversible" if step.undo is None else f"undo: {describe(step.undo)}"
    return f"{describe(step.do)}; {undo}"


def _rights(plan: Plan) -> RenderableType:
    shown = sorted({f"{r.verb} {r.resource}" + (f" in {r.namespace}" if r.namespace else "") for r in plan.rights})
    return Text(clean(", ".join(shown)))


def _traffic(traffic: Traffic | None, plan: Plan) -> list[tuple[str, str]]:
    if traffic is None or plan.route is None:
        return [("none", "nobody uses the system meanwhile")]
    return [
        ("who", _load(traffic)),
        ("sends", _sent(traffic)),
        ("route", f"{plan.route.base_url}{traffic.kinds[0].path} by {plan.route.kind}"),
        ("why", plan.route.why),
        ("timeout", f"{render_seconds(traffic.timeout)} from a request's intended start"),
    ]


def _sent(traffic: Traffic) -> str:
    """The kinds of requests with their shares; never a header's value or a body."""
    if traffic.locustfile is not None:
        return "what the locustfile does"
    whole = sum(sent.weight for sent in traffic.kinds)
    kinds = [(f"{sent.name}: " if sent.name else "") + f"{sent.method} {sent.path}" for sent in traffic.kinds]
    if len(kinds) == 1:
        return kinds[0]
    return ", ".join(
        f"{render_ratio(sent.weight / whole)} {kind}" for sent, kind in zip(traffic.kinds, kinds, strict=True)
    )


def _load(traffic: Traffic) -> str:
    if traffic.locustfile is not None:
        return f"{traffic.users} users of {traffic.locustfile} (closed model)"
    shares = f"{render_ratio(traffic.connections.fresh)} fresh and {render_ratio(traffic.connections.reuse)} kept connections"
    many = f" by {traffic.processes} processes" if traffic.processes > 1 else ""
    return f"{traffic.rate:g} requests/s{many}, {traffic.arrivals} arrivals, {shares} (open model)"


def _traffic_line(traffic: Traffic | None, plan: Plan) -> str:
    return "; ".join(value for name, value in _traffic(traffic, plan) if name in ("who", "sends", "route", "none"))


def _promises(plan: Plan) -> RenderableType:
    if not plan.promises:
        return Text("none: this run cannot PASS")
    return _facts([(f"over {slo.over}", _judged(str(slo), plan, slo.kind)) for slo in plan.promises])


def _judged(said: str, plan: Plan, kind: str) -> str:
    bound = plan.bounds.get(kind)
    samples = "".join(_samples(each) for each in plan.samples if each.slo in (kind, said))
    return said + (f" within {bound}" if bound is not None else "") + samples


def _judged_shortly(said: str, plan: Plan, kind: str) -> str:
    bound = plan.bounds.get(kind)
    return said if bound is None else f"{said} within {render_seconds(bound.seconds)}"


def _samples(of: Samples) -> str:
    enough = "" if of.sent >= of.needed else ": TOO FEW"
    return f" ({of.sent} requests sent, {of.needed} needed{enough})"


def _left_out(plan: Plan) -> RenderableType:
    return _facts([(left.slo, left.because) for left in plan.left_out])


def _phases(experiment: Experiment, plan: Plan) -> list[tuple[str, str]]:
    phases = experiment.phases
    return [
        ("warm-up", f"until the rate is held, at most {render_seconds(phases.warm_up)}"),
        ("baseline", render_seconds(phases.baseline)),
        ("hold", render_seconds(phases.hold)),
        ("settle", f"until all holds for {render_seconds(phases.sustain)}, at most {render_seconds(plan.settle_s)}"),
        ("expected", f"about {render_seconds(plan.expected_s)} in all"),
    ]


def _columns(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name == "uid")
    return table
