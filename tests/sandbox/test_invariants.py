"""What holds whatever happens: random calls, crashes and lost nodes against the registry with all its controllers.

`CHAOSKIT_EXAMPLES=500 pytest tests/sandbox/test_invariants.py --timeout 0` looks longer than the suite does.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from kubernetes import client

from chaoskit.sandbox import eviction
from chaoskit.sandbox.controllers import deployment
from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.controllers.rollout import empty_old, is_rolling, size, surge_and_unavailable
from chaoskit.sandbox.facts.pods import is_active, is_deleting, is_finished, is_ready
from chaoskit.sandbox.kinds import KINDS
from chaoskit.sandbox.registry import ApiError, Obj
from chaoskit.sandbox.store import Change

from . import controlled
from .controlled import PATIENT, World, end_pod, set_ready, world

BRISK = dataclasses.replace(
    PATIENT,
    default_not_ready_toleration_s=0,
    default_unreachable_toleration_s=0,
    pod_initial_backoff_s=0.001,
    pod_max_backoff_s=0.01,
    job_pod_failure_backoff_s=0.0,
    job_sync_batch_s=0.0,
    pod_gc_period_s=0.01,
    pod_gc_quarantine_s=0.02,
    node_monitor_period_s=0.01,
)
QUIET_S, PATIENCE_S = 0.02, 30.0
"""A controller that was refused again and again tries only every ten seconds, so patience is more than that."""
WORKLOADS = ("deployments", "statefulsets", "daemonsets", "jobs")
IMAGES = ("good:1", "good:2", "broken:1")
Seen = dict[tuple[str, str, str], Obj]


def body(resource: str) -> Obj:
    if resource == "deployments":
        return controlled.workload("Deployment", "deployments", 3)
    if resource == "statefulsets":
        return controlled.stateful("statefulsets", 2)
    if resource == "daemonsets":
        return controlled.daemons("daemonsets")
    return controlled.job("jobs", parallelism=2, completions=3, backoffLimit=3)


def budget() -> Obj:
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "deployments"}}}
    return {"metadata": {"name": "budget"}, "spec": spec}


class Cluster(RuleBasedStateMachine):
    """Everything is done through the registry, as clients and kubelets do it."""

    here: World

    def __init__(self) -> None:
        super().__init__()
        crashes.clear()
        self.loop = asyncio.new_event_loop()
        self.context = world(timings=BRISK)
        self.here = self.do(self.context.__aenter__())
        self.registry = self.here.registry
        self.watch = self.registry.subscribe(*KINDS)
        self.seen: Seen = {}
        self.last_revision = 0
        self.floor_holds = False
        self.replay()
        self.snapshots: list[tuple[int, list[Obj]]] = []

    def do(self, story: Any) -> Any:
        return self.loop.run_until_complete(story)

    def pass_time(self, seconds: float = 0.004) -> None:
        self.do(asyncio.sleep(seconds))

    def settle(self, fact: Callable[[], bool] = lambda: True, because: str = "it comes to rest") -> None:
        """Until nothing is written for a while and the fact holds."""
        began_s = self.loop.time()
        while True:
            before = self.registry.store.revision
            self.pass_time(QUIET_S)
            if self.registry.store.revision == before and fact():
                return
            assert self.loop.time() - began_s < PATIENCE_S, f"not seen: {because}: {self.unsettled()}"

    # -- what clients do

    @initialize()
    def begin(self) -> None:
        for resource in ("deployments", "statefulsets"):
            self.here.apply(resource, body(resource))
        self.here.apply("poddisruptionbudgets", budget())
        service = {"selector": {"app": "deployments"}, "ports": [{"port": 80}]}
        self.here.apply("services", {"metadata": {"name": "web"}, "spec": service})
        self.settle()

    @rule(resource=st.sampled_from(WORKLOADS))
    def create(self, resource: str) -> None:
        self.attempt(lambda: self.here.apply(resource, body(resource)))

    @rule(resource=st.sampled_from(WORKLOADS), propagation=st.sampled_from(["Background", "Foreground", "Orphan"]))
    def delete(self, resource: str, propagation: str) -> None:
        self.disturb()
        where = (resource, "shop", resource)
        self.attempt(lambda: self.registry.delete(*where, actor="test", propagation=propagation))

    @rule(resource=st.sampled_from(WORKLOADS[:2]), replicas=st.integers(0, 5))
    def scale(self, resource: str, replicas: int) -> None:
        self.disturb()
        self.attempt(lambda: self.here.patch(resource, resource, {"spec": {"replicas": replicas}}))

    @rule(resource=st.sampled_from(WORKLOADS[:3]), image=st.sampled_from(IMAGES))
    def roll(self, resource: str, image: str) -> None:
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
        where = (resource, "shop", resource)
        self.attempt(lambda: self.registry.patch(*where, patch, style="strategic", actor="test"))

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.attempt(lambda: self.here.patch("deployments", "deployments", {"spec": {"paused": paused}}))

    @rule(pick=st.integers(0, 50), grace=st.sampled_from([None, 0]))
    def delete_pod(self, pick: int, grace: int | None) -> None:
        self.disturb()
        for name in self.picked(pick):
            self.attempt(partial(self.registry.delete, "pods", "shop", name, actor="test", grace_s=grace))

    @rule(pick=st.integers(0, 50))
    def release_pod(self, pick: int) -> None:
        self.disturb()
        for name in self.picked(pick):
            self.attempt(partial(self.here.patch, "pods", name, {"metadata": {"labels": {"app": "else"}}}))

    @rule(count=st.integers(1, 4))
    def evict(self, count: int) -> None:
        """Of ready pods no more go than the budget can spare, however fast the requests follow each other."""
        self.disturb()
        self.settle()
        guard = self.registry.get("poddisruptionbudgets", "shop", "budget")["status"]
        granted = 0
        for pod in [each for each in self.guarded() if is_ready(each)][:count]:
            granted += self.attempt(partial(self.registry.evict, "shop", pod["metadata"]["name"], actor="test"))
        assert granted <= guard["disruptionsAllowed"]
        healthy = sum(is_ready(pod) for pod in self.guarded())
        assert not granted or healthy >= guard["desiredHealthy"], f"{healthy} of {guard}"

    # -- what befalls pods and nodes

    @rule(pick=st.integers(0, 50), code=st.sampled_from([0, 1]))
    def end(self, pick: int, code: int) -> None:
        self.disturb()
        for name in self.picked(pick, lambda pod: bool(pod["status"].get("podIP"))):
            end_pod(self.registry, self.registry.get("pods", "shop", name), code)

    @rule(pick=st.integers(0, 50), ready=st.booleans())
    def flip(self, pick: int, ready: bool) -> None:
        self.disturb()
        for name in self.picked(pick, lambda pod: pod["status"]["phase"] == "Running"):
            set_ready(self.registry, self.registry.get("pods", "shop", name), ready)

    @rule(name=st.sampled_from(["node-1", "node-2"]))
    def lose(self, name: str) -> None:
        self.disturb()
        self.here.down.add(name)
        self.set_node(name, "Unknown")

    @rule(name=st.sampled_from(["node-1", "node-2"]))
    def bring_back(self, name: str) -> None:
        self.disturb()
        if self.registry.find("nodes", "", name) is None:
            fresh = controlled.node(name)
            self.registry.create("nodes", "", fresh, actor="test")
            self.registry.update("nodes", "", name, fresh, actor="test", subresource="status")
        self.here.down.discard(name)
        self.set_node(name, "True")
        for pod in self.registry.list("pods"):
            if pod["spec"].get("nodeName") == name:
                self.here.tend(pod)
                self.recover(pod)

    def recover(self, pod: Obj) -> None:
        if pod["status"]["phase"] == "Running" and not is_deleting(pod):
            broken = pod["spec"]["containers"][0]["image"].startswith("broken")
            set_ready(self.registry, pod, not broken)

    @rule(name=st.sampled_from(["node-1", "node-2"]))
    def remove_node(self, name: str) -> None:
        self.disturb()
        self.here.down.add(name)
        self.attempt(lambda: self.registry.delete("nodes", "", name, actor="test"))

    @rule(cordoned=st.booleans())
    def cordon(self, cordoned: bool) -> None:
        patch = {"spec": {"unschedulable": cordoned or None}}
        self.registry.patch("nodes", "", "node-3", patch, style="merge", actor="test")

    @precondition(lambda self: not self.here.down)
    @rule()
    def come_to_rest(self) -> None:
        self.settle()
        self.floor_holds = not self.here.down and self.here_is_whole()

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.03]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    # -- what always holds

    @invariant()
    def changes_replay_to_what_is_listed(self) -> None:
        self.pass_time(0.001)
        self.replay()
        listed = {self.place(kind, obj): obj for kind in KINDS for obj in self.registry.list(kind)}
        assert self.seen == listed

    @invariant()
    def no_controller_crashed(self) -> None:
        assert not crashes, crashes

    @invariant()
    def the_past_can_be_told(self) -> None:
        """A list at an earlier revision is what was there then."""
        self.snapshots.append((self.registry.store.revision, self.registry.list("pods")))
        revision, then = self.snapshots[len(self.snapshots) // 2]
        assert [version.obj for version in self.registry.store.at("pods", "", revision)] == then

    def replay(self) -> None:
        for change in self.watch.pending():
            key = self.place(change.resource, change.obj)
            live = change.after.revision > self.last_revision or change.before is None
            assert live, f"{change.type} of {key} goes back to {change.after.revision}"
            self.last_revision = max(self.last_revision, change.after.revision)
            assert (key in self.seen) == (change.type != "ADDED"), f"{change.type} of {key}"
            if change.type == "DELETED":
                del self.seen[key]
            else:
                self.seen[key] = change.obj
            self.check_floor(change)

    def check_floor(self, change: Change) -> None:
        """A rollout alone never takes an available pod below the floor."""
        if not self.floor_holds or change.resource != "pods" or change.old is None:
            return
        deployment = self.seen.get(("deployments", "shop", "deployments"))
        lost = is_ready(change.old) and is_active(change.old) and not (is_ready(change.obj) and is_active(change.obj))
        if deployment is None or not lost or not is_rolling(deployment) or not self.is_guarded(change.obj):
            return
        floor = size(deployment) - surge_and_unavailable(deployment)[1]
        pods = [obj for key, obj in self.seen.items() if key[0] == "pods" and self.is_guarded(obj)]
        assert sum(is_ready(pod) and is_active(pod) for pod in pods) >= floor, "below the floor"

    def teardown(self) -> None:
        try:
            self.ends_well()
        finally:
            self.do(self.context.__aexit__(None, None, None))
            self.loop.close()

    def ends_well(self) -> None:
        """With all nodes back, every workload comes to what it asks for, and nothing of a dead owner is left."""
        for name in ("node-1", "node-2"):
            self.bring_back(name)
        self.cordon(False)
        for resource in WORKLOADS[:3]:
            self.roll(resource, "good:1")
        self.pause(False)
        self.settle(self.here_is_whole, "every workload has what it asks for")
        assert not self.orphans()
        for kind in KINDS:
            for obj in self.registry.list(kind):
                _strictly(kind, obj)

    def here_is_whole(self) -> bool:
        self.help_the_stuck()
        return all(self.is_whole(kind) for kind in WORKLOADS[:3]) and not self.orphans()

    def help_the_stuck(self) -> None:
        """A kubelet makes pods ready again; what blocks a StatefulSet's names stays until somebody deletes it."""
        for pod in self.registry.list("pods", "shop"):
            if pod["spec"].get("nodeName") not in self.here.down:
                self.recover(pod)
            broken = pod["spec"]["containers"][0]["image"].startswith("broken")
            released = pod["metadata"]["labels"]["app"] == "else"
            if pod["metadata"]["name"].startswith("statefulsets") and (broken or released) and not is_deleting(pod):
                name = pod["metadata"]["name"]
                self.attempt(partial(self.registry.delete, "pods", "shop", name, actor="test"))

    def is_whole(self, resource: str) -> bool:
        found = self.registry.find(resource, "shop", resource)
        if found is None or is_deleting(found):
            return found is None
        status, spec = found.get("status", {}), found["spec"]
        if status.get("observedGeneration") != found["metadata"]["generation"]:
            return False
        if resource == "daemonsets":
            numbers = {status.get(name, 0) for name in ("numberReady", "updatedNumberScheduled")}
            return numbers == {status["desiredNumberScheduled"]}
        ready: bool = status.get("readyReplicas", 0) == spec["replicas"] == status.get("replicas", 0)
        return ready and (bool(spec.get("paused")) or status.get("updatedReplicas", 0) == spec["replicas"])

    def unsettled(self) -> Any:
        kinds = [kind for kind in WORKLOADS[:3] if not self.is_whole(kind)]
        told = [(self.registry.get(kind, "shop", kind)["status"], self.here.pods(kind)) for kind in kinds]
        return told, self.orphans()

    def orphans(self) -> list[tuple[str, str]]:
        uids = {obj["metadata"]["uid"] for kind in KINDS for obj in self.registry.list(kind)}
        return [
            (kind, obj["metadata"]["name"])
            for kind in KINDS
            for obj in self.registry.list(kind)
            if (owners := obj["metadata"].get("ownerReferences")) and not any(each["uid"] in uids for each in owners)
        ]

    # -- shorthands

    def disturb(self) -> None:
        """From here on fewer may be available than a rollout alone would leave."""
        self.replay()
        self.floor_holds = False

    def attempt(self, call: Callable[[], Any]) -> bool:
        """Whether the API took it; that it may refuse is part of the game."""
        try:
            call()
        except ApiError as refusal:
            assert refusal.code in (404, 409, 422, 429), refusal
            return False
        return True

    def picked(self, pick: int, which: Callable[[Obj], bool] = lambda pod: True) -> Iterable[str]:
        pods = [each for each in self.registry.list("pods", "shop") if which(each) and not is_finished(each)]
        return [pods[pick % len(pods)]["metadata"]["name"]] if pods else []

    def guarded(self) -> list[Obj]:
        return self.here.active("deployments")

    def is_guarded(self, pod: Obj) -> bool:
        return bool((pod["metadata"].get("labels") or {}).get("app") == "deployments")

    def set_node(self, name: str, ready: str) -> None:
        condition = {"type": "Ready", "status": ready, "reason": "Test"}
        self.attempt(lambda: self.registry.set_condition("nodes", "", name, condition, actor="test"))

    @staticmethod
    def place(kind: str, obj: Obj) -> tuple[str, str, str]:
        return kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


