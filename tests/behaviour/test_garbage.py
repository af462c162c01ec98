"""Owners and dependents, finalizers, namespaces."""

from __future__ import annotations

import secrets
import time

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import gone

GARBAGE = "kubernetes.io: Garbage Collection"
CONFORMANCE = "conformance.yaml: test/e2e/apimachinery/garbage_collector.go"


def _set(space: Space, pod_spec: Obj | None = None) -> list[str]:
    space.create("replicasets", app.workload("web", pod_spec or app.spec(app.serving()), replicas=2))
    return [pod["metadata"]["name"] for pod in space.until_ready(2, app="web")]


@scenario(
    "Background deletion removes the owner at once and its dependents after it",
    f"{CONFORMANCE}, delete RS not orphaning",
)
def test_background(space: Space) -> None:
    names = _set(space)
    trace = space.trace("pods", "replicasets")
    space.delete("replicasets", "web", propagationPolicy="Background")
    owner = trace.wait("replicasets", gone("web"))
    assert all(owner.step < trace.wait("pods", gone(name)).step for name in names)


@scenario(
    "Foreground deletion keeps the owner, marked, until its blocking dependents are gone",
    f"{CONFORMANCE}, keep the rc around until all its pods are deleted",
)
def test_foreground(space: Space) -> None:
    names = _set(space, app.spec(app.serving(LINGER="1")))
    trace = space.trace("pods", "replicasets")
    space.delete("replicasets", "web", propagationPolicy="Foreground")
    marked = trace.wait("replicasets", lambda seen: seen.deleting)
    assert marked.obj["metadata"]["finalizers"] == ["foregroundDeletion"]
    ends = [trace.wait("pods", gone(name)).step for name in names]
    assert max(ends) < trace.wait("replicasets", gone("web")).step


@scenario("Orphaning deletion leaves the dependents, without an owner", f"{CONFORMANCE}, orphan pods")
def test_orphan(space: Space) -> None:
    names = _set(space)
    space.delete("replicasets", "web", propagationPolicy="Orphan")
    eventually(lambda: space.find("replicasets", "web") is None, 20, "the owner is gone")
    time.sleep(0.5)
    pods = space.pods(app="web")
    assert [pod["metadata"]["name"] for pod in pods] == names
    assert not any(pod["metadata"].get("ownerReferences") for pod in pods)


@scenario("A Deployment takes its ReplicaSets and their pods along", GARBAGE)
def test_a_deployment_goes_with_all_it_made(space: Space) -> None:
    space.create("deployments", app.workload("web", replicas=1))
    space.until_ready(1, app="web")
    space.delete("deployments", "web")
    eventually(lambda: not space.items("replicasets") and not space.items("pods"), 40, "nothing is left")


@scenario(
    "A dependent whose owners are all absent is deleted; with one that lives it stays",
    f"{CONFORMANCE}, not delete dependents that have both valid owner and owner that's waiting",
)
@pytest.mark.parametrize("living", [False, True], ids=["all absent", "one lives"])
def test_absent_owners(space: Space, living: bool) -> None:
    def reference(name: str, uid: str) -> Obj:
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}

    owner = space.create("configmaps", {"metadata": {"name": "owner"}})["metadata"]["uid"]
    ghost = reference("ghost", f"{secrets.token_hex(4)}-0000-4000-8000-{secrets.token_hex(6)}")
    owners = [ghost, reference("owner", owner)] if living else [ghost]
    space.create("configmaps", {"metadata": {"name": "child", "ownerReferences": owners}})
    if living:
        time.sleep(2)
        assert space.find("configmaps", "child") is not None
        space.delete("configmaps", "owner")
    eventually(lambda: space.find("configmaps", "child") is None, 30, "the dependent is gone")


@scenario("A finalizer keeps a deleted object until it is taken away", "kubernetes.io: Finalizers")
def test_a_finalizer_holds(space: Space) -> None:
    space.create("configmaps", {"metadata": {"name": "c", "finalizers": ["chaoskit.test/hold"]}})
    trace = space.trace("configmaps")
    space.delete("configmaps", "c")
    marked = trace.wait("configmaps", lambda seen: seen.deleting)
    assert space.find("configmaps", "c") is not None
    refused = space.try_patch(
        "configmaps", "c", {"metadata": {"finalizers": ["chaoskit.test/hold", "chaoskit.test/late"]}}
    )
    assert refused.status_code == 422
    space.patch("configmaps", "c", {"metadata": {"finalizers": None}})
    assert marked.step < trace.wait("configmaps", gone("c")).step


@scenario(
    "A namespace that is deleted is Terminating, takes nothing new, and goes when its pods are gone",
    "conformance: namespace.go, all pods are removed when a namespace is deleted",
)
def test_a_namespace_goes_with_its_pods(space: Space) -> None:
    space.start(app.pod("p", app.container(env={"LINGER": "2"})), "running")
    eventually(lambda: space.log("p").startswith("up"), what="the program listens")
    path = f"/api/v1/namespaces/{space.namespace}"
    assert space.http.delete(path).is_success
    eventually(lambda: space.http.get(path).json()["status"]["phase"] == "Terminating", 5, "it is Terminating")
    refused = space.http.post(space.path("configmaps"), json={"metadata": {"name": "late"}})
    assert refused.status_code == 403 and "because it is being terminated" in refused.json()["message"]
    assert refused.json()["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    eventually(lambda: space.http.get(path).status_code == 404, 90, "it is gone")
