"""Bring an experiment's own manifests up before it and take them away after it. Reads no file and changes nothing that was there before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chaoskit.cluster.mark import mark_of
from chaoskit.model.errors import AnswerLost, ClusterError, CouldNotRun
from chaoskit.model.operation import Create, Delete, Operation
from chaoskit.model.resource import Json, Obj, Ref, ref_of, resource_of
from chaoskit.model.seams import Reply, View
from chaoskit.semantics.consent import ALLOW_LABEL

LOOK_S = 0.1

LEAVING_S = 120.0
"""How long a namespace of that name that is being deleted, say by the run before this one, may take to be gone, in seconds."""

_ORDER = ("Namespace", "ServiceAccount", "ConfigMap", "Secret", "PodDisruptionBudget", "Service")


class Door(View, Protocol):
    """What setting up needs of a cluster."""

    async def perform(self, op: Operation, mark: str, *, undoing: bool = False) -> Reply: ...

    async def landed(self, op: Operation, mark: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Applied:
    """What was set up. `ours` was created here, in this order, and goes again; `found` was there before, just as it is in the manifests."""

    ours: tuple[Ref, ...] = ()
    found: tuple[Ref, ...] = ()


async def apply(cluster: Door, manifests: Sequence[Obj], namespace: str, run: str) -> Applied:
    """Create what the manifests say, and the namespace if it is missing.

    Raises CouldNotRun when an object is there already and differs; what was created until then is taken away again.
    """
    ours: list[Ref] = []
    found: list[Ref] = []
    try:
        for number, manifest in enumerate(_in_order(manifests, namespace)):
            ref, created = await _created(cluster, manifest, f"{run}/setup.{number}")
            (ours if created else found).append(ref)
    except BaseException:
        # A cancellation too: what half of a setup created must not stay.
        await asyncio.shield(remove(cluster, Applied(tuple(ours)), run))
        raise
    return Applied(tuple(ours), tuple(found))


def _in_order(manifests: Sequence[Obj], namespace: str) -> Iterator[Obj]:
    """The namespace first, then what pods need, then the workloads; each told its namespace."""
    if not any(m.get("kind") == "Namespace" and m["metadata"]["name"] == namespace for m in manifests):
        yield {"kind": "Namespace", "metadata": {"name": namespace, "labels": {ALLOW_LABEL: "true"}}}
    ranked = sorted(manifests, key=lambda m: _ORDER.index(m["kind"]) if m.get("kind") in _ORDER else len(_ORDER))
    for manifest in ranked:
        yield _placed(manifest, namespace)


def _placed(manifest: Obj, namespace: str) -> Obj:
    at = resource_of(str(manifest.get("kind", "")))
    meta = manifest.get("metadata") or {}
    if not meta.get("name"):
        raise CouldNotRun(f"a {at.kind} of the manifests has no metadata.name; generated names are not supported")
    if at.kind == "Namespace":
        # What an experiment brings along it may touch.
        return {**manifest, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), ALLOW_LABEL: "true"}}}
    if not at.namespaced:
        return manifest
    if meta.get("namespace", namespace) != namespace:
        raise CouldNotRun(
            f"{at.kind} {meta['name']} names namespace {meta['namespace']}; the experiment's is {namespace}: leave it out"
        )
    return {**manifest, "metadata": {**meta, "namespace": namespace}}


async def _created(cluster: Door, manifest: Obj, mark: str) -> tuple[Ref, bool]:
    """The pinned object, and whether it was created here."""
    name = Ref(manifest["kind"], manifest["metadata"]["name"], manifest["metadata"].get("namespace", ""))
    if name.kind == "Namespace" and (there := await _staying(cluster, name)) is not None:
        return ref_of(there, name.kind), mark_of(there) == mark
    op = Create(name, manifest)
    try:
        reply = await cluster.perform(op, mark)
    except AnswerLost as lost:
        if not await cluster.landed(op, mark):
            raise CouldNotRun(f"setting up {name}: {lost}") from lost
        reply = Reply(200, await cluster.get(name))
    if 200 <= reply.status < 300:
        return ref_of(reply.body, name.kind), True
    if reply.status != 409:
        raise CouldNotRun(f"setting up {name} was refused ({reply.status}): {reply.body.get('message', '')}")
    return await _as_it_is(cluster, name, manifest), False


async def _staying(cluster: View, name: Ref) -> Obj | None:
    """The live namespace, or None where there is none. One that is being deleted takes nothing new (403) and is waited out."""
    give_up = asyncio.get_running_loop().time() + LEAVING_S
    while (there := await cluster.find(name)) is not None and there["metadata"].get("deletionTimestamp"):
        if asyncio.get_running_loop().time() >= give_up:
            raise CouldNotRun(
                f"{name} is still being deleted after {LEAVING_S:g} s; see its status.conditions, or use another namespace"
            )
        await asyncio.sleep(LOOK_S)
    return there


async def _as_it_is(cluster: Door, name: Ref, manifest: Obj) -> Ref:
    live = await cluster.get(name)
    differing = next(_differences(manifest, live, ""), "")
    if differing:
        raise CouldNotRun(
            f"{name} exists already and differs at {differing}; delete it, or leave setup out of the experiment"
        )
    return ref_of(live, name.kind)


def _differences(wanted: Json, live: Json, path: str) -> Iterator[str]:
    """Where the live object lacks what the manifest says. What the server added is no difference."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        for key, value in wanted.items():
            yield from _differences(value, live.get(key), f"{path}/{key}")
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for number, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from _differences(one, other, f"{path}/{number}")
    elif wanted != live and not (live is None and not wanted and wanted != 0):
        yield path