_MODELS = {
    "namespaces": "V1Namespace",
    "leases": "V1Lease",
    "events": "CoreV1Event",
}
_API = client.ApiClient()


def _strictly(kind: str, obj: Obj) -> None:
    """The official client reads it; its models refuse what the specification does not allow."""
    model = _MODELS.get(kind, f"V1{KINDS[kind].kind}")
    _API.deserialize(orjson.dumps(obj).decode(), model, "application/json")


Cluster.TestCase.settings = settings(
    max_examples=int(os.environ.get("CHAOSKIT_EXAMPLES", "6")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="CHAOSKIT_EXAMPLES" not in os.environ,
    print_blob=True,
)
TestWhateverHappens = Cluster.TestCase


def played(*steps: Callable[[Cluster], None]) -> None:
    """A short story of its own, with everything checked that the machine checks."""
    cluster = Cluster()
    try:
        cluster.begin()
        for step in steps:
            step(cluster)
            cluster.changes_replay_to_what_is_listed()
        cluster.settle(cluster.here_is_whole, "every workload has what it asks for")
        cluster.replay()
    finally:
        cluster.do(cluster.context.__aexit__(None, None, None))
        cluster.loop.close()


def test_a_rollout_that_ignores_the_floor_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_old(pod: Obj) -> bool:
        return bool(pod["spec"]["containers"][0]["image"] != "broken:1")

    def emptied(cluster: Cluster) -> None:
        cluster.settle(lambda: not any(map(is_old, cluster.guarded())), "the old pods are gone")

    played(Cluster.come_to_rest, lambda cluster: cluster.roll(resource="deployments", image="good:2"))
    monkeypatch.setattr(deployment, "scale_old", empty_old)
    # A release that never becomes ready: were it ready in time, the floor would hold by luck.
    with pytest.raises(AssertionError, match="below the floor"):
        played(Cluster.come_to_rest, lambda cluster: cluster.roll(resource="deployments", image="broken:1"), emptied)


def test_an_eviction_that_ignores_the_budget_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def evict(cluster: Cluster) -> None:
        cluster.evict(count=4)

    played(evict)
    monkeypatch.setattr(eviction, "_check", lambda budget: None)
    with pytest.raises(AssertionError):
        played(evict)
