"""The limits of the blast radius, checked on the resolved plan and again, on the live objects, before each stage. Refuses with the list; never widens.

Protected always: the namespaces of the cluster itself, control-plane nodes, the pod and the node this runner lives on, and whatever opted
out. On a named cluster a namespace must have opted in. Only evictions may reach beyond that, into namespaces that guards.alsoEvict names.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaoskit.model.errors import ClusterError, CouldNotRun
from chaoskit.model.experiment import Guards
from chaoskit.model.operation import Create, Evict, Operation
from chaoskit.model.plan import ANYWHERE, Grounds
from chaoskit.model.resource import RESOURCES, Obj, Ref
from chaoskit.model.seams import View
from chaoskit.model.step import Stage
from chaoskit.model.subject import Subject
from chaoskit.semantics.consent import ALLOW_LABEL, PROTECTED_NAMESPACES, allows, is_control_plane, opted_out
from chaoskit.semantics.owners import controller_of, controller_uid, named, roots
from chaoskit.semantics.pods import is_active, serves
from chaoskit.semantics.rounding import scaled

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SHOWN = 12
"""How many of a long list a refusal names."""

_NEVER_READY = frozenset({"Job"})
"""Workloads whose pods are not there to serve: none of them has to stay ready."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the touched objects are and who owns them, as it is now.

    `pods` are the active ones of the touched namespaces, `others` the touched objects of other kinds, `owners` the controllers by uid.
    """

    namespaces: Mapping[str, Obj]
    pods: Sequence[Obj]
    owners: Mapping[str, Obj]
    others: Sequence[Obj]
    own_node: str = ""

    def root_of(self, pod: Obj) -> Obj | None:
        """The workload at the top of a pod's chain of controllers, as far as it is known."""
        found = None
        uid = controller_uid(pod)
        while uid in self.owners:
            found = self.owners[uid]
            uid = controller_uid(found)
        return found

    def family(self, root: Obj) -> Sequence[Obj]:
        """The active pods of a root."""
        return [pod for pod in self.pods if (top := self.root_of(pod)) is not None and _uid(top) == _uid(root)]


def grounds(opt_in: bool, environment: Mapping[str, str] = os.environ) -> Grounds:
    """The rules of a place: whether namespaces must have opted in there, and where we run if that is inside a cluster.

    In a cluster our pod is known by the downward API (POD_NAME, POD_NAMESPACE, NODE_NAME), else by the host name and the mounted account.
    """
    if "KUBERNETES_SERVICE_HOST" not in environment:
        return Grounds(opt_in)
    namespace = environment.get("POD_NAMESPACE") or _mounted_namespace()
    name = environment.get("POD_NAME") or environment.get("HOSTNAME", "")
    return Grounds(opt_in, f"{namespace}/{name}" if namespace and name else "", environment.get("NODE_NAME", ""))


def _mounted_namespace() -> str:
    try:
        return _NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


async def check_guards(
    view: View, guards: Guards, subject: Subject, stages: Sequence[Stage], rules: Grounds = ANYWHERE
) -> None:
    """Raises CouldNotRun when the stages would touch what is protected, or more than the guards allow, judged by the objects as they are now."""
    ops = [step.do for stage in stages for step in stage.steps]
    _refuse_many(guards, ops)
    # What no look could permit is refused before anything is looked at.
    _refuse_protected_namespaces(guards, ops)
    facts = await _facts(view, ops, rules)
    _refuse_control_plane(facts)
    _refuse_own(ops, facts, rules)
    _refuse_opted_out(ops, subject, facts)
    if rules.opt_in:
        _refuse_not_opted_in(guards, ops, facts)
    _keep_ready(guards, ops, subject, facts)


def _refuse_many(guards: Guards, ops: Iterable[Operation]) -> None:
    pods = {_key(op.ref) for op in ops if op.ref.kind == "Pod"}
    nodes = {op.ref.name for op in ops if op.ref.kind == "Node"}
    if isinstance(guards.max_pods, int) and len(pods) > guards.max_pods:
        raise CouldNotRun(f"refused: {len(pods)} pods would be touched, guards.maxPods is {guards.max_pods}")
    if len(nodes) > guards.max_nodes:
        raise CouldNotRun(f"refused: {len(nodes)} nodes would be touched, guards.maxNodes is {guards.max_nodes}")


def _key(ref: Ref) -> str:
    return ref.uid or f"{ref.namespace}/{ref.name}"


