"""Histories in three lines: Kubernetes objects over time and synthetic requests, through the same events a run writes. Times in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chaoskit.model.event import Event
from chaoskit.model.history import History
from chaoskit.model.operation import Create, Delete, Evict, Operation
from chaoskit.model.operation import Request as PodRequest
from chaoskit.model.requests import Request, Requests
from chaoskit.model.resource import Obj, Ref
from chaoskit.model.step import Answers, FieldIs, Gone, Until, step, step_to_json
from chaoskit.model.subject import Subject, subject_to_json
from chaoskit.model.verdict import Window

LABELS = {"app": "shop"}


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def window(name: str, start: float, end: float) -> Window:
    return Window(name, 0, ns(start), ns(end))


# ---- objects


def owner(kind: str, uid: str) -> dict[str, Any]:
    return {"kind": kind, "uid": uid, "name": uid, "controller": True}


def pod(
    name: str,
    *,
    ready: bool = True,
    terminating: bool = False,
    owned_by: str = "rs",
    restarts: int = 0,
    container: Mapping[str, Any] | None = None,
    containers: Sequence[Mapping[str, Any]] | None = None,
    started: str = "2026-03-01T10:00:00Z",
    ready_since: str = "2026-03-01T10:00:02Z",
    labels: Mapping[str, str] = LABELS,
    node: str = "n1",
    phase: str = "Running",
    ip: str = "10.0.0.1",
    **spec: Any,
) -> Obj:
    """A pod whose uid is its name; `container` adds fields to its one container."""
    built = list(containers) if containers is not None else [{"name": "app", **(container or {})}]
    meta: dict[str, Any] = {"name": name, "namespace": "shop", "uid": name, "labels": dict(labels)}
    if owned_by:
        meta["ownerReferences"] = [owner("ReplicaSet", owned_by)]
    if terminating:
        meta["deletionTimestamp"] = "2026-03-01T11:00:00Z"
    return {
        "kind": "Pod",
        "metadata": meta,
        "spec": {"nodeName": node, "containers": built, **spec},
        "status": {
            "phase": phase,
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": ready_since}],
            "containerStatuses": [
                {
                    "name": each["name"],
                    "restartCount": restarts,
                    "containerID": f"containerd://{name}-{restarts}",
                    "state": {"running": {"startedAt": started}},
                }
                for each in built
            ],
        },
    }


def deployment(name: str = "shop", *, uid: str = "d", replicas: int | None = 3) -> Obj:
    spec: dict[str, Any] = {"selector": {"matchLabels": LABELS}}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"kind": "Deployment", "metadata": {"name": name, "namespace": "shop", "uid": uid}, "spec": spec}


def replicaset(name: str = "shop-1", *, uid: str = "rs", owned_by: str = "d", replicas: int = 3) -> Obj:
    meta = {"name": name, "namespace": "shop", "uid": uid, "ownerReferences": [owner("Deployment", owned_by)]}
    return {"kind": "ReplicaSet", "metadata": meta, "spec": {"replicas": replicas}}


def service(name: str = "shop", *, selector: Mapping[str, str] | None = LABELS, **spec: Any) -> Obj:
    meta = {"name": name, "namespace": "shop", "uid": f"svc-{name}"}
    return {"kind": "Service", "metadata": meta, "spec": {**({"selector": dict(selector)} if selector else {}), **spec}}


def endpoint_slice(*ready: str, of: str = "shop", uid: str = "slice", draining: Iterable[str] = ()) -> Obj:
    """A slice that lists these pods as ready, and others as terminating."""
    listed = [(name, {"ready": True}) for name in ready]
    listed += [(name, {"ready": False, "serving": True, "terminating": True}) for name in draining]
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "name": uid,
            "namespace": "shop",
            "uid": uid,
            "labels": {"kubernetes.io/service-name": of},
        },
        "endpoints": [
            {"conditions": conditions, "targetRef": {"kind": "Pod", "name": name, "uid": name}}
            for name, conditions in listed
        ],
    }


def node(name: str, *, ready: bool = True, labels: Mapping[str, str] | None = None, **spec: Any) -> Obj:
    return {
        "kind": "Node",
        "metadata": {"name": name, "uid": f"node-{name}", "labels": dict(labels or {})},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def shop(*pods: Obj, services: Sequence[Obj] | None = None, victims: Sequence[str] = ()) -> Subject:
    """A Deployment of three behind a Service, on two nodes."""
    found = pods or tuple(pod(name) for name in "abc")
    return Subject(
        workloads=(deployment(), replicaset()),
        pods=found,
        services=tuple([service()] if services is None else services),
        nodes=(node("n1"), node("n2")),
        victims=tuple(victims),
    )


# ---- what happened


class Told:
    """Collects events in any order; `history` puts them in order of time."""

    def __init__(self, subject: Subject | None = None, *, rate: float | None = 100.0, timeout: float = 2.0) -> None:
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.requests = Requests()
        self.subject = shop() if subject is None else subject
        traffic = {"rate": rate, "timeout": timeout, "arrivals": "constant", "model": "open"}
        self._tell(-1.0, "planned", subject=subject_to_json(self.subject), traffic=traffic)

    def _tell(self, at: float, kind: str, **data: Any) -> Told:
        self.events.append((at, kind, data))
        return self

    def phases(self, **begins: float) -> Told:
        """Phase begins by name, such as baseline=0, inject=10; an underscore stands for a hyphen."""
        for name, at in begins.items():
            self._tell(at, "phase", name=name.replace("_", "-"), round=0)
        return self

    def see(self, feed: str, at: float, *objects: Obj, type: str = "MODIFIED") -> Told:
        for obj in objects:
            self._tell(at, "seen", feed=feed, type=type, obj=obj)
        return self

    def gone(self, feed: str, at: float, *objects: Obj) -> Told:
        return self.see(feed, at, *objects, type="DELETED")

    def settled_shop(self, at: float = 0.0) -> Told:
        """The subject as it is, on all feeds."""
        self.see("workloads", at, *self.subject.workloads).see("pods", at, *self.subject.pods)
        ready = [each["metadata"]["name"] for each in self.subject.pods]
        return self.see("endpoints", at, endpoint_slice(*ready))

    def deaf(self, feed: str, start: float, end: float) -> Told:
        return self._tell(end, "feed.gap", feed=feed, start=ns(start), end=ns(end), because="the watch was cut")

    def intend(self, at: float, op: Operation, id: str = "0.0") -> Told:
        made = step(op, Until(_witness(op), 10.0))
        return self._tell(at, "stage.intended", stage=0, round=0, steps=[{**step_to_json(made), "id": id}])

    def done(self, at: float, id: str = "0.0") -> Told:
        return self._tell(at, "step.done", id=id, status=200, seconds=0.01)

    def seen(self, at: float, id: str = "0.0") -> Told:
        return self._tell(at, "step.seen", id=id, because="seen")

    def undone(self, at: float, id: str = "0.0", how: str = "undone") -> Told:
        return self._tell(at, "step.undone", id=id, how=how, because="")

    def refused(self, at: float, status: int, because: str, id: str = "0.0") -> Told:
        return self._tell(at, "step.refused", id=id, status=status, because=because)

    def unseen(self, at: float, id: str = "0.0") -> Told:
        return self._tell(at, "step.unseen", id=id, because="not seen within 10 s")

    def object_gone(self, at: float, id: str = "0.0") -> Told:
        return self._tell(at, "step.gone", id=id, because="not found")

    def done_and_seen(self, at: float, op: Operation, id: str = "0.0") -> Told:
        return self.intend(at, op, id).done(at, id).seen(at, id)

    def health(self, at: float, kind: str = "traffic.health", **counts: Any) -> Told:
        return self._tell(at, kind, **counts)

    def traffic(
        self,
        start: float,
        end: float,
        *,
        rate: float = 100.0,
        bad: Callable[[float], bool] = lambda t: False,
        latency: Callable[[float], float] = lambda t: 0.01,
        who: Callable[[int], str] = lambda i: "abc"[i % 3],
        status: int = 0,
        error: str = "refused.connect",
        policy: str = "fresh",
        late: float = 0.0,
    ) -> Told:
        """Evenly spaced requests; a bad one has `status`, and `error` when that is 0."""
        for i in range(round((end - start) * rate)):
            at = start + i / rate
            failed = bad(at)
            named = "" if failed and not status else who(i)
            self.requests.append(
                Request(
                    len(self.requests),
                    ns(at),
                    ns(at + late),
                    ns(at + latency(at)),
                    status if failed else 200,
                    error if failed and not status else "",
                    pod=named,
                    policy=policy,
                )
            )
        return self

    def history(self) -> History:
        history = History()
        for seq, (at, kind, data) in enumerate(sorted(self.events, key=lambda event: event[0])):
            history.add(Event(seq, ns(at), kind, data))
        history.requests = self.requests.ordered()
        return history


def _witness(op: Operation) -> Gone | FieldIs | Answers:
    match op:
        case Delete() | Evict():
            return Gone(op.ref)
        case PodRequest():
            return Answers(op.ref, op.port, op.path, 200)
        case _:
            return FieldIs(op.ref, "/spec/replicas", 1)


def kill(name: str) -> Operation:
    return Delete(Ref("Pod", name, "shop", name))


def evict(name: str) -> Operation:
    return Evict(Ref("Pod", name, "shop", name))


def switch(name: str) -> Operation:
    return PodRequest(Ref("Pod", name, "shop", name), 9000, "PUT", "/switches/liveness")


def create_canary(name: str = "shop-canary") -> Operation:
    return Create(Ref("Deployment", name, "shop"), {})
