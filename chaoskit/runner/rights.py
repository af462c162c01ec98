"""Which rights a run takes: read off what it does, by letting it look through a recorder. Names rights; asks nobody for them.

Driven are the same functions that plan and run drive: survey, fault, guards, probes, leftovers. So the list cannot fall behind the code.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from chaoskit.model.errors import ClusterError, CouldNotRun
from chaoskit.model.experiment import Experiment
from chaoskit.model.operation import Exec, Request, Right, rights
from chaoskit.model.plan import Plan
from chaoskit.model.resource import RESOURCES, Obj, Ref, Resource, resource_of
from chaoskit.model.seams import Listed, Sight, View
from chaoskit.model.step import Answers, Condition, Exits, Stage
from chaoskit.probes import probes_for
from chaoskit.runner.mirage import Mirage
from chaoskit.runner.place import STATE_NAMESPACE, home_of, targets_of, touches_nodes
from chaoskit.runner.plan import plan
from chaoskit.runner.recover import find_leftovers
from chaoskit.runner.run import ALWAYS_WATCHED

_BY_PLURAL = {at.plural: at for at in RESOURCES.values()}


@dataclass(frozen=True, slots=True)
class Needs:
    """`must`: without one of these the run cannot begin. `wished`: without one it says what it could not do, and goes on."""

    must: frozenset[Right]
    wished: frozenset[Right] = frozenset()

    @property
    def all(self) -> frozenset[Right]:
        return self.must | self.wished


class Recorder:
    """A `model.seams.View` that notes the right each look takes."""

    def __init__(self, view: View) -> None:
        self.rights: set[Right] = set()
        self._view = view

    async def get(self, ref: Ref) -> Obj:
        self._note("get", ref.kind, _place(ref))
        return await self._view.get(ref)

    async def find(self, ref: Ref) -> Obj | None:
        self._note("get", ref.kind, _place(ref))
        return await self._view.find(ref)

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[Obj]:
        self._note("list", kind, namespace)
        return await self._view.list(kind, namespace, labels=labels, fields=fields)

    async def watch(self, kind: str, namespace: str = "", *, labels: str = "") -> AsyncGenerator[Sight, None]:
        """Nothing but the word that it has begun."""
        self._note("list", kind, namespace)
        self._note("watch", kind, namespace)
        yield Listed(0, resource_of(kind).plural)

    async def holds(self, condition: Condition) -> bool:
        self.rights |= rights_of_witness(condition)
        return await self._view.holds(condition)

    def _note(self, verb: str, kind: str, namespace: str) -> None:
        at = resource_of(kind)
        self.rights.add(Right(verb, at.group, at.plural, namespace))


def _place(ref: Ref) -> str:
    """A namespace counts as lying in itself, for a Role of its own may grant reading it. Source: upstream apiserver, RequestInfo."""
    return ref.name if ref.kind == "Namespace" else ref.namespace


def rights_of_witness(condition: Condition) -> frozenset[Right]:
    """What looking whether a condition holds takes."""
    at = resource_of(condition.ref.kind)
    read = frozenset({Right("get", at.group, at.plural, condition.ref.namespace)})
    match condition:
        case Answers(ref, port, path):
            return read | _unnamed(rights(Request(ref, port, "GET", path)))
        case Exits(ref, container, argv):
            return read | _unnamed(rights(Exec(ref, container, argv)))
        case _:
            return read


def rights_of_stages(stages: Iterable[Stage]) -> frozenset[Right]:
    """What the steps take: doing, seeing, undoing."""
    found: set[Right] = set()
    for stage in stages:
        for step in stage.steps:
            found |= _unnamed(rights(step.do)) | rights_of_witness(step.until.condition)
            found |= frozenset() if step.undo is None else _unnamed(rights(step.undo))
    return frozenset(found)


def _unnamed(found: Iterable[Right]) -> frozenset[Right]:
    """Without the object's name: the next pod has another."""
    return frozenset(dataclasses.replace(right, name="") for right in found)


async def needs(experiment: Experiment, view: View, state_namespace: str = STATE_NAMESPACE) -> Needs:
    """What a run of the experiment takes on what the view shows. Raises CouldNotRun when the fault finds nothing to do there."""
    recorder = Recorder(view)
    # The limits are not at stake here, the looks that watch over them are.
    unlimited = dataclasses.replace(experiment.guards, max_pods=None, max_nodes=1 << 30, min_ready=0, keep=())
    found = await plan(dataclasses.replace(experiment, guards=unlimited), recorder, run="rights", seed=0)
    await _routed(experiment, recorder)
    await _watched(found, recorder)
    must = frozenset(recorder.rights) | rights_of_stages(found.foreseen)
    must |= _state(found, state_namespace)
    if not (touches_nodes(found) or experiment.target.kind in ("node", "node_of")):
        # Every look at nodes is forgone where credentials reach one namespace only.
        must = frozenset(right for right in must if not _is_cluster_wide(right))
    return Needs(must, await _wished(experiment, view) - must)


async def foreseen_needs(experiment: Experiment, state_namespace: str = STATE_NAMESPACE) -> Needs:
    """The same without a cluster, as far as the file tells: read off a mirage of the target. Nothing when the fault cannot be driven there."""
    try:
        return await needs(experiment, Mirage(experiment), state_namespace)
    except CouldNotRun:
        return Needs(frozenset())


async def _routed(experiment: Experiment, view: View) -> None:
    """What finding the traffic's route looks at; see runner.session.find_route."""
    traffic = experiment.traffic
    if traffic is not None and traffic.url is None and traffic.service is not None:
        await view.find(Ref("Service", traffic.service, experiment.target.namespace or "default"))
        await view.list("Node")


async def _watched(found: Plan, recorder: Recorder) -> None:
    feeds = ALWAYS_WATCHED | {need for slo in found.promises for need in slo.needs} & {"nodes", "events"}
    for probe in probes_for(feeds):
        sights = cast("AsyncGenerator[Sight, None]", probe.observe(recorder, found.subject))
        async with aclosing(sights):
            await anext(sights, None)


async def _wished(experiment: Experiment, view: View) -> frozenset[Right]:
    """Events told, autoscalers named, leftovers looked for."""
    space = experiment.target.namespace or "default"
    recorder = Recorder(view)
    # What could not be looked at was noted all the same.
    with contextlib.suppress(ClusterError):
        await find_leftovers(recorder, space)
    readable = {
        right for right in recorder.rights if not _is_cluster_wide(right) and right.resource not in _NEVER_ASKED_FOR
    }
    return frozenset(readable) | {
        Right("create", "", "events", space),
        Right("list", "autoscaling", "horizontalpodautoscalers", space),
    }


_NEVER_ASKED_FOR = frozenset({"secrets", "serviceaccounts"})
"""Reading all Secrets of a namespace is too high a price for seeing that an interrupted --setup left one."""


def _state(found: Plan, state_namespace: str) -> frozenset[Right]:
    """What a run's own state takes: its record and its leases."""
    homes = {("", "configmaps", home_of(found, state_namespace))}
    homes |= {("coordination.k8s.io", "leases", place) for place in targets_of(found, state_namespace).values()}
    return frozenset(Right(verb, group, resource, place) for group, resource, place in homes for verb in _KEPT_BY)


_KEPT_BY = ("get", "create", "update", "delete")
"""The verbs by which what is ours is written; see cluster.books."""


def _is_cluster_wide(right: Right) -> bool:
    at: Resource | None = _BY_PLURAL.get(right.resource.partition("/")[0])
    return not right.namespace or (at is not None and not at.namespaced and at.kind != "Namespace")
