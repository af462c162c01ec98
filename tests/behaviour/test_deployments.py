"""Deployments: rollouts and their bounds, rollover, undo, pause, deadline, Recreate, scaling."""

from __future__ import annotations

from typing import Any

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import Trace, condition, dying, ending, gone, holds, ready, terminal

REVISION = "deployment.kubernetes.io/revision"
DEPLOYMENT = "kubernetes.io: Deployments"
CONFORMANCE = "conformance.yaml: test/e2e/apps/deployment.go"


def _deploy(space: Space, replicas: int, pod_spec: Obj | None = None, **more: Any) -> list[Obj]:
    """A Deployment `web` with all its pods ready and its status settled."""
    space.create("deployments", app.workload("web", pod_spec, replicas=replicas, **more))
    pods = space.until_ready(replicas, app="web")
    space.until("deployments", "web", _settled)
    return pods


def _settled(deployment: Obj) -> bool:
    status, replicas = deployment.get("status") or {}, deployment["spec"]["replicas"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [replicas] * 3


def _change(space: Space, value: str, name: str = "web") -> Obj:
    """Change the template."""
    return space.patch("deployments", name, {"spec": {"template": {"metadata": {"annotations": {"v": value}}}}})


def _break(space: Space) -> Obj:
    """Change the template to one whose pods never start."""
    body = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "nosuch:v9"}]}}}}
    return space.patch("deployments", "web", body, "strategic")


def _sets(space: Space) -> dict[str, Obj]:
    """Revision -> ReplicaSet."""
    found = space.items("replicasets", labelSelector="app=web")
    return {one["metadata"]["annotations"][REVISION]: one for one in found}


def _bounds(trace: Trace, initial: list[Obj]) -> list[tuple[int, int]]:
    """(ready, not terminating) after each event of the pods."""
    now = {pod["metadata"]["name"]: pod for pod in initial}
    counts = []
    for seen in trace.seen("pods"):
        now[seen.name] = seen.obj
        if seen.type == "DELETED":
            del now[seen.name]
        # A pod that is being deleted serves until it is terminal; the bound on availability counts those that nobody deletes.
        living = [pod for pod in now.values() if "deletionTimestamp" not in pod["metadata"]]
        counts.append((sum(ready(pod) for pod in living), len(living)))
    return counts


@scenario("The replacement of a deleted pod is created while the old one is still terminating", DEPLOYMENT)
def test_a_replacement_does_not_wait_for_the_end(space: Space) -> None:
    victim = _deploy(space, 2, app.spec(app.serving(LINGER="1.5")))[0]["metadata"]["name"]
    trace = space.trace("pods", "deployments")
    space.delete("pods", victim)
    marked = trace.wait("pods", dying(victim))
    fresh = trace.wait("pods", lambda seen: seen.type == "ADDED" and seen.name != victim)
    space.note("replacement after deletion", fresh.at - marked.at)
    end = trace.wait("pods", gone(victim))
    assert marked.step < fresh.step < end.step
    trace.wait("deployments", lambda seen: _settled(seen.obj) and seen.step > fresh.step)


@scenario(
    "status.replicas leaves out terminating pods, terminatingReplicas counts them until they are terminal",
    "KEP-3973, recorded on 1.36",
)
def test_terminating_pods_are_counted_apart(space: Space) -> None:
    victim = _deploy(space, 1, app.spec(app.serving(LINGER="2")))[0]["metadata"]["name"]
    trace = space.trace("pods", "deployments")
    space.delete("pods", victim)
    counted = trace.wait("deployments", lambda seen: seen.obj["status"].get("terminatingReplicas") == 1)
    ended = trace.wait("pods", lambda seen: seen.name == victim and terminal(seen.obj))
    done = trace.wait("deployments", lambda seen: not seen.obj["status"].get("terminatingReplicas"), after=counted)
    assert counted.step < ended.step
    assert all(seen.obj["status"].get("replicas", 0) <= 1 for seen in trace.seen("deployments"))
    assert done.at - counted.at > 1.0


