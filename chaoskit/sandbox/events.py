"""Events about objects, as `kubectl describe` shows them: repeats raise a count. Written through the registry like all else."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from chaoskit.sandbox import clock
from chaoskit.sandbox.errors import ApiError
from chaoskit.sandbox.registry import Obj, Registry, thaw


def record(
    registry: Registry, involved: Obj, type_: str, reason: str, message: str, component: str, *, field: str = ""
) -> None:
    """Record an event about an object (`type_` Normal or Warning); a repeat raises count and lastTimestamp.

    An event that the API refuses, in a namespace that is going away for one, is lost, as it is upstream.
    """
    reference = reference_to(involved)
    if field:
        reference["fieldPath"] = field
    namespace = reference.get("namespace", "default")
    name = _name(reference, type_, reason, message, component)
    try:
        _write(registry, namespace, name, reference, (type_, reason, message, component))
    except ApiError:
        return


def reference_to(obj: Obj) -> Obj:
    """core/v1 ObjectReference of an object."""
    metadata = obj["metadata"]
    reference = {"kind": obj["kind"], "namespace": metadata.get("namespace"), "name": metadata["name"]}
    reference |= {
        "uid": metadata["uid"],
        "apiVersion": obj["apiVersion"],
        "resourceVersion": metadata["resourceVersion"],
    }
    return {key: value for key, value in reference.items() if value}


def expire(registry: Registry) -> int:
    """Remove events older than their time to live; answers how many."""
    horizon = clock.render(clock.now() - timedelta(seconds=registry.settings.timings.event_ttl_s))
    old = [event for event in registry.list("events") if _last_seen(event) < horizon]
    for event in old:
        registry.delete("events", event["metadata"]["namespace"], event["metadata"]["name"], actor="event-ttl")
    return len(old)


def _last_seen(event: Obj) -> str:
    return str(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])


def _name(reference: Obj, type_: str, reason: str, message: str, component: str) -> str:
    """One name per distinct event, so that a repeat finds the first."""
    said = "\0".join((reference["uid"], reference.get("fieldPath", ""), type_, reason, message, component))
    return f"{reference['name'][:200]}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _write(registry: Registry, namespace: str, name: str, reference: Obj, said: tuple[str, str, str, str]) -> None:
    seen = registry.find("events", namespace, name)
    if seen is not None:
        again = thaw(seen) | {"count": seen.get("count", 1) + 1, "lastTimestamp": clock.stamp()}
        registry.update("events", namespace, name, again, actor=said[3])
        return
    type_, reason, message, component = said
    event = {
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": reference,
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "firstTimestamp": clock.stamp(),
        "lastTimestamp": clock.stamp(),
        "count": 1,
        "type": type_,
        "reportingComponent": component,
        "reportingInstance": "",
    }
    registry.create("events", namespace, event, actor=component)