def _uid(obj: Obj) -> str:
    return str(obj["metadata"]["uid"])


def _place(ref: Ref) -> str:
    """The namespace something lies in, "" for what lies in none. A namespace lies in itself."""
    return ref.name if ref.kind == "Namespace" else ref.namespace


def _permitted(guards: Guards, op: Operation) -> bool:
    return isinstance(op, Evict) and op.ref.namespace in guards.also_evict


def _refuse_protected_namespaces(guards: Guards, ops: Iterable[Operation]) -> None:
    hit = [op.ref for op in ops if _place(op.ref) in PROTECTED_NAMESPACES and not _permitted(guards, op)]
    if hit:
        raise CouldNotRun(
            f"refused: these are protected and would be touched: {_listed(hit)}; choose another target; for a drain a node without "
            f"such pods, or permit it by guards.alsoEvict: [{', '.join(sorted({ref.namespace for ref in hit}))}]"
        )


def _refuse_control_plane(facts: Facts) -> None:
    hit = [_named(obj) for obj in facts.others if obj["kind"] == "Node" and is_control_plane(obj)]
    if hit:
        raise CouldNotRun(
            f"refused: these are protected and would be touched: {_shortened(sorted(hit))} (control plane)"
        )


def _refuse_own(ops: Iterable[Operation], facts: Facts, rules: Grounds) -> None:
    """Our own pod, and the node it runs on: a runner that ends itself undoes nothing."""
    hit = [
        op.ref
        for op in ops
        if (op.ref.kind == "Pod" and f"{op.ref.namespace}/{op.ref.name}" == rules.own_pod)
        or (op.ref.kind == "Node" and op.ref.name == facts.own_node)
    ]
    if hit:
        raise CouldNotRun(f"refused: this runner itself lives there: {_listed(hit)}; run it from elsewhere")


def _refuse_opted_out(ops: Sequence[Operation], subject: Subject, facts: Facts) -> None:
    touched = {_key(op.ref) for op in ops}
    pods = [pod for pod in facts.pods if _uid(pod) in touched]
    chain = [owner for obj in (*pods, *facts.others) for owner in _above(obj, facts)]
    concerned = (*pods, *facts.others, *chain, *facts.namespaces.values(), *subject.workloads)
    hit = {_named(obj) for obj in concerned if opted_out(obj)}
    if hit:
        raise CouldNotRun(f"refused: opted out of experiments and would be touched: {_shortened(sorted(hit))}")


def _above(obj: Obj, facts: Facts) -> Iterable[Obj]:
    uid = controller_uid(obj)
    while uid in facts.owners:
        yield facts.owners[uid]
        uid = controller_uid(facts.owners[uid])


def _refuse_not_opted_in(guards: Guards, ops: Sequence[Operation], facts: Facts) -> None:
    hit = [
        op.ref for op in ops if _place(op.ref) and not _permitted(guards, op) and not _allowed(facts, _place(op.ref))
    ]
    if not hit:
        return
    places = sorted({_place(ref) for ref in hit})
    evicting = all(isinstance(op, Evict) for op in ops if op.ref in hit)
    raise CouldNotRun(
        f"refused: the namespace{'s' * (len(places) > 1)} {', '.join(places)} did not opt in and these would be touched: {_listed(hit)}; "
        f"to allow experiments there: kubectl label namespace {' '.join(places)} {ALLOW_LABEL}=true"
        + (f"; or permit the evictions alone by guards.alsoEvict: [{', '.join(places)}]" if evicting else "")
    )


def _allowed(facts: Facts, namespace: str) -> bool:
    return namespace in facts.namespaces and allows(facts.namespaces[namespace])


def _keep_ready(guards: Guards, ops: Sequence[Operation], subject: Subject, facts: Facts) -> None:
    touched = {_key(op.ref) for op in ops if op.ref.kind == "Pod"}
    hit = [pod for pod in facts.pods if _uid(pod) in touched]
    above = [root for pod in hit if (root := facts.root_of(pod)) is not None]
    for root in {_uid(root): root for root in above}.values():
        family = facts.family(root)
        mine = [pod for pod in family if _uid(pod) in touched]
        _refuse_share(guards, root, len(mine), len(family))
        kept = [pod for pod in family if _uid(pod) not in touched and serves(pod)]
        if len(kept) < guards.min_ready and root["kind"] not in _NEVER_READY:
            raise CouldNotRun(
                f"refused: {len(kept)} ready pods of {_named(root)} would be left untouched, "
                f"guards.minReady is {guards.min_ready}; set guards.minReady to {len(kept)} if that is what you want to find out"
            )