@scenario(
    "A lost pod below the floor makes Available False with MinimumReplicasUnavailable, its replacement True again",
    DEPLOYMENT,
)
def test_available_follows_the_floor(space: Space) -> None:
    victim = _deploy(space, 2)[0]["metadata"]["name"]
    trace = space.trace("deployments")
    space.delete("pods", victim)
    down = trace.wait("deployments", lambda seen: holds(seen.obj, "Available", "False", "MinimumReplicasUnavailable"))
    up = trace.wait(
        "deployments", lambda seen: holds(seen.obj, "Available", "True", "MinimumReplicasAvailable"), after=down
    )
    space.note("unavailable", up.at - down.at)


@scenario("A rolling update keeps within maxSurge and maxUnavailable at every event", f"{CONFORMANCE}, RollingUpdate")
@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "floor", "ceiling"),
    [(4, "25%", "25%", 3, 5), (3, 1, 0, 3, 4), (3, 0, 1, 2, 3)],
    ids=["a quarter each", "surge only", "unavailable only"],
)
def test_a_rolling_update_keeps_its_bounds(
    space: Space, replicas: int, surge: Any, unavailable: Any, floor: int, ceiling: int
) -> None:
    how = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    before = _deploy(space, replicas, strategy=how)
    trace = space.trace("pods", "deployments", "replicasets")
    with space.measured("rolling update"):
        _change(space, "2")
        trace.wait(
            "deployments",
            lambda seen: holds(seen.obj, "Progressing", reason="NewReplicaSetAvailable") and _settled(seen.obj),
        )
    counts = _bounds(trace, before)
    assert min(up for up, _ in counts) >= floor, counts
    assert max(living for _, living in counts) <= ceiling, counts
    assert all(holds(seen.obj, "Available") for seen in trace.seen("deployments"))
    assert [_sets(space)[revision]["spec"]["replicas"] for revision in ("1", "2")] == [0, replicas]


@scenario(
    "A rollout announces a new ReplicaSet before the old one shrinks, and ends with NewReplicaSetAvailable", DEPLOYMENT
)
def test_a_rollout_tells_its_progress_in_order(space: Space) -> None:
    _deploy(space, 2)
    trace = space.trace("deployments", "replicasets")
    _change(space, "2")
    end = trace.wait(
        "deployments",
        lambda seen: holds(seen.obj, "Progressing", reason="NewReplicaSetAvailable") and _settled(seen.obj),
    )
    fresh = trace.wait("replicasets", lambda seen: seen.type == "ADDED")
    shrunk = trace.wait("replicasets", lambda seen: seen.name != fresh.name and seen.obj["spec"]["replicas"] < 2)
    assert fresh.step < shrunk.step < end.step
    assert fresh.obj["metadata"]["annotations"][REVISION] == "2"
    reasons = [condition(seen.obj, "Progressing").get("reason") for seen in trace.seen("deployments")]
    assert "ReplicaSetUpdated" in reasons and reasons[-1] == "NewReplicaSetAvailable"
    assert space.events("web", "ScalingReplicaSet")


@scenario(
    "An update in the middle of a rollout rolls over: the middle ReplicaSet is scaled down, never finished",
    f"{CONFORMANCE}, rollover",
)
def test_a_second_update_rolls_over(space: Space) -> None:
    _deploy(space, 2)
    _break(space)
    eventually(
        lambda: len(_sets(space)) == 2 and _sets(space)["2"]["spec"]["replicas"] >= 1, what="the broken ReplicaSet"
    )
    body = {
        "spec": {
            "template": {
                "spec": {"containers": [{"name": "app", "image": app.IMAGE, "env": [{"name": "N", "value": "3"}]}]}
            }
        }
    }
    space.patch("deployments", "web", body, "strategic")
    space.until("deployments", "web", _settled)
    counts = {revision: one["spec"]["replicas"] for revision, one in _sets(space).items()}
    assert counts == {"1": 0, "2": 0, "3": 2}


