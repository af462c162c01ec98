"""Job controller: runs pods until enough have succeeded or too much has failed, counting each pod exactly once.

A pod is counted by noting its uid in the status, taking its finalizer off, and then raising the count, so that watchers
see the three steps of a real cluster. What counts and how a Job ends is decided in jobpods.py and jobend.py.
Rules: pkg/controller/job/job_controller.go; delays and orders as recorded on a real cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from chaoskit.sandbox.controllers import jobend
from chaoskit.sandbox.controllers.jobcount import Backoff, Count, Memory, count_of, failing, note_failures
from chaoskit.sandbox.controllers.jobend import Ending
from chaoskit.sandbox.controllers.jobpods import (
    TRACKING,
    active_of,
    doubles,
    index_of,
    is_indexed,
    is_tracked,
    limit_per_index,
    next_indexes,
    render_indexes,
    replaces_failed_only,
    superfluous,
    wanted_active,
    worker,
)
from chaoskit.sandbox.controllers.loop import Controller, Key, RetryLater, drive, key_of
from chaoskit.sandbox.controllers.ownership import claim, concerned_owners, controller_of
from chaoskit.sandbox.controllers.podwork import create_pod, delete_pod
from chaoskit.sandbox.events import record
from chaoskit.sandbox.facts import clock
from chaoskit.sandbox.facts.conditions import find_condition
from chaoskit.sandbox.facts.pods import is_deleting, is_finished, is_ready, is_terminating
from chaoskit.sandbox.registry import ApiError, Change, Registry, thaw
from chaoskit.sandbox.settings import ClusterSettings, Timings

Obj = dict[str, Any]
ACTOR = "job-controller"
BURST = 500


class Jobs:
    """The controller's memory and timings; `reconcile` settles one Job, or lets go of a pod whose Job is gone."""

    def __init__(self, timings: Timings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._timings = timings
        self._clock_s = clock_s
        self._memories: dict[str, Memory] = {}

    def controller(self) -> Controller:
        return Controller("job", {"jobs": self._of_job, "pods": _of_pod}, self.reconcile)

    def reconcile(self, registry: Registry, key: Key) -> float | None:
        """Key: (namespace, Job), or ("pod", namespace, name). Returns when to look again."""
        if len(key) == 3:
            _let_go_of_orphan(registry, key[1], key[2])
            return None
        job = registry.find("jobs", *key)
        if job is None:
            return None
        memory = self._memories.setdefault(job["metadata"]["uid"], Memory())
        pods = claim(registry, job, "pods", ACTOR)
        if jobend.is_over(job):
            for pod in pods:
                _untrack(registry, pod)
            return _expire(registry, job)
        wait_s = self._batch_in(memory, pods)
        return wait_s if wait_s > 0 else self._settle(registry, job, pods, memory)

    def _batch_in(self, memory: Memory, pods: Sequence[Obj]) -> float:
        """Seconds until pods that ended are counted: together, a moment after the first was seen."""
        now_s = self._clock_s()
        ended = [
            pod["metadata"]["uid"] for pod in pods if is_tracked(pod) and is_finished(pod) and not is_deleting(pod)
        ]
        memory.noticed = {uid: memory.noticed.get(uid, now_s) for uid in ended}
        return min(memory.noticed.values(), default=float("-inf")) + self._timings.job_sync_batch_s - now_s

    def _settle(self, registry: Registry, job: Obj, pods: Sequence[Obj], memory: Memory) -> float | None:
        now_s = clock.now()
        job = _started(registry, job, now_s)
        count = count_of(job, pods, memory)
        note_failures(count, memory)
        ending = jobend.known(job) or failing(count, now_s)
        pause_s, refusal = None, None
        if ending is not None:
            _delete_all(registry, job, active_of(pods))
        elif not is_deleting(job):
            pause_s, refusal = self._manage(registry, count, memory, now_s)
            ending = _completing(registry, count)
        _track(registry, count, ending, now_s)
        if refusal is not None:
            raise RetryLater(refusal)
        waits = [each for each in (pause_s, jobend.deadline_in(job, now_s)) if each is not None]
        return min(waits, default=None)

    def _manage(
        self, registry: Registry, count: Count, memory: Memory, now_s: float
    ) -> tuple[float | None, str | None]:
        """Make or delete pods; answers how long the next has to wait, and why one was refused."""
        job = count.job
        active = active_of(count.pods)
        if job["spec"].get("suspend"):
            _discard(registry, job, active)
            return None, None
        if is_indexed(job):
            spare = doubles(active, set(count.done) | set(count.broken))
            _discard(registry, job, spare)
            active = [pod for pod in active if pod not in spare]
        wanted = wanted_active(job, len(active), count.successes, len(count.broken))
        if len(active) > wanted:
            _discard(registry, job, superfluous(active, len(active) - wanted))
        ending = sum(map(is_terminating, count.pods)) if replaces_failed_only(job) else 0
        missing = min(wanted - ending - len(active), BURST)
        return self._create(registry, count, memory, missing, now_s) if missing > 0 else (None, None)

    def _create(
        self, registry: Registry, count: Count, memory: Memory, missing: int, now_s: float
    ) -> tuple[float | None, str | None]:
        limits = self._timings.job_pod_failure_backoff_s, self._timings.max_job_pod_failure_backoff_s
        job, pauses = count.job, []
        if limit_per_index(job) is None and (pause_s := memory.whole.left_s(now_s, *limits)) > 0:
            return pause_s, None
        for index in _places(count, missing):
            backoff = memory.by_index.get(-1 if index is None else index, Backoff())
            per_index = limit_per_index(job) is not None
            if per_index and (pause_s := backoff.left_s(now_s, *limits)) > 0:
                pauses.append(pause_s)
                continue
            refusal = create_pod(registry, job, worker(job, index, backoff.failures), ACTOR)
            if refusal is not None:
                return None, refusal
        return min(pauses, default=None), None

    def _of_job(self, registry: Registry, change: Change) -> list[Key]:
        if change.type != "DELETED":
            return [key_of(change.obj)]
        self._memories.pop(change.obj["metadata"]["uid"], None)
        return [("pod", *key_of(pod)) for kind, pod in registry.owned(change.obj["metadata"]["uid"]) if kind == "pods"]


def _places(count: Count, missing: int) -> list[int | None]:
    """One entry per pod to make: its index, or None in a Job without indexes."""
    if not is_indexed(count.job):
        return [None] * missing
    going_on = {index_of(pod) for pod in active_of(count.pods)}
    if replaces_failed_only(count.job):
        going_on |= {index_of(pod) for pod in count.pods if is_terminating(pod)}
    taken = set(count.done) | set(count.broken) | {number for number in going_on if number is not None}
    return list(next_indexes(count.job, taken, missing))


def _started(registry: Registry, job: Obj, now_s: float) -> Obj:
    """The Job with its start, suspension or resumption written down."""
    status, suspended = job.get("status", {}), bool(job["spec"].get("suspend"))
    fresh: Obj = dict(status)
    told = find_condition(status.get("conditions") or (), "Suspended")
    if suspended and (told is None or told["status"] != "True"):
        fresh.pop("startTime", None)
        fresh["conditions"] = jobend.put(
            status.get("conditions") or (), "Suspended", "True", "JobSuspended", "Job suspended", now_s
        )
        record(registry, job, "Normal", "Suspended", "Job suspended", ACTOR)
    elif not suspended and told is not None and told["status"] == "True":
        fresh["conditions"] = jobend.put(status["conditions"], "Suspended", "False", "JobResumed", "Job resumed", now_s)
        record(registry, job, "Normal", "Resumed", "Job resumed", ACTOR)
    if not suspended and "startTime" not in fresh:
        fresh["startTime"] = clock.render_time(now_s)
    return job if fresh == status else {**job, "status": fresh}


def _completing(registry: Registry, count: Count) -> Ending | None:
    completions = count.job["spec"].get("completions")
    active = active_of(_pods_now(registry, count.job))
    if completions is None:
        enough = count.successes > 0 and not active
    else:
        enough = count.successes >= completions and not active and not count.job["spec"].get("suspend")
    return jobend.COMPLETED if enough else None


def _pods_now(registry: Registry, job: Obj) -> list[Obj]:
    return [pod for kind, pod in registry.owned(job["metadata"]["uid"]) if kind == "pods"]


def _track(registry: Registry, count: Count, ending: Ending | None, now_s: float) -> None:
    """Write the numbers, and count what ended: note the uids, let go of the pods, raise the counts.

    A Job that ends tells what it is heading for in the first write, and the end, if nothing runs any more, in the last.
    """
    job, status = count.job, _numbers(registry, count)
    noted = {"failed": [pod["metadata"]["uid"] for pod in count.failed]}
    if not is_indexed(job):
        noted["succeeded"] = [pod["metadata"]["uid"] for pod in count.succeeded]
    else:
        status |= {"succeeded": count.successes} if count.successes else {}
    uncounted = {name: uids for name, uids in noted.items() if uids}
    if ending is not None:
        conditions = status.get("conditions") or ()
        status["conditions"] = jobend.put(conditions, ending.target, "True", ending.reason, ending.message, now_s)
    if uncounted or ending is not None:
        _publish(registry, job, status | {"uncountedTerminatedPods": uncounted})
    for pod in (*count.succeeded, *count.failed, *count.ignored):
        _untrack(registry, pod)
    counts = {"succeeded": count.successes, "failed": count.failures}
    status |= {name: number for name, number in counts.items() if number}
    if ending is not None and not any(not is_finished(pod) or is_tracked(pod) for pod in _pods_now(registry, job)):
        status = _ended(registry, job, status, ending, now_s)
    _publish(registry, job, status)


def _numbers(registry: Registry, count: Count) -> Obj:
    pods = _pods_now(registry, count.job)
    active = active_of(pods)
    status: Obj = {key: value for key, value in count.status.items() if key != "active"}
    status |= {"active": len(active)} if active else {}
    status |= {
        "ready": sum(map(is_ready, active)),
        "terminating": sum(map(is_terminating, pods)),
        "uncountedTerminatedPods": {},
    }
    indexes = {"completedIndexes": count.done, "failedIndexes": count.broken}
    return status | {name: render_indexes(numbers) for name, numbers in indexes.items() if numbers}


def _ended(registry: Registry, job: Obj, status: Obj, ending: Ending, now_s: float) -> Obj:
    """The status at the end itself, and its event."""
    put = jobend.put(status["conditions"], ending.end, "True", ending.reason, ending.message, now_s)
    status = status | {"conditions": put, "ready": 0, "terminating": 0}
    status.pop("active", None)
    if ending.is_success:
        status["completionTime"] = clock.render_time(now_s)
        record(registry, job, "Normal", "Completed", "Job completed", ACTOR)
    else:
        record(registry, job, "Warning", ending.reason, ending.message, ACTOR)
    return status


def _publish(registry: Registry, job: Obj, status: Obj) -> None:
    namespace, name = key_of(job)
    stored = registry.get("jobs", namespace, name)
    if status != stored.get("status"):
        fresh = thaw(stored) | {"status": status}
        registry.update("jobs", namespace, name, fresh, actor=ACTOR, subresource="status")


def _delete_all(registry: Registry, job: Obj, pods: Sequence[Obj]) -> None:
    for pod in pods:
        delete_pod(registry, job, pod, ACTOR)


def _discard(registry: Registry, job: Obj, pods: Sequence[Obj]) -> None:
    """Delete pods the Job has no use for; let go of first, they never count as failures."""
    for pod in pods:
        _untrack(registry, pod)
    _delete_all(registry, job, pods)


def _untrack(registry: Registry, pod: Obj) -> None:
    """Take the finalizer off; a pod that only waited for that is gone then."""
    namespace, name = key_of(pod)
    live = registry.find("pods", namespace, name)
    if live is None or live["metadata"]["uid"] != pod["metadata"]["uid"] or not is_tracked(live):
        return
    fresh = thaw(live)
    fresh["metadata"]["finalizers"] = [each for each in live["metadata"]["finalizers"] if each != TRACKING]
    registry.update("pods", namespace, name, fresh, actor=ACTOR)


def _let_go_of_orphan(registry: Registry, namespace: str, name: str) -> None:
    """A pod that waits for a Job that is gone waits for nobody."""
    pod = registry.find("pods", namespace, name)
    if pod is None or not is_tracked(pod):
        return
    owner = controller_of(pod)
    job = None if owner is None else registry.find("jobs", namespace, owner["name"])
    if job is None or owner is None or job["metadata"]["uid"] != owner["uid"]:
        _untrack(registry, pod)


def _expire(registry: Registry, job: Obj) -> float | None:
    """Delete a finished Job whose ttlSecondsAfterFinished are over; else the seconds that are left."""
    ttl_s = job["spec"].get("ttlSecondsAfterFinished")
    if ttl_s is None or is_deleting(job):
        return None
    left_s = jobend.over_since(job) + float(ttl_s) - clock.now()
    if left_s > 0:
        return left_s
    namespace, name = key_of(job)
    try:
        uid = job["metadata"]["uid"]
        registry.delete(
            "jobs", namespace, name, actor="ttl-after-finished-controller", uid=uid, propagation="Foreground"
        )
    except ApiError as error:
        if error.code not in (404, 409):
            raise
    return None


def _of_pod(registry: Registry, change: Change) -> list[Key]:
    keys = concerned_owners(registry, change, "Job", "jobs")
    if change.type != "DELETED" and is_tracked(change.obj):
        keys.append(("pod", *key_of(change.obj)))
    return keys


async def run(registry: Registry, settings: ClusterSettings) -> None:
    """Run until cancelled."""
    await drive(Jobs(settings.timings).controller(), registry)