def _refuse_share(guards: Guards, root: Obj, touched: int, of: int) -> None:
    """A percentage rounds down: of three pods 50 % is one."""
    if not isinstance(guards.max_pods, str):
        return
    most = scaled(guards.max_pods, of, up=False)
    if touched > most:
        raise CouldNotRun(
            f"refused: {touched} of {of} pods of {_named(root)} would be touched, guards.maxPods is {guards.max_pods}, which is {most}"
        )


def _named(obj: Obj) -> str:
    return f"{str(obj['kind']).lower()} {named(obj)}"


def _listed(refs: Iterable[Ref]) -> str:
    return _shortened(sorted({str(ref) for ref in refs}))


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


# -- looking -----------------------------------------------------------------------------------------------------------------


async def _facts(view: View, ops: Sequence[Operation], rules: Grounds) -> Facts:
    places = sorted({_place(op.ref) for op in ops} - {""})
    namespaces = await asyncio.gather(*(_namespace(view, place, rules) for place in places))
    touched = {op.ref.uid for op in ops if op.ref.kind == "Pod"}
    housed = sorted({op.ref.namespace for op in ops if op.ref.kind == "Pod"})
    pods = [
        {**pod, "kind": "Pod"}
        for group in await asyncio.gather(*(view.list("Pod", place) for place in housed))
        for pod in group
        if is_active(pod)
    ]
    others = await _live(view, [op.ref for op in ops if op.ref.kind != "Pod" and not isinstance(op, Create)])
    owners = await _owners(view, [*(pod for pod in pods if _uid(pod) in touched), *others])
    found = {place: live for place, live in zip(places, namespaces, strict=True) if live is not None}
    return Facts(found, pods, owners, others, await _own_node(view, ops, rules))


async def _live(view: View, refs: Iterable[Ref]) -> Sequence[Obj]:
    found = await asyncio.gather(*(_owner(view, ref) for ref in dict.fromkeys(refs)))
    return [obj for obj in found if obj is not None]


async def _own_node(view: View, ops: Iterable[Operation], rules: Grounds) -> str:
    """The node we run on, if it matters and is known; our own pod tells when the environment does not."""
    if rules.own_node or not rules.own_pod or not any(op.ref.kind == "Node" for op in ops):
        return rules.own_node
    namespace, _, name = rules.own_pod.partition("/")
    own = await view.find(Ref("Pod", name, namespace))
    return "" if own is None else str(own["spec"].get("nodeName", ""))


async def _namespace(view: View, name: str, rules: Grounds) -> Obj | None:
    try:
        found = await view.find(Ref("Namespace", name))
    except ClusterError as error:
        if error.status == 403 and rules.opt_in:
            return None  # what may not be looked at did not opt in: then the refusal lists what would be hit there
        raise CouldNotRun(
            f"whether namespace {name} allows experiments cannot be looked up: {error}; grant: get namespaces"
        ) from error
    return None if found is None else {**found, "kind": "Namespace"}


async def _owners(view: View, touched: Sequence[Obj]) -> Mapping[str, Obj]:
    """The controllers above the touched pods, all the way up, by uid; of a Deployment all its ReplicaSets, so that no pod of it is overlooked."""
    found: dict[str, Obj] = {}
    above = _controllers(touched)
    while above:
        live = [owner for ref in above if (owner := await _owner(view, ref)) is not None]
        found |= {_uid(owner): owner for owner in live}
        above = _controllers(live)
    for root in roots(found.values()):
        if root["kind"] == "Deployment":
            sets = await view.list("ReplicaSet", root["metadata"]["namespace"])
            found |= {_uid(one): {**one, "kind": "ReplicaSet"} for one in sets if controller_uid(one) == _uid(root)}
    return found


def _controllers(of: Iterable[Obj]) -> Sequence[Ref]:
    """The distinct controllers of kinds that we know."""
    refs = [
        Ref(str(owner["kind"]), str(owner["name"]), str(obj["metadata"].get("namespace", "")), str(owner["uid"]))
        for obj in of
        if (owner := controller_of(obj)) is not None and owner["kind"] in RESOURCES
    ]
    return list(dict.fromkeys(refs))


async def _owner(view: View, ref: Ref) -> Obj | None:
    found = await view.find(ref)
    return None if found is None else {**found, "kind": ref.kind}
