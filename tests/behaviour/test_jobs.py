"""Jobs: completions, what counts as a failure, back-off, policies."""

from __future__ import annotations

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import Look, condition, dying, ended, gone, holds, terminal

JOBS = "kubernetes.io: Jobs"
FAILURE_POLICY = "kubernetes.io: Jobs, Pod failure policy"
SLEEPER = app.exits(0, 300)
IGNORE_DISRUPTION = {
    "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
}


FAILING = SLEEPER.replace("exit(0))", "exit(1))")
"""The same, but it fails on TERM."""


def _complete(job: Obj) -> bool:
    return holds(job, "Complete")


def _container_ended(name: str) -> Look:
    return lambda seen: seen.name == name and bool(ended(seen.obj))


def _worker(space: Space, name: str = "work") -> str:
    """The running pod of a Job."""

    def look() -> str | None:
        running = [
            pod
            for pod in space.pods(**{"batch.kubernetes.io/job-name": name})
            if pod["status"].get("phase") == "Running"
        ]
        return str(running[0]["metadata"]["name"]) if running else None

    return eventually(look, 60, "a running worker")


@scenario(
    "A Job runs at most `parallelism` pods at once until `completions` succeeded, then tells SuccessCriteriaMet and Complete",
    JOBS,
)
def test_completions_and_parallelism(space: Space) -> None:
    trace = space.trace("pods", "jobs")
    space.create("jobs", app.job("work", app.exits(0, 0.3), completions=3, parallelism=2))
    trace.wait("jobs", lambda seen: holds(seen.obj, "SuccessCriteriaMet"), 90)
    done = trace.wait("jobs", lambda seen: _complete(seen.obj))
    assert done.obj["status"]["succeeded"] == 3 and "completionTime" in done.obj["status"]
    living: set[str] = set()
    for seen in trace.seen("pods"):
        (living.discard if terminal(seen.obj) or seen.type == "DELETED" else living.add)(seen.name)
        assert len(living) <= 2
    assert len({seen.name for seen in trace.seen("pods")}) == 3


@scenario("An indexed Job tells each pod its index, and the status which indexes are done", f"{JOBS}, completion mode")
def test_an_indexed_job(space: Space) -> None:
    code = "import os; print(os.environ['JOB_COMPLETION_INDEX'])"
    space.create("jobs", app.job("work", code, completions=2, parallelism=2, completionMode="Indexed"))
    done = space.until("jobs", "work", _complete, 90)
    assert done["status"]["completedIndexes"] == "0,1"
    pods = space.items("pods", labelSelector="job-name=work")
    for pod in pods:
        index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        assert pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == index
        assert pod["metadata"]["name"].startswith(f"work-{index}-") and pod["spec"]["hostname"] == f"work-{index}"
        assert space.log(pod["metadata"]["name"]) == f"{index}\n"


@scenario("Past backoffLimit a Job tells FailureTarget, then Failed, both BackoffLimitExceeded", f"{JOBS}, termination")
def test_a_failing_job_fails(space: Space) -> None:
    trace = space.trace("jobs", "pods")
    space.create("jobs", app.job("work", app.exits(3), backoffLimit=0))
    pod = trace.wait("pods", lambda seen: seen.obj["status"].get("phase") == "Failed", 60)
    aim = trace.wait("jobs", lambda seen: holds(seen.obj, "FailureTarget", reason="BackoffLimitExceeded"))
    end = trace.wait("jobs", lambda seen: holds(seen.obj, "Failed", reason="BackoffLimitExceeded"))
    assert pod.step < aim.step <= end.step
    assert ended(pod.obj)["exitCode"] == 3 and end.obj["status"]["failed"] == 1
    assert condition(end.obj, "Failed")["message"] == "Job has reached the specified backoff limit"


@scenario(
    "With restartPolicy OnFailure the container is restarted in its pod until it succeeds",
    f"{JOBS}; conformance: locally restarted",
)
def test_local_restarts(space: Space) -> None:
    code = "import os, sys; p = sys.argv[1]; n = os.path.exists(p); open(p, 'w'); sys.exit(0 if n else 1)"
    worker = app.container(code=code, args=["/scratch/n"], volumeMounts=[{"name": "s", "mountPath": "/scratch"}])
    inner = app.spec(worker, restartPolicy="OnFailure")
    inner["volumes"] = [{"name": "s", "emptyDir": {}}]
    space.create("jobs", app.job("work", "", pod_spec=inner))
    done = space.until("jobs", "work", _complete, 90)
    pods = space.items("pods", labelSelector="job-name=work")
    assert len(pods) == 1 and pods[0]["status"]["containerStatuses"][0]["restartCount"] == 1
    assert not done["status"].get("failed")


