"""A Job's pods: which count, which index each has, what a failure policy says, how many there should be. Pure.

Rules: pkg/controller/job/job_controller.go, indexed_job_utils.go, pod_failure_policy.go; kubernetes.io, Jobs. A pod that
is being deleted counts as failed at once, whatever it exits with (recorded), unless the Job replaces failed pods only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chaoskit.sandbox.controllers.podwork import pod_from
from chaoskit.sandbox.facts.clock import parse_time
from chaoskit.sandbox.facts.conditions import condition_is, find_condition
from chaoskit.sandbox.facts.pods import is_active, is_deleting, phase
from chaoskit.sandbox.facts.selection import labels_of

Obj = dict[str, Any]
TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
Action = Literal["Count", "Ignore", "FailJob", "FailIndex"]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the failure policy makes of one failed pod. `said` is the message of a Job that fails by it."""

    action: Action
    said: str = ""


def is_indexed(job: Mapping[str, Any]) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def limit_per_index(job: Mapping[str, Any]) -> int | None:
    limit = job["spec"].get("backoffLimitPerIndex")
    return None if limit is None else int(limit)


def replaces_failed_only(job: Mapping[str, Any]) -> bool:
    """Does a pod count only at its end, and does its replacement wait for that?"""
    return bool(job["spec"].get("podFailurePolicy")) or job["spec"].get("podReplacementPolicy") == "Failed"


def is_tracked(pod: Mapping[str, Any]) -> bool:
    """Not counted yet: the finalizer goes when a pod is counted."""
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def has_succeeded(pod: Mapping[str, Any]) -> bool:
    return phase(pod) == "Succeeded"


