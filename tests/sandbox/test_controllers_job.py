"""Jobs: indexes, failure policies and pauses as tables, and whole lives against the real registry."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from chaoskit.sandbox.controllers.jobcount import Backoff
from chaoskit.sandbox.controllers.jobpods import (
    next_indexes,
    parse_indexes,
    render_indexes,
    restarts_exceed,
    rule_on,
    wanted_active,
)
from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.registry import Obj

from .controlled import PATIENT, World, end_pod, job, run, until, world

QUICK = dataclasses.replace(PATIENT, job_pod_failure_backoff_s=0.0, job_sync_batch_s=0.0)


@pytest.fixture(autouse=True)
def _no_crash() -> Any:
    crashes.clear()
    yield
    assert not crashes


@pytest.mark.parametrize(
    ("indexes", "text"),
    [(set(), ""), ({3}, "3"), ({0, 1}, "0,1"), ({0, 1, 2}, "0-2"), ({0, 2, 3, 4, 9, 10}, "0,2-4,9,10")],
)
def test_indexes_are_written_as_upstream_writes_them(indexes: set[int], text: str) -> None:
    assert render_indexes(indexes) == text and parse_indexes(text) == indexes


@pytest.mark.parametrize(
    ("failures", "waits_s"), [(0, 0.0), (1, 10.0), (2, 20.0), (3, 40.0), (4, 80.0), (6, 320.0), (7, 600.0), (90, 600.0)]
)
def test_pauses_double_from_ten_seconds_to_ten_minutes(failures: int, waits_s: float) -> None:
    assert Backoff(failures, 100.0).left_s(100.0, 10.0, 600.0) == waits_s
    assert Backoff(failures, 100.0).left_s(100.0 + waits_s, 10.0, 600.0) == 0.0


@pytest.mark.parametrize(
    ("parallelism", "completions", "active", "succeeded", "wanted"),
    [(3, 5, 0, 0, 3), (3, 5, 0, 4, 1), (3, 5, 0, 5, 0), (3, None, 3, 0, 3), (3, None, 2, 1, 2), (0, 5, 2, 0, 0)],
)
def test_as_many_run_as_are_left_to_do(
    parallelism: int, completions: int | None, active: int, succeeded: int, wanted: int
) -> None:
    spec = {"parallelism": parallelism} | ({} if completions is None else {"completions": completions})
    assert wanted_active({"spec": spec}, active, succeeded) == wanted


def failed_pod(code: int, *conditions: str) -> Obj:
    state = {"terminated": {"exitCode": code}}
    told = [{"type": each, "status": "True"} for each in conditions]
    status = {"phase": "Failed", "conditions": told, "containerStatuses": [{"name": "app", "state": state}]}
    return {"metadata": {"name": "p", "namespace": "shop"}, "spec": {}, "status": status}


RULES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [7]}},
    {"action": "Count", "onExitCodes": {"operator": "In", "values": [8], "containerName": "other"}},
    {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [8, 9]}},
]


@pytest.mark.parametrize(
    ("pod", "action"),
    [
        (failed_pod(7), "FailJob"),
        (failed_pod(7, "DisruptionTarget"), "Ignore"),
        (failed_pod(3), "FailIndex"),
        (failed_pod(8), "Count"),
        (failed_pod(0), "Count"),
    ],
)
def test_the_first_rule_that_fits_decides(pod: Obj, action: str) -> None:
    ruling = rule_on({"spec": {"podFailurePolicy": {"rules": RULES}}}, pod)
    assert ruling.action == action
    if action == "FailJob":
        assert ruling.said == ("Container app for pod shop/p failed with exit code 7 matching FailJob rule at index 1")


@pytest.mark.parametrize(
    ("policy", "limit", "restarts", "exceeds"),
    [("OnFailure", 2, 1, False), ("OnFailure", 2, 2, True), ("OnFailure", 0, 1, True), ("Never", 0, 5, False)],
)
def test_restarts_in_place_use_up_the_limit_too(policy: str, limit: int, restarts: int, exceeds: bool) -> None:
    spec = {"backoffLimit": limit, "template": {"spec": {"restartPolicy": policy}}}
    pod = {"status": {"phase": "Running", "containerStatuses": [{"restartCount": restarts}]}}
    assert restarts_exceed({"spec": spec}, [pod]) is exceeds


def test_the_lowest_free_indexes_come_next() -> None:
    assert next_indexes({"spec": {"completions": 5}}, {0, 2}, 2) == [1, 3]


def status(here: World) -> Obj:
    found: Obj = here.registry.get("jobs", "shop", "work")["status"]
    return found


def conditions(here: World) -> list[tuple[str, str]]:
    told = status(here).get("conditions", ())
    return [(each["type"], each["reason"]) for each in told if each["status"] == "True"]


def running(here: World) -> list[Obj]:
    return [each for each in here.active("work") if each["status"].get("phase") == "Running"]


async def started(here: World, count: int) -> list[Obj]:
    await until(lambda: len(running(here)) == count, f"{count} pods run: {here.pods('work')}")
    return running(here)


def test_a_job_runs_its_pods_side_by_side_until_enough_succeeded() -> None:
    async def main() -> None:
        async with world(timings=QUICK) as here:
            watch = here.registry.subscribe("jobs")
            watch.pending()
            here.apply("jobs", job(parallelism=2, completions=3))
            for pod in await started(here, 2):
                assert pod["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
                end_pod(here.registry, pod)
            end_pod(here.registry, (await started(here, 1))[0])
            await until(lambda: ("Complete", "CompletionsReached") in conditions(here), "the end")
            found = status(here)
            assert found["succeeded"] == 3 and "failed" not in found and found["completionTime"]
            assert conditions(here)[0][0] == "SuccessCriteriaMet"
            assert not any(each["metadata"].get("finalizers") for each in here.pods("work"))
            seen = [change.obj["status"] for change in watch.pending()]
            assert max(each.get("active", 0) for each in seen) == 2
            assert any(each.get("uncountedTerminatedPods", {}).get("succeeded") for each in seen)
            assert here.events("Completed") == ["Job completed"]
            target = [each for each in seen if len(each.get("conditions", ())) == 1]
            assert target, "SuccessCriteriaMet is seen before Complete"

    run(main())


def test_a_deleted_worker_counts_as_failed_at_once_although_it_exits_well() -> None:
    async def main() -> None:
        async with world(timings=QUICK) as here:
            here.graceful_s = 60.0
            here.apply("jobs", job(backoffLimit=0))
            (pod,) = await started(here, 1)
            here.registry.delete("pods", "shop", pod["metadata"]["name"], actor="test")
            await until(lambda: status(here).get("failed") == 1, "counted while it still runs")
            assert status(here)["terminating"] == 1
            assert conditions(here) == [("FailureTarget", "BackoffLimitExceeded")], "and not over while it runs"
            end_pod(here.registry, pod)
            await until(lambda: conditions(here)[-1] == ("Failed", "BackoffLimitExceeded"), "over")
            assert status(here)["terminating"] == 0 and "succeeded" not in status(here)

    run(main())


def test_failures_wait_longer_each_time_and_end_the_job() -> None:
    timings = dataclasses.replace(QUICK, job_pod_failure_backoff_s=2.0)

    async def main() -> None:
        async with world(timings=timings) as here:
            here.apply("jobs", job(backoffLimit=1))
            loop = asyncio.get_running_loop()
            (pod,) = await started(here, 1)
            began_s = loop.time()
            end_pod(here.registry, pod, 3)
            (pod,) = await started(here, 1)
            # Counted from the container's end, which has whole seconds only.
            assert loop.time() - began_s >= 1.0
            end_pod(here.registry, pod, 3)
            await until(lambda: len(conditions(here)) == 2, "failed")
            assert conditions(here) == [(kind, "BackoffLimitExceeded") for kind in ("FailureTarget", "Failed")]
            assert status(here)["failed"] == 2 and len(here.events("BackoffLimitExceeded")) == 1

    run(main())


def test_with_a_policy_an_eviction_is_ignored_and_a_plain_deletion_is_not() -> None:
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}

    async def main() -> None:
        async with world(timings=QUICK) as here:
            here.graceful_s = 60.0
            here.apply("jobs", job(backoffLimit=0, podFailurePolicy={"rules": [rule]}))
            (pod,) = await started(here, 1)
            here.registry.evict("shop", pod["metadata"]["name"], actor="test")
            await asyncio.sleep(0.05)
            assert len(here.pods("work")) == 1, "the replacement waits for the end"
            end_pod(here.registry, pod, 143)
            (fresh,) = await started(here, 1)
            assert "failed" not in status(here)
            here.registry.delete("pods", "shop", fresh["metadata"]["name"], actor="test")
            end_pod(here.registry, fresh, 143)
            await until(lambda: ("Failed", "BackoffLimitExceeded") in conditions(here), "the Job failed")

    run(main())


def test_an_indexed_job_gives_each_pod_its_index_and_tries_it_again() -> None:
    async def main() -> None:
        async with world(timings=QUICK) as here:
            here.apply("jobs", job(completionMode="Indexed", completions=3, parallelism=3))
            pods = await started(here, 3)
            by_host = {each["spec"]["hostname"]: each for each in pods}
            assert sorted(by_host) == ["work-0", "work-1", "work-2"]
            env = by_host["work-1"]["spec"]["containers"][0]["env"][0]
            assert env["valueFrom"]["fieldRef"]["fieldPath"].endswith("['batch.kubernetes.io/job-completion-index']")
            end_pod(here.registry, by_host["work-0"])
            end_pod(here.registry, by_host["work-2"])
            end_pod(here.registry, by_host["work-1"], 1)
            await until(lambda: status(here).get("completedIndexes") == "0,2", "two are done")
            (again,) = await started(here, 1)
            assert again["spec"]["hostname"] == "work-1"
            end_pod(here.registry, again)
            await until(lambda: status(here).get("completedIndexes") == "0-2", "all are done")
            assert status(here)["succeeded"] == 3 and status(here)["failed"] == 1

    run(main())


def test_a_limit_per_index_fails_the_index_and_at_the_end_the_job() -> None:
    async def main() -> None:
        async with world(timings=QUICK) as here:
            spec: Any = {"completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimitPerIndex": 0}
            here.apply("jobs", job(**spec))
            for pod in await started(here, 2):
                end_pod(here.registry, pod, int(pod["spec"]["hostname"] == "work-1"))
            await until(lambda: ("Failed", "FailedIndexes") in conditions(here), "over")
            assert (status(here)["completedIndexes"], status(here)["failedIndexes"]) == ("0", "1")

    run(main())


def test_a_suspended_job_lets_go_of_its_pods_and_counts_none_of_them() -> None:
    async def main() -> None:
        async with world(timings=QUICK) as here:
            here.apply("jobs", job(suspend=True))
            await until(lambda: conditions(here) == [("Suspended", "JobSuspended")], "suspended")
            assert not here.pods("work") and "startTime" not in status(here)
            here.patch("jobs", "work", {"spec": {"suspend": False}})
            await started(here, 1)
            assert status(here)["conditions"][0]["reason"] == "JobResumed" and status(here)["startTime"]
            here.patch("jobs", "work", {"spec": {"suspend": True}})
            await until(lambda: not here.pods("work"), "its pod is gone")
            assert "failed" not in status(here)

    run(main())


def test_a_deadline_ends_a_job_and_its_time_to_live_removes_it_with_its_pods() -> None:
    async def main() -> None:
        async with world(timings=QUICK) as here:
            here.apply("jobs", job(activeDeadlineSeconds=1, ttlSecondsAfterFinished=2))
            await until(lambda: ("Failed", "DeadlineExceeded") in conditions(here), "too late")
            assert status(here)["failed"] == 1
            gone = lambda: here.registry.find("jobs", "shop", "work") is None  # noqa: E731
            await until(gone, "removed after its time to live")
            await until(lambda: not here.pods("work"), "with its pods")

    run(main())


def test_pods_of_a_deleted_job_are_not_held_back_by_their_finalizer() -> None:
    async def main() -> None:
        async with world(timings=QUICK) as here:
            here.apply("jobs", job(parallelism=3, completions=3))
            await started(here, 3)
            here.registry.delete("jobs", "shop", "work", actor="test")
            await until(lambda: not here.pods("work"), "all are gone")

    run(main())


def test_what_a_job_must_not_say_is_refused() -> None:
    async def main() -> None:
        async with world(nodes=0) as here:
            for body, cause in (
                (job(restart="Always"), "spec.template.spec.restartPolicy"),
                (job(completionMode="Indexed", parallelism=2), "spec.completions"),
                (job(backoffLimit=-1), "spec.backoffLimit"),
            ):
                with pytest.raises(Exception, match=cause):
                    here.apply("jobs", body)
            here.apply("jobs", job(suspend=False))
            for spec in ({"completions": 9}, {"completionMode": "Indexed"}):
                with pytest.raises(Exception, match="field is immutable"):
                    here.patch("jobs", "work", {"spec": spec})

    run(main())
