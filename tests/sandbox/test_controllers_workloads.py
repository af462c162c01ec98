"""Deployments and ReplicaSets against the real registry: what watchers see, and what never happens."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.registry import Obj

from .controlled import World, run, template, until, workload, world


@pytest.fixture(autouse=True)
def _no_crash() -> Any:
    crashes.clear()
    yield
    assert not crashes


def conditions(obj: Obj) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in obj["status"]["conditions"]}


def test_a_deployment_becomes_available_with_its_pods_on_different_nodes() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment"))
            deployment = await here.settled()
            assert conditions(deployment)["Available"] == ("True", "MinimumReplicasAvailable")
            assert conditions(deployment)["Progressing"] == ("True", "NewReplicaSetAvailable")
            assert {pod["spec"]["nodeName"] for pod in here.pods()} == {"node-1", "node-2", "node-3"}
            (replicaset,) = here.replicasets()
            assert here.events("ScalingReplicaSet") == [
                f"Scaled up replica set {replicaset['metadata']['name']} from 0 to 3"
            ]
            assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
            assert len(here.events("SuccessfulCreate")) == 3

    run(main())


def test_a_deleted_pod_is_replaced_while_it_is_still_terminating() -> None:
    async def main() -> None:
        async with world() as here:
            here.graceful_s = 1.0
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            before = {pod["metadata"]["name"] for pod in here.pods()}
            victim = here.pods()[0]
            began = time.perf_counter()
            here.registry.delete("pods", "shop", victim["metadata"]["name"], actor="test")
            await until(lambda: {pod["metadata"]["name"] for pod in here.active()} - before, "a replacement")
            took_s = time.perf_counter() - began
            assert here.registry.find("pods", "shop", victim["metadata"]["name"]) is not None
            assert took_s < 0.5
            await until(
                lambda: here.replicasets()[0]["status"].get("terminatingReplicas") == 1,
                "the terminating one is counted",
            )

    run(main())


def test_the_dip_is_published_before_the_replacement_and_the_deployment_tells_unavailability() -> None:
    async def main() -> None:
        async with world() as here:
            here.graceful_s = 0.5
            here.apply("deployments", workload("Deployment", replicas=3))
            await here.settled()
            here.ready = False
            seen = here.registry.subscribe("replicasets", "deployments")
            replicas: list[int] = []
            here.registry.delete("pods", "shop", here.pods()[0]["metadata"]["name"], actor="test")
            await until(
                lambda: conditions(here.deployment())["Available"] == ("False", "MinimumReplicasUnavailable"),
                "unavailable",
            )
            await asyncio.sleep(0.05)
            replicas = [
                each.obj["status"].get("replicas", 0) for each in seen.pending() if each.resource == "replicasets"
            ]
            assert 2 in replicas and replicas[-1] == 3

    run(main())


def test_bounds_hold_at_every_change_of_a_rolling_update() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment", replicas=4))
            await here.settled()
            watch = here.registry.subscribe("pods")
            watch.pending()
            pods = {pod["metadata"]["name"]: pod for pod in here.pods()}
            here.patch("deployments", "web", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
            await here.settled()
            for change in watch.pending():
                pods[change.obj["metadata"]["name"]] = change.obj
                if change.type == "DELETED":
                    del pods[change.obj["metadata"]["name"]]
                alive = [pod for pod in pods.values() if "deletionTimestamp" not in pod["metadata"]]
                ready = [pod for pod in alive if ("Ready", "True") in _conditions(pod)]
                assert len(alive) <= 5, "maxSurge 25 % of 4 is one more"
                assert len(ready) >= 3, "maxUnavailable 25 % of 4 is one less"
            assert len(here.replicasets()) == 2

    run(main())


def _conditions(pod: Obj) -> set[tuple[str, str]]:
    return {(each["type"], each["status"]) for each in pod.get("status", {}).get("conditions", ())}


def test_a_release_that_never_gets_ready_stops_with_enough_old_pods_and_times_out() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment", replicas=4, progressDeadlineSeconds=1))
            await here.settled()
            here.ready = False
            here.patch("deployments", "web", {"spec": {"template": template(image="nosuch:v9")}})
            wanted = ("False", "ProgressDeadlineExceeded")
            await until(lambda: conditions(here.deployment())["Progressing"] == wanted, "the deadline")
            status = here.deployment()["status"]
            assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (5, 2, 3)
            assert status["unavailableReplicas"] == 2
            assert conditions(here.deployment())["Available"] == ("True", "MinimumReplicasAvailable")

    run(main())


def test_an_undo_reuses_the_replicaset_and_moves_the_revision_on() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            (first,) = here.replicasets()
            here.patch("deployments", "web", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}})
            await here.settled()
            old = {**first["spec"]["template"], "metadata": {"creationTimestamp": None, "labels": {"app": "web"}}}
            body = [{"op": "replace", "path": "/spec/template", "value": old}]
            here.registry.patch("deployments", "shop", "web", body, style="json", actor="test")
            await here.settled()
            annotations = here.registry.get("replicasets", "shop", first["metadata"]["name"])["metadata"]["annotations"]
            assert len(here.replicasets()) == 2
            assert annotations["deployment.kubernetes.io/revision"] == "3"
            assert annotations["deployment.kubernetes.io/revision-history"] == "1"
            assert here.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"

    run(main())


def test_history_beyond_the_limit_is_deleted() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment", replicas=1, revisionHistoryLimit=1))
            for release in range(4):
                here.patch(
                    "deployments", "web", {"spec": {"template": {"metadata": {"annotations": {"v": str(release)}}}}}
                )
                await here.settled()
            await until(lambda: len(here.replicasets()) == 2, "one old replica set is kept")

    run(main())


def test_recreate_never_has_old_and_new_pods_together() -> None:
    async def main() -> None:
        async with world() as here:
            here.graceful_s = 0.05
            here.apply("deployments", workload("Deployment", strategy={"type": "Recreate"}))
            await here.settled()
            old = {pod["metadata"]["name"] for pod in here.pods()}
            watch = here.registry.subscribe("pods")
            watch.pending()
            present = set(old)
            here.patch("deployments", "web", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
            await here.settled()
            for change in watch.pending():
                name = change.obj["metadata"]["name"]
                (present.discard if change.type == "DELETED" else present.add)(name)
                assert not (present & old and present - old)

    run(main())


def test_a_paused_deployment_scales_but_does_not_roll_out_until_resumed() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment", replicas=2))
            await here.settled()
            here.patch(
                "deployments", "web", {"spec": {"paused": True, "template": {"metadata": {"annotations": {"v": "2"}}}}}
            )
            await until(
                lambda: conditions(here.deployment())["Progressing"] == ("Unknown", "DeploymentPaused"), "paused"
            )
            here.patch("deployments", "web", {"spec": {"replicas": 4}})
            await until(lambda: len(here.pods()) == 4, "scaled while paused")
            assert len(here.replicasets()) == 1
            here.patch("deployments", "web", {"spec": {"paused": False}})
            await here.settled()
            assert len(here.replicasets()) == 2

    run(main())


def test_scaling_to_zero_and_back_works() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment"))
            await here.settled()
            here.patch("deployments", "web", {"spec": {"replicas": 0}})
            await until(lambda: not here.pods() and here.is_settled(), "scaled to none")
            here.patch("deployments", "web", {"spec": {"replicas": 5}})
            await here.settled()
            assert len(here.pods()) == 5

    run(main())


def test_a_replicaset_adopts_what_fits_and_releases_what_no_longer_does() -> None:
    async def main() -> None:
        async with world() as here:
            orphan = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orphan"}, **template()}
            orphan["metadata"] = {"name": "orphan", "labels": {"app": "web"}}
            here.apply("pods", orphan)
            here.apply("replicasets", workload("ReplicaSet", replicas=2))
            await until(lambda: len(here.active()) == 2, "the orphan counts as one of two")
            assert here.registry.get("pods", "shop", "orphan")["metadata"]["ownerReferences"][0]["name"] == "web"
            here.patch("pods", "orphan", {"metadata": {"labels": {"app": "other"}}})
            await until(lambda: len(here.active()) == 2, "a replacement for the released one")
            assert "ownerReferences" not in here.registry.get("pods", "shop", "orphan")["metadata"]

    run(main())


def test_min_ready_seconds_delay_availability_and_not_readiness() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("replicasets", workload("ReplicaSet", replicas=1, minReadySeconds=2))

            def status(field: str) -> int:
                found: int = here.registry.get("replicasets", "shop", "web").get("status", {}).get(field, 0)
                return found

            await until(lambda: status("readyReplicas") == 1, "ready")
            assert status("availableReplicas") == 0
            await until(lambda: status("availableReplicas") == 1, "available after a while")

    run(main())


def test_a_refused_pod_is_told_in_the_status_and_tried_again() -> None:
    async def main() -> None:
        async with world() as here:
            body = workload("ReplicaSet", replicas=1)
            refused = here.registry.create

            def create(resource: str, *args: Any, **kwargs: Any) -> Obj:
                if resource == "pods" and not allowed:
                    from chaoskit.sandbox.errors import forbidden
                    from chaoskit.sandbox.kinds import KINDS

                    raise forbidden(KINDS["pods"], "x", "exceeded quota")
                return refused(resource, *args, **kwargs)

            allowed: list[bool] = []
            here.registry.create = create  # type: ignore[method-assign]
            here.apply("replicasets", body)

            def reasons() -> set[str]:
                status = here.registry.get("replicasets", "shop", "web").get("status", {})
                return {each["reason"] for each in status.get("conditions", ())}

            await until(lambda: reasons() == {"FailedCreate"}, "the refusal")
            assert 'Error creating: pods "x" is forbidden: exceeded quota' in here.events("FailedCreate")
            allowed.append(True)
            await until(lambda: len(here.pods()) == 1 and not reasons(), "created after all")

    run(main())


def test_a_burst_of_deletes_never_makes_too_many_pods() -> None:
    async def main() -> None:
        async with world() as here:
            here.apply("deployments", workload("Deployment", replicas=20))
            await here.settled()
            watch = here.registry.subscribe("pods")
            watch.pending()
            for _ in range(3):
                for pod in here.active()[::2]:
                    here.registry.delete("pods", "shop", pod["metadata"]["name"], actor="test")
                await asyncio.sleep(0.01)
            await until(lambda: here.is_settled() and len(here.pods()) == 20, "twenty again")
            assert _most_alive(here, watch.pending()) <= 20

    run(main())


def _most_alive(here: World, changes: Any) -> int:
    alive = {change.obj["metadata"]["name"] for change in changes if False}
    most = 0
    for change in changes:
        name = change.obj["metadata"]["name"]
        gone = change.type == "DELETED" or "deletionTimestamp" in change.obj["metadata"]
        (alive.discard if gone else alive.add)(name)
        most = max(most, len(alive))
    return most