def has_failed(job: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    if phase(pod) == "Failed":
        return True
    return not replaces_failed_only(job) and is_deleting(pod) and not has_succeeded(pod)


def ended_at(pod: Mapping[str, Any]) -> float:
    """Epoch seconds, whole ones: its last container's end, else when it stopped being ready or was deleted."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    ends = [each.get("state", {}).get("terminated", {}).get("finishedAt") for each in statuses]
    if ends and all(ends):
        return max(parse_time(end) for end in ends)
    ready = find_condition(pod.get("status", {}).get("conditions") or (), "Ready")
    if not is_deleting(pod) and ready is not None and ready.get("status") == "False":
        return parse_time(ready.get("lastTransitionTime"))
    metadata = pod["metadata"]
    if is_deleting(pod):
        return parse_time(metadata["deletionTimestamp"]) - float(metadata.get("deletionGracePeriodSeconds", 0))
    return parse_time(metadata.get("creationTimestamp"))


def index_of(pod: Mapping[str, Any]) -> int | None:
    told = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(told) if told.isdecimal() else None


def parse_indexes(text: str) -> set[int]:
    """`0,2-4` as a set."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def render_indexes(indexes: Iterable[int]) -> str:
    """A set as upstream writes it: `0,1`, but `0-2`."""
    runs: list[list[int]] = []
    for number in sorted(indexes):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(_render_run(first, last) for first, last in runs)


def _render_run(first: int, last: int) -> str:
    if last - first > 1:
        return f"{first}-{last}"
    return str(first) if first == last else f"{first},{last}"


def rule_on(job: Mapping[str, Any], pod: Mapping[str, Any]) -> Ruling:
    """The first rule of the failure policy that fits a failed pod; without one the failure counts."""
    for place, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        said = _matches(rule, pod)
        if said is not None:
            return Ruling(rule["action"], f"{said} matching {rule['action']} rule at index {place}")
    return Ruling("Count")


def _matches(rule: Mapping[str, Any], pod: Mapping[str, Any]) -> str | None:
    where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    if (codes := rule.get("onExitCodes")) is not None:
        found = next((each for each in _exits(pod) if _code_fits(codes, *each)), None)
        return None if found is None else f"Container {found[0]} for pod {where} failed with exit code {found[1]}"
    for pattern in rule.get("onPodConditions") or ():
        if condition_is(pod, pattern["type"], pattern.get("status", "True")):
            return f"Pod {where} has condition {pattern['type']}"
    return None


def _exits(pod: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(container, exit code) of what failed."""
    status = pod.get("status", {})
    ended = [
        (each["name"], int(each["state"]["terminated"].get("exitCode", 0)))
        for key in ("containerStatuses", "initContainerStatuses")
        for each in status.get(key) or ()
        if "terminated" in (each.get("state") or {})
    ]
    return [(name, code) for name, code in ended if code != 0]


def _code_fits(codes: Mapping[str, Any], container: str, code: int) -> bool:
    if codes.get("containerName") not in (None, container):
        return False
    return (code in (codes.get("values") or ())) is (codes.get("operator") == "In")


def restarts_exceed(job: Mapping[str, Any], pods: Iterable[Obj]) -> bool:
    """OnFailure: have the restarts of the pods that go on used up backoffLimit?"""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    statuses = [
        each
        for pod in pods
        if phase(pod) in ("Running", "Pending")
        for key in ("initContainerStatuses", "containerStatuses")
        for each in pod.get("status", {}).get(key) or ()
    ]
    restarts = sum(each.get("restartCount", 0) for each in statuses)
    limit = job["spec"]["backoffLimit"]
    return bool(restarts > 0 if limit == 0 else restarts >= limit)


def wanted_active(job: Mapping[str, Any], active: int, succeeded: int, failed_indexes: int = 0) -> int:
    """How many pods should be running: what is left to do, within parallelism. Without completions, until one succeeds."""
    parallelism, completions = int(job["spec"]["parallelism"]), job["spec"].get("completions")
    if completions is None:
        return min(active, parallelism) if succeeded > 0 else parallelism
    return min(parallelism, max(0, int(completions) - succeeded - failed_indexes))


def next_indexes(job: Mapping[str, Any], taken: set[int], count: int) -> list[int]:
    """The lowest indexes that nobody has."""
    free = (number for number in range(int(job["spec"]["completions"])) if number not in taken)
    return [number for number, _ in zip(free, range(count), strict=False)]


def superfluous(pods: Sequence[Obj], count: int) -> list[Obj]:
    """Which active pods go first: those that have not got far, then the youngest."""
    ranked = sorted(pods, key=lambda pod: pod["metadata"].get("creationTimestamp", ""), reverse=True)
    ranked.sort(key=lambda pod: (bool(pod["spec"].get("nodeName")), phase(pod) == "Running"))
    return ranked[:count]


def doubles(pods: Iterable[Obj], done: set[int]) -> list[Obj]:
    """Active pods of an Indexed Job that have an index somebody else has, or that is done, or none that it knows."""
    seen, found = set(done), []
    for pod in pods:
        number = index_of(pod)
        if number is None or number in seen:
            found.append(pod)
        else:
            seen.add(number)
    return found


def worker(job: Obj, index: int | None = None, failures: int = 0) -> Obj:
    """The pod a Job makes; with an index in its name, host name, label, annotation and environment."""
    pod = pod_from(job)
    metadata = pod["metadata"]
    metadata["finalizers"] = [*metadata.get("finalizers", ()), TRACKING]
    if index is None:
        return pod
    name = f"{job['metadata']['name']}-{index}"
    metadata["generateName"] = f"{name}-"
    metadata["labels"] = labels_of(pod) | {INDEX: str(index)}
    metadata["annotations"] = (metadata.get("annotations") or {}) | {INDEX: str(index)}
    if limit_per_index(job) is not None:
        metadata["annotations"][INDEX_FAILURES] = str(failures)
    pod["spec"]["hostname"] = name
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
    for container in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]:
        env = container.get("env") or []
        if not any(each["name"] == "JOB_COMPLETION_INDEX" for each in env):
            container["env"] = [*env, {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]
    return pod


def active_of(pods: Iterable[Obj]) -> list[Obj]:
    return [pod for pod in pods if is_active(pod)]
