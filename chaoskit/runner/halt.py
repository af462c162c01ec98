"""The halt switch of a cluster: a ConfigMap that every run looks at before each mutation. Reads and sets it; stops nothing itself."""

from __future__ import annotations

from chaoskit.cluster.mark import OWN_LABELS
from chaoskit.model.errors import ClusterError, CouldNotRun, NotFound
from chaoskit.model.resource import Ref
from chaoskit.model.seams import Cluster, View
from chaoskit.runner.place import provided

NAME = "chaoskit-halt"


async def halted(view: View, namespace: str) -> str:
    """Why every run has to stop, "" when none has. Whoever may not read the switch is not bound by it. Raises ClusterError when it cannot be read."""
    try:
        switch = await view.find(Ref("ConfigMap", NAME, namespace))
    except ClusterError as error:
        if error.status == 403:
            return ""
        raise
    if switch is None:
        return ""
    said = (switch.get("data") or {}).get("because", "")
    return f"chaoskit is halted on this cluster (ConfigMap {namespace}/{NAME})" + (f": {said}" if said else "")


async def set_halt(cluster: Cluster, namespace: str, because: str) -> None:
    """Turn the switch on; that it is on already is no error. Raises CouldNotRun when it cannot be."""
    await provided(cluster, namespace)
    meta = {"name": NAME, "namespace": namespace, "labels": dict(OWN_LABELS)}
    try:
        await cluster.keep({"kind": "ConfigMap", "metadata": meta, "data": {"because": because}})
    except ClusterError as error:
        if error.status != 409:
            raise


async def lift_halt(cluster: Cluster, namespace: str) -> bool:
    """Turn the switch off; False when it was not on."""
    try:
        switch = await cluster.get(Ref("ConfigMap", NAME, namespace))
    except NotFound:
        return False
    await cluster.drop(Ref("ConfigMap", NAME, namespace, switch["metadata"]["uid"]))
    return True


async def refuse_halted(view: View, namespace: str) -> None:
    """Raises CouldNotRun when the switch is on."""
    because = await halted(view, namespace)
    if because:
        raise CouldNotRun(f"{because}; `chaoskit halt --off` lifts it")