@scenario(
    "A deleted worker counts as failed while it still runs, even if it then exits 0",
    "recorded on 1.36; pkg/controller/job",
)
def test_a_deleted_worker_failed(space: Space) -> None:
    inner = app.spec(app.container(env={"LINGER": "3"}), restartPolicy="Never", terminationGracePeriodSeconds=30)
    space.create("jobs", app.job("work", "", pod_spec=inner))
    worker = _worker(space)
    space.until_pod(worker, lambda pod: space.log(worker).startswith("up"))
    trace = space.trace("jobs", "pods")
    space.delete("pods", worker)
    counted = trace.wait("jobs", lambda seen: seen.obj["status"].get("failed") == 1)
    end = trace.wait("pods", lambda seen: seen.name == worker and terminal(seen.obj))
    assert counted.step < end.step
    assert end.obj["status"]["phase"] == "Succeeded" and ended(end.obj)["exitCode"] == 0
    fresh = trace.wait("pods", lambda seen: seen.type == "ADDED", 40)
    waited = space.note("next worker after the deletion", fresh.at - trace.seen("pods")[0].at)
    # The back-off counts from whole seconds.
    assert waited >= (7 if space.real else 0)


@scenario("With backoffLimit 0 deleting the worker fails the Job at once", "recorded on 1.36")
@pytest.mark.nightly
def test_a_deleted_worker_fails_a_job_without_retries(space: Space) -> None:
    space.create("jobs", app.job("work", SLEEPER, backoffLimit=0))
    space.delete("pods", _worker(space))
    space.until("jobs", "work", lambda found: holds(found, "Failed", reason="BackoffLimitExceeded"))


@scenario(
    "podFailurePolicy Ignore for DisruptionTarget: an evicted worker does not count; its replacement waits for its end",
    FAILURE_POLICY,
)
def test_an_evicted_worker_is_ignored(space: Space) -> None:
    space.create("jobs", app.job("work", FAILING, backoffLimit=0, podFailurePolicy=IGNORE_DISRUPTION))
    worker = _worker(space)
    trace = space.trace("jobs", "pods")
    assert space.evict(worker).status_code == 201
    end = trace.wait("pods", lambda seen: seen.name == worker and (terminal(seen.obj) or seen.type == "DELETED"))
    fresh = trace.wait("pods", lambda seen: seen.type == "ADDED", 40)
    assert end.step < fresh.step
    job = space.until("jobs", "work", lambda found: found["status"].get("ready") == 1)
    assert not job["status"].get("failed") and not holds(job, "Failed")


@scenario("podFailurePolicy: an evicted worker that exits 0 in time succeeded", FAILURE_POLICY)
def test_an_evicted_worker_may_succeed(space: Space) -> None:
    space.create("jobs", app.job("work", SLEEPER, backoffLimit=0, podFailurePolicy=IGNORE_DISRUPTION))
    assert space.evict(_worker(space)).status_code == 201
    assert space.until("jobs", "work", _complete)["status"]["succeeded"] == 1


@scenario(
    "podFailurePolicy Ignore for DisruptionTarget: a plain deletion is no disruption and fails the Job",
    "recorded on 1.36",
)
def test_a_deletion_is_no_disruption(space: Space) -> None:
    space.create("jobs", app.job("work", FAILING, backoffLimit=0, podFailurePolicy=IGNORE_DISRUPTION))
    space.delete("pods", _worker(space))
    space.until("jobs", "work", lambda found: holds(found, "Failed", reason="BackoffLimitExceeded"))


@scenario("podFailurePolicy FailJob: one exit code ends the Job whatever retries are left", FAILURE_POLICY)
def test_an_exit_code_fails_the_job(space: Space) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    space.create("jobs", app.job("work", app.exits(42), podFailurePolicy={"rules": [rule]}))
    job = space.until("jobs", "work", lambda found: holds(found, "Failed", reason="PodFailurePolicy"))
    assert job["status"]["failed"] == 1


@scenario("activeDeadlineSeconds ends a Job and its pods with DeadlineExceeded", f"{JOBS}, termination")
@pytest.mark.nightly
def test_the_active_deadline(space: Space) -> None:
    trace = space.trace("jobs", "pods")
    space.create("jobs", app.job("work", SLEEPER, activeDeadlineSeconds=3))
    begun = trace.wait("jobs", lambda seen: "startTime" in seen.obj.get("status", {}))
    end = trace.wait("jobs", lambda seen: holds(seen.obj, "Failed", reason="DeadlineExceeded"))
    assert 2 <= space.note("deadline of 3 s", end.at - begun.at) <= 20
    trace.wait("pods", lambda seen: seen.deleting)


