"""What happens by itself in the fake cluster: toy controllers, a toy kubelet, and an application with switches. Each takes its configured time."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chaoskit.model.operation import Exec, Request
from chaoskit.model.resource import Obj
from chaoskit.model.seams import Reply
from tests.fake_store import Store, timestamp


@dataclass
class World:
    """The times, in seconds. None: it never happens."""

    store: Store
    replaced_after_s: float | None = 0.05
    """From a pod's end, or its deletion, until its replacement exists."""
    ready_after_s: float | None = 1.0
    """From a pod's creation or restart until it is ready."""
    terminating_s: float = 0.5
    """How long a deleted pod takes to end, unless its grace period is shorter."""
    endpoints_after_s: float = 0.01
    probed_after_s: float = 3.0
    """From a switch until the kubelet acts on the failing probe."""
    switches: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    """(pod uid, switch) -> (run, when it ends by itself)."""
    files: dict[str, set[str]] = field(default_factory=dict)
    """By pod uid; what touch and rm in a container did."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # ---- pods

    def start_pod(self, owner: Obj, ready: bool = False) -> dict[str, Any]:
        """A pod of a ReplicaSet, on the schedulable node that has the fewest."""
        template, number = owner["spec"]["template"], next(self.numbers)
        meta = {
            "name": f"{owner['metadata']['name']}-{number:05d}",
            "namespace": owner["metadata"]["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": dict(template["metadata"].get("annotations") or {}),
            "ownerReferences": [_owned_by(owner)],
        }
        pod = self.store.put(
            "Pod",
            {
                "metadata": meta,
                "spec": {**template["spec"], "nodeName": self._node()},
                "status": _status(number, ready),
            },
        )
        if not ready and self.ready_after_s is not None:
            _later(self.ready_after_s, self.set_ready, pod, True)
        return pod

    def _node(self) -> str:
        free = [node["metadata"]["name"] for node in self.store.of("Node") if not node["spec"].get("unschedulable")]
        pods = self.store.of("Pod")
        return min(free, key=lambda name: sum(pod["spec"].get("nodeName") == name for pod in pods), default="")

    def set_ready(self, pod: Obj, ready: bool) -> None:
        """The kubelet's word on a pod that still is."""
        live = self.store.current(pod)
        if live is None or (ready and self._fails(live)):
            return
        kept = [c for c in live["status"]["conditions"] if c["type"] != "Ready"]
        containers = [{**c, "ready": ready} for c in live["status"]["containerStatuses"]]
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": timestamp()}
        self.store.change(live, status={"conditions": [*kept, condition], "containerStatuses": containers})
        self.follow(live)

    def end_pod(self, pod: Obj, grace_s: int | None) -> None:
        """Begin the termination of a pod; its controller replaces it meanwhile. Idempotent."""
        if "deletionTimestamp" in pod["metadata"]:
            return
        lasting_s = self.terminating_s if grace_s is None else min(self.terminating_s, grace_s)
        if lasting_s == 0:
            self.store.drop(pod)
        else:
            pod = self.store.change(pod, metadata={"deletionTimestamp": timestamp()})
            _later(lasting_s, self._gone, pod)
        self.follow(pod)
        if self.replaced_after_s is not None:
            _later(self.replaced_after_s, self.replace_missing, pod["metadata"]["namespace"])

    def _gone(self, pod: Obj) -> None:
        live = self.store.current(pod)
        if live is not None:
            self.store.drop(live)
            self.follow(live)

    # ---- controllers

    def replace_missing(self, namespace: str) -> None:
        """Every ReplicaSet gets the pods it lacks."""
        for owner in self.store.of("ReplicaSet", namespace):
            for _ in range(owner["spec"]["replicas"] - len(self._active(owner))):
                self.start_pod(owner)
        self.follow_namespace(namespace)

    def _active(self, owner: Obj) -> list[dict[str, Any]]:
        pods = self.store.of("Pod", owner["metadata"]["namespace"])
        return [pod for pod in pods if _is_owned(pod, owner) and "deletionTimestamp" not in pod["metadata"]]

    def roll_out(self, deployment: Obj, ready: bool = False) -> None:
        """The ReplicaSet and pods of a new Deployment."""
        meta = deployment["metadata"]
        owner = self.store.put(
            "ReplicaSet",
            {
                "metadata": {
                    "name": f"{meta['name']}-1",
                    "namespace": meta["namespace"],
                    "ownerReferences": [_owned_by(deployment)],
                },
                "spec": {key: deployment["spec"][key] for key in ("replicas", "template", "selector")},
            },
        )
        for _ in range(owner["spec"]["replicas"]):
            self.start_pod(owner, ready)
        self.follow_namespace(meta["namespace"])

    def take_down(self, owner: Obj) -> None:
        """What a removed Deployment owned goes with it."""
        for replica_set in self.store.of("ReplicaSet", owner["metadata"].get("namespace", "")):
            if _is_owned(replica_set, owner):
                self.store.drop(replica_set)
                for pod in self._active(replica_set):
                    self.end_pod(pod, None)

    def follow(self, pod: Obj) -> None:
        """Status and endpoints follow a pod a little later."""
        _later(self.endpoints_after_s, self.follow_namespace, pod["metadata"]["namespace"])

    def follow_namespace(self, namespace: str) -> None:
        """Bring what is derived up to date: EndpointSlices, and the counts of ReplicaSets and Deployments."""
        for service in self.store.of("Service", namespace):
            self._follow_service(service)
        for kind in ("ReplicaSet", "Deployment"):
            for owner in self.store.of(kind, namespace):
                self._count(owner)

    def _follow_service(self, service: Obj) -> None:
        meta = service["metadata"]
        labels = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
        endpoints = [_endpoint(pod) for pod in self.store.of("Pod", meta["namespace"], labels)]
        known = self.store.find("EndpointSlice", f"{meta['name']}-1", meta["namespace"])
        if known is not None and known["endpoints"] == endpoints:
            return
        own = {
            "name": f"{meta['name']}-1",
            "namespace": meta["namespace"],
            "labels": {"kubernetes.io/service-name": meta["name"]},
        }
        slice_ = {"addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080}]}
        self.store.put("EndpointSlice", {**slice_, "metadata": own if known is None else known["metadata"]})

    def _count(self, owner: Obj) -> None:
        sets = (
            [owner]
            if owner["kind"] == "ReplicaSet"
            else [s for s in self.store.of("ReplicaSet") if _is_owned(s, owner)]
        )
        pods = [pod for one in sets for pod in self._active(one)]
        ready = sum(is_ready(pod) for pod in pods)
        counts = {
            "replicas": len(pods),
            "updatedReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        if {key: (owner.get("status") or {}).get(key) for key in counts} != counts:
            self.store.change(owner, status={**counts, "observedGeneration": owner["metadata"].get("generation", 0)})

    # ---- the application in a pod

    def answer(self, pod: Obj, request: Request) -> Reply:
        """The switch protocol, version 1, of the sample application."""
        path, _, query = request.path.partition("?")
        name = path.removeprefix("/switches/")
        key = (pod["metadata"]["uid"], name)
        holder, _ends = self.switches.get(key, ("", 0.0))
        if request.method == "GET":
            return Reply(200, {"switch": name, "run": holder}) if holder else Reply(404, {"error": f"{name} is off"})
        run = json.loads(request.body)["run"] if request.method == "PUT" else query.removeprefix("run=")
        if holder and holder != run:
            return Reply(409, {"error": f"{name}: run {holder} holds it"})
        if request.method == "DELETE":
            self._switch_off(pod, key)
            return Reply(200, {"switch": name})
        lasting_s = float(json.loads(request.body)["ttlSeconds"])
        self.switches[key] = (run, asyncio.get_running_loop().time() + lasting_s)
        _later(lasting_s, self._expire, pod, key)
        _later(self.probed_after_s, self._probe, pod, name)
        return Reply(200, {"switch": name, "run": run})

    def _expire(self, pod: Obj, key: tuple[str, str]) -> None:
        if key in self.switches and self.switches[key][1] <= asyncio.get_running_loop().time():
            self._switch_off(pod, key)

    def _switch_off(self, pod: Obj, key: tuple[str, str]) -> None:
        if self.switches.pop(key, None) is not None:
            _later(self.probed_after_s, self.set_ready, pod, True)

    def _fails(self, pod: Obj) -> bool:
        return any(uid == pod["metadata"]["uid"] for uid, _ in self.switches)

    def _probe(self, pod: Obj, name: str) -> None:
        """The kubelet finds out: not ready, and for a failed liveness probe a restart, which turns every switch off."""
        live = self.store.current(pod)
        if live is None or (live["metadata"]["uid"], name) not in self.switches:
            return
        self.set_ready(live, False)
        if name != "liveness":
            return
        for key in [key for key in self.switches if key[0] == live["metadata"]["uid"]]:
            del self.switches[key]
        live = self.store.current(pod) or live
        containers = [{**c, "restartCount": c["restartCount"] + 1} for c in live["status"]["containerStatuses"]]
        self.store.change(live, status={"containerStatuses": containers})
        if self.ready_after_s is not None:
            _later(self.ready_after_s, self.set_ready, live, True)

    def run(self, pod: Obj, command: Exec) -> int:
        """The exit code of touch, rm, test -e, true and false; 127 of anything else."""
        files = self.files.setdefault(pod["metadata"]["uid"], set())
        name, *arguments = command.argv
        paths = {argument for argument in arguments if not argument.startswith("-")}
        if name == "touch":
            files |= paths
        elif name == "rm":
            files -= paths
        return {"touch": 0, "rm": 0, "true": 0, "false": 1, "test": 0 if paths <= files else 1}.get(name, 127)


def is_ready(pod: Obj) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])


def _status(number: int, ready: bool) -> dict[str, Any]:
    return {
        "phase": "Running",
        "podIP": f"10.0.{number // 250}.{number % 250 + 1}",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": "app", "ready": ready, "restartCount": 0, "state": {"running": {}}}],
    }


def _endpoint(pod: Obj) -> dict[str, Any]:
    terminating, ready = "deletionTimestamp" in pod["metadata"], is_ready(pod)
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready and not terminating, "serving": ready, "terminating": terminating},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]},
    }


def _owned_by(owner: Obj) -> dict[str, Any]:
    meta = owner["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


def _is_owned(obj: Obj, owner: Obj) -> bool:
    return any(ref["uid"] == owner["metadata"]["uid"] for ref in obj["metadata"].get("ownerReferences") or ())


def _later(delay_s: float, what: Any, *about: Any) -> None:
    asyncio.get_running_loop().call_later(delay_s, what, *about)