async def wait_until_available(cluster: View, applied: Applied, within_s: float) -> str:
    """Wait until every Deployment set up has all its replicas available; says what was waited for. Raises CouldNotRun with the last state at the deadline."""
    refs = [ref for ref in (*applied.ours, *applied.found) if ref.kind == "Deployment"]
    begin = asyncio.get_running_loop().time()
    waiting: Mapping[Ref, str] = dict.fromkeys(refs, "not looked at yet")
    try:
        async with asyncio.timeout(within_s):
            while True:
                waiting = {ref: why for ref in waiting if (why := _lacking(await cluster.get(ref)))}
                if not waiting:
                    break
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise CouldNotRun(await _last_state(cluster, waiting, within_s)) from None
    took = asyncio.get_running_loop().time() - begin
    return f"{', '.join(map(str, refs)) or 'no Deployment'} available after {took:.1f} s"


def _lacking(deployment: Obj) -> str:
    """Why a Deployment is not there in full, or "". Source: kubectl, polymorphichelpers rollout_status."""
    wanted = deployment["spec"].get("replicas", 1)
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return "not yet seen by its controller"
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    return "" if min(updated, available) >= wanted else f"{available} of {wanted} available"


async def _last_state(cluster: View, waiting: Mapping[Ref, str], within_s: float) -> str:
    lines = []
    for ref, why in waiting.items():
        pods = await cluster.list("Pod", ref.namespace)
        troubles = [
            f"{pod['metadata']['name']}: {t}"
            for pod in pods
            if (t := _trouble(pod)) and pod["metadata"]["name"].startswith(ref.name + "-")
        ]
        lines.append(f"{ref}: {why} after {within_s:g} s" + (f" ({'; '.join(troubles[:3])})" if troubles else ""))
    return "; ".join(lines)


def _trouble(pod: Obj) -> str:
    """What keeps a pod from being ready, in the kubelet's or scheduler's words."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        if waiting := state.get("waiting"):
            ended = ((container.get("lastState") or {}).get("terminated") or {}).get("exitCode")
            return str(waiting.get("reason", "waiting")) + (f" (exit code {ended})" if ended is not None else "")
        if not container.get("ready"):
            return "running, not ready" if "running" in state else "ended"
    unmet = [c for c in status.get("conditions") or () if c["type"] == "PodScheduled" and c["status"] != "True"]
    return str(unmet[0].get("message", "not scheduled")) if unmet else ""


async def remove(cluster: Door, applied: Applied, run: str) -> Sequence[str]:
    """Delete what was created, by uid, last first. Returns a line for each that could not be; raises nothing the API server caused."""
    left: list[str] = []
    for ref in reversed(applied.ours):
        try:
            reply = await cluster.perform(Delete(ref), f"{run}/setup", undoing=True)
        except ClusterError as error:
            left.append(f"{ref}: {error}")
            continue
        if reply.status >= 300 and reply.status not in (404, 409):
            left.append(f"{ref}: {reply.body.get('message', reply.status)}")
    return left