@scenario("A suspended Job ends its pods and starts afresh when resumed", f"{JOBS}, suspending")
def test_suspend_and_resume(space: Space) -> None:
    space.create("jobs", app.job("work", SLEEPER))
    worker = _worker(space)
    trace = space.trace("pods", "jobs")
    space.patch("jobs", "work", {"spec": {"suspend": True}})
    trace.wait("pods", dying(worker))
    trace.wait(
        "jobs",
        lambda seen: holds(seen.obj, "Suspended", reason="JobSuspended") and "startTime" not in seen.obj["status"],
    )
    trace.wait("pods", gone(worker))
    space.patch("jobs", "work", {"spec": {"suspend": False}})
    assert _worker(space) != worker
    assert not space.get("jobs", "work")["status"].get("failed")


@scenario(
    "A finished Job is deleted ttlSecondsAfterFinished later, with its pods",
    "kubernetes.io: TTL-after-finished Controller",
)
def test_time_to_live(space: Space) -> None:
    space.create("jobs", app.job("work", app.exits(0), ttlSecondsAfterFinished=1))
    eventually(lambda: space.find("jobs", "work") is None, 60, "the Job is gone")
    eventually(lambda: not space.items("pods"), 30, "its pods are gone")


@scenario("A Job's pods carry a finalizer until they are counted", "KEP-2307, job tracking without lingering pods")
def test_pods_are_kept_until_they_are_counted(space: Space) -> None:
    trace = space.trace("pods", "jobs")
    space.create("jobs", app.job("work", app.exits(0)))
    trace.wait("jobs", lambda seen: _complete(seen.obj), 60)
    finalizer = "batch.kubernetes.io/job-tracking"
    assert trace.seen("pods")[0].obj["metadata"]["finalizers"] == [finalizer]
    trace.wait("pods", lambda seen: terminal(seen.obj) and not seen.obj["metadata"].get("finalizers"))


@scenario(
    "Workers that fail in a row are replaced after 10 s, then 20 s, from when the container ended",
    "pkg/controller/job/backoff_utils.go",
    differs="the fast profile begins with 1 s",
)
@pytest.mark.nightly
def test_the_back_off_doubles(space: Space) -> None:
    trace = space.trace("pods", "jobs")
    space.create("jobs", app.job("work", app.exits(1), backoffLimit=2))
    trace.wait("jobs", lambda seen: holds(seen.obj, "Failed"), 120)
    added = [seen for seen in trace.seen("pods") if seen.type == "ADDED"]
    ends = [trace.wait("pods", _container_ended(one.name)) for one in added]
    gaps = [start.at - end.at for end, start in zip(ends, added[1:], strict=False)]
    unit = 10.0 if space.real else 1.0
    space.note("first back-off", gaps[0])
    space.note("second back-off", gaps[1])
    assert len(added) == 3 and gaps[0] >= unit * 0.8 - 1 and gaps[1] >= unit * 1.8 - 1 and gaps[1] > gaps[0]


@scenario("A worker that is gone for good is replaced by podReplacementPolicy", "KEP-3939")
@pytest.mark.parametrize("policy", ["TerminatingOrFailed", "Failed"])
@pytest.mark.nightly
def test_when_a_worker_is_replaced(space: Space, policy: str) -> None:
    # A real back-off is 10 s, and the old worker has to outlive it.
    linger = "18" if space.real and policy == "TerminatingOrFailed" else "4"
    inner = app.spec(
        app.container(env={"LINGER": linger, "EXIT": "1"}), restartPolicy="Never", terminationGracePeriodSeconds=60
    )
    space.create("jobs", app.job("work", "", pod_spec=inner, podReplacementPolicy=policy))
    worker = _worker(space)
    space.until_pod(worker, lambda pod: space.log(worker).startswith("up"))
    trace = space.trace("pods")
    space.delete("pods", worker)
    end = trace.wait("pods", lambda seen: seen.name == worker and terminal(seen.obj), 60)
    fresh = trace.wait("pods", lambda seen: seen.type == "ADDED", 60)
    assert (fresh.step > end.step) is (policy == "Failed")


@scenario(
    "podReplacementPolicy Failed: a deleted worker that exits 0 succeeded", "KEP-3939; pkg/controller/job, isPodFailed"
)
def test_a_deleted_worker_may_succeed(space: Space) -> None:
    inner = app.spec(app.container(env={"LINGER": "1"}), restartPolicy="Never", terminationGracePeriodSeconds=30)
    space.create("jobs", app.job("work", "", pod_spec=inner, podReplacementPolicy="Failed"))
    worker = _worker(space)
    space.until_pod(worker, lambda pod: space.log(worker).startswith("up"))
    space.delete("pods", worker)
    done = space.until("jobs", "work", _complete)
    assert done["status"]["succeeded"] == 1 and not done["status"].get("failed")