@scenario(
    "Going back to an earlier template takes its ReplicaSet again and gives it a new revision",
    f"{DEPLOYMENT}, recorded on 1.36",
)
def test_undo_takes_the_old_replica_set(space: Space) -> None:
    _deploy(space, 1)
    old = _sets(space)["1"]
    _break(space)
    eventually(lambda: "2" in _sets(space), what="the broken ReplicaSet")
    space.patch("deployments", "web", [{"op": "replace", "path": "/spec/template", "value": _plain(old)}], "json")
    space.until("deployments", "web", _settled)
    sets = eventually(lambda: found if (found := _sets(space)).keys() == {"2", "3"} else None, what="revisions 2 and 3")
    assert sets["3"]["metadata"]["uid"] == old["metadata"]["uid"]
    assert sets["3"]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
    assert space.get("deployments", "web")["metadata"]["annotations"][REVISION] == "3"


def _plain(replica_set: Obj) -> Obj:
    template = replica_set["spec"]["template"]
    labels = {key: value for key, value in template["metadata"]["labels"].items() if key != "pod-template-hash"}
    found: Obj = template | {"metadata": {"labels": labels}}
    return found


@scenario("A paused Deployment rolls nothing out, but scales; resumed, it rolls out", DEPLOYMENT)
def test_pause_and_resume(space: Space) -> None:
    _deploy(space, 1)
    space.patch("deployments", "web", {"spec": {"paused": True}})
    _change(space, "2")
    space.scale("deployments", "web", 2)
    space.until_ready(2, app="web")
    paused = space.until("deployments", "web", lambda found: holds(found, "Progressing", "Unknown", "DeploymentPaused"))
    assert list(_sets(space)) == ["1"] and paused["status"].get("updatedReplicas", 0) == 0
    space.patch("deployments", "web", {"spec": {"paused": False}})
    space.until("deployments", "web", _settled)
    assert set(_sets(space)) == {"1", "2"}


@scenario(
    "Without progress for progressDeadlineSeconds Progressing is False; Available stays True and nothing is rolled back",
    DEPLOYMENT,
)
def test_the_progress_deadline(space: Space) -> None:
    _deploy(space, 2, progressDeadlineSeconds=3)
    trace = space.trace("deployments")
    _break(space)
    stuck = trace.wait("deployments", lambda seen: holds(seen.obj, "Progressing", reason="ReplicaSetUpdated"))
    late = trace.wait(
        "deployments", lambda seen: holds(seen.obj, "Progressing", "False", "ProgressDeadlineExceeded"), after=stuck
    )
    assert 2.0 <= space.note("deadline of 3 s after the last progress", late.at - stuck.at) <= 20
    assert "has timed out progressing" in condition(late.obj, "Progressing")["message"]
    assert all(holds(seen.obj, "Available") for seen in trace.seen("deployments"))
    assert _sets(space)["2"]["spec"]["replicas"] > 0


@scenario("Recreate ends every old pod before it creates a new one", f"{CONFORMANCE}, RecreateDeployment")
def test_recreate_never_runs_both(space: Space) -> None:
    before = {
        pod["metadata"]["name"]
        for pod in _deploy(space, 2, app.spec(app.serving(LINGER="1")), strategy={"type": "Recreate"})
    }
    trace = space.trace("pods", "deployments")
    _change(space, "2")
    trace.wait("deployments", lambda seen: _settled(seen.obj), 60)
    first = trace.wait("pods", lambda seen: seen.type == "ADDED")
    assert max(trace.wait("pods", ending(name)).step for name in before) < first.step
    assert any(holds(seen.obj, "Available", "False") for seen in trace.seen("deployments"))


