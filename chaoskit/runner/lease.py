"""Leases on targets: one runner at a time, told apart by epoch. Compares versions it saw itself; never a remote clock with ours.

Source: coordination.k8s.io/v1; a Lease alone does not fence, so whoever holds one checks it before each mutation.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

from chaoskit.cluster.mark import OWN_LABELS, RUN_LABEL
from chaoskit.model.errors import ClusterError, CouldNotRun
from chaoskit.model.resource import Json, Obj, Ref
from chaoskit.model.seams import Cluster, View
from chaoskit.runner.holder import Holder, is_dead_here

EPOCH = "chaoskit.dev/epoch"
PROCESS = "chaoskit.dev/process"
TARGET = "chaoskit.dev/target"

TTL_S = 30.0
"""A lease that was not seen to be renewed for so long has no living holder, in seconds."""
RENEW_S = 5.0
"""How often a holder renews, in seconds."""
FENCE_S = TTL_S / 2
"""A holder whose last renewal is older than this stops by itself, in seconds: well before anybody else may take over."""
LOOK_S = 1.0


class Busy(CouldNotRun):
    """Somebody else is at work on the target."""


def lease_ref(namespace: str, what: str) -> Ref:
    """The lease of a target ("deployment shop/checkout"), in the namespace where it is kept."""
    return Ref("Lease", f"chaoskit-{hashlib.sha256(what.encode()).hexdigest()[:12]}", namespace)


def run_of(lease: Obj) -> str:
    return str((lease["metadata"].get("labels") or {}).get(RUN_LABEL, ""))


def epoch_of(lease: Obj) -> int:
    text = str((lease["metadata"].get("annotations") or {}).get(EPOCH, ""))
    return int(text) if text.isdigit() else 0


def holder_of(lease: Obj) -> str:
    """In words for people, "" when it was given back."""
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def is_holders(lease: Obj, held: Obj) -> bool:
    """Whether the live lease is still the very one that was taken: same object, holder and epoch."""
    return (
        bool(lease["metadata"].get("uid") == held["metadata"].get("uid"))
        and holder_of(lease) == holder_of(held)
        and epoch_of(lease) == epoch_of(held)
    )


async def take(cluster: Cluster, ref: Ref, what: str, holder: Holder, *, forced: bool = False) -> Obj:
    """Take the lease of a target, from nobody or from the dead. Raises Busy with who holds it, ClusterError when it cannot be written."""
    while True:
        live = await cluster.find(Ref(ref.kind, ref.name, ref.namespace))
        if live is not None and run_of(live) != holder.run and not forced and await is_alive(cluster, live):
            raise Busy(
                f"{what} is being worked on by run {holder_of(live)}: lease {ref.namespace}/{ref.name}, renewed "
                f"{(live.get('spec') or {}).get('renewTime', '?')}; wait for its end"
            )
        try:
            return await cluster.keep(_taken(live, ref, what, holder))
        except ClusterError as error:
            if error.status != 409:
                raise


async def is_alive(view: View, lease: Obj) -> bool:
    """Whether the holder was seen to renew, or gave it to somebody else, within the time to live. A holder that is known to be dead is not waited for."""
    if not holder_of(lease) or is_dead_here(str((lease["metadata"].get("annotations") or {}).get(PROCESS, ""))):
        return False
    loop = asyncio.get_running_loop()
    give_up = loop.time() + TTL_S
    name = Ref("Lease", lease["metadata"]["name"], lease["metadata"]["namespace"])
    while loop.time() < give_up:
        await asyncio.sleep(LOOK_S)
        live = await view.find(name)
        if live is None:
            return False
        if live["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]:
            return bool(holder_of(live))
    return False


async def renew(cluster: Cluster, held: Obj, within_s: float) -> Obj:
    """The lease, renewed. Raises ClusterError 409 when it is not ours any more."""
    return await cluster.keep({**held, "spec": {**held["spec"], "renewTime": _now()}}, within_s)


async def release(cluster: Cluster, held: Obj) -> None:
    """Give the lease back, if it is still ours: the object goes, nothing of us stays."""
    meta = held["metadata"]
    live = await cluster.find(Ref("Lease", meta["name"], meta["namespace"]))
    if live is not None and is_holders(live, held):
        await cluster.drop(Ref("Lease", meta["name"], meta["namespace"], meta["uid"]))


def _taken(live: Obj | None, ref: Ref, what: str, holder: Holder) -> Mapping[str, Json]:
    now = _now()
    meta: dict[str, Json] = {"name": ref.name, "namespace": ref.namespace}
    if live is not None:
        meta |= {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
    epoch = 1 if live is None else epoch_of(live) + 1
    meta["labels"] = {**OWN_LABELS, RUN_LABEL: holder.run}
    meta["annotations"] = {EPOCH: str(epoch), PROCESS: holder.process, TARGET: what}
    spec = {
        "holderIdentity": holder.identity,
        "leaseDurationSeconds": round(TTL_S),
        "acquireTime": now,
        "renewTime": now,
        "leaseTransitions": epoch - 1,
    }
    return {"kind": "Lease", "metadata": meta, "spec": spec}


def _now() -> str:
    """Our wall clock as a MicroTime: for people to read, and so that each renewal differs."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