@scenario(
    "Scaled in the middle of a rollout, the ReplicaSets share the change in proportion to their sizes",
    f"{CONFORMANCE}, proportional scaling",
)
def test_scaling_is_proportional(space: Space) -> None:
    how = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}}
    _deploy(space, 5, strategy=how)
    _break(space)

    def sizes() -> tuple[int, int] | None:
        sets = _sets(space)
        return (sets["1"]["spec"]["replicas"], sets["2"]["spec"]["replicas"]) if len(sets) == 2 else None

    eventually(lambda: sizes() == (4, 3), 30, "4 old and 3 new")
    space.scale("deployments", "web", 10)
    eventually(lambda: sizes() == (7, 5), 30, f"7 old and 5 new, are {sizes()}")


@scenario("revisionHistoryLimit deletes the oldest ReplicaSets without pods", DEPLOYMENT)
def test_the_history_is_limited(space: Space) -> None:
    _deploy(space, 1, app.spec(app.container()), revisionHistoryLimit=1)
    for value in ("2", "3"):
        _change(space, value)
        space.until("deployments", "web", _settled)
    eventually(lambda: set(_sets(space)) == {"2", "3"}, what=f"only revisions 2 and 3, not {set(_sets(space))}")


@scenario("A ready pod is available only after minReadySeconds", DEPLOYMENT)
def test_available_waits_for_min_ready_seconds(space: Space) -> None:
    trace = space.trace("deployments")
    space.create("deployments", app.workload("web", replicas=1, minReadySeconds=3))
    up = trace.wait("deployments", lambda seen: seen.obj.get("status", {}).get("readyReplicas") == 1, 60)
    available = trace.wait("deployments", lambda seen: seen.obj["status"].get("availableReplicas") == 1)
    assert not up.obj["status"].get("availableReplicas")
    # Ready's time is kept in whole seconds, and we may hear of it late.
    assert 1.0 <= space.note("available after ready, minReadySeconds 3", available.at - up.at) <= 10


@scenario("The scale subresource reads and writes replicas and tells the selector", f"{CONFORMANCE}, Deployment Scale")
def test_the_scale_subresource(space: Space) -> None:
    space.create("deployments", app.workload("web", app.spec(app.container()), replicas=0))
    scale = space.get("deployments", "web", "scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"].get("replicas", 0) == 0 and scale["status"]["selector"] == "app=web"
    space.scale("deployments", "web", 2)
    assert space.get("deployments", "web")["spec"]["replicas"] == 2
    space.until("deployments", "web", lambda found: found["status"].get("availableReplicas") == 2)


@scenario("What counts as a new generation", "registry strategies; recorded on 1.36")
@pytest.mark.parametrize(
    ("resource", "body", "steps"),
    [
        ("deployments", {"metadata": {"annotations": {"a": "1"}}}, 1),
        ("deployments", {"metadata": {"labels": {"a": "1"}}}, 0),
        ("daemonsets", {"metadata": {"annotations": {"a": "1"}}}, 0),
        ("deployments", {"spec": {"paused": True}}, 1),
        ("deployments", {"spec": {"replicas": 0}}, 0),
    ],
    ids=[
        "a Deployment's annotation",
        "a label is none",
        "a DaemonSet's annotation is none",
        "its spec",
        "no change is none",
    ],
)
def test_generations(space: Space, resource: str, body: Obj, steps: int) -> None:
    nowhere = app.spec(app.container(), nodeSelector={"chaoskit.test/nowhere": "1"})
    space.create(resource, app.workload("web", nowhere, **({"replicas": 0} if resource == "deployments" else {})))
    # A Deployment's controller writes the revision into its annotations; that is a generation too.
    before = eventually(lambda: _observed(space, resource), what="the controller has seen it")
    after = space.patch(resource, "web", body)["metadata"]["generation"]
    assert after - before == steps


def _observed(space: Space, resource: str) -> int | None:
    found = space.get(resource, "web")
    generation: int = found["metadata"]["generation"]
    if resource == "deployments" and REVISION not in found["metadata"].get("annotations", {}):
        return None
    return generation if found.get("status", {}).get("observedGeneration") == generation else None
