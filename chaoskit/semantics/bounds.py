"""How late, and how early, Kubernetes may keep a promise for this very workload: sums of terms that name where each second comes from.

Reads live objects, never files. A term's source is a field path of the live object, "measured (n=3)" or "assumed (flag=value)". A pod
with a readinessGate has no bound: somebody outside the pod decides, so the builders answer None.
No bound includes an image pull: the bounds hold for images that the nodes have.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.model.resource import Obj
from chaoskit.model.verdict import Bound, Term
from chaoskit.semantics.nodes import others_for
from chaoskit.semantics.pods import grace_s, restart_count, seconds_to_initialize, seconds_to_ready
from chaoskit.semantics.probes import (
    ProbeTimes,
    earliest_terms,
    latest_terms,
    probes_of,
    regain_terms,
    startup_terms,
)
from chaoskit.semantics.timestamps import RESOLUTION_S

OBSERVATION = Term(2.0, "observation", "assumed (slack=2s)")
"""What lies between a fact and our knowing it: status updates, watches, a busy machine. Kubernetes promises no number for it."""

POD_START = Term(5.0, "a pod created, scheduled and its containers started", "assumed (pod-startup-slo=5s)")
"""kubernetes/community, sig-scalability, pod_startup_latency.md: 99 % within 5 s, image pull and init containers left out."""

PROPAGATION = (
    Term(1.0, "EndpointSlice updated", "assumed (endpointslice-sync=1s)"),
    Term(1.0, "kube-proxy updated", "assumed (kube-proxy minSyncPeriod=1s)"),
)
"""kubernetes.io, Virtual IPs: minSyncPeriod defaults to 1 s. The controller was recorded at 10 to 200 ms; a second is granted."""

BACK_OFF_SYNC = Term(15.0, "the kubelet's next look after the back-off", "assumed (pod-sync=15s)")
"""Recorded: a back-off of 10, 20 or 40 s ends 1 to 14 s late."""

START_UNKNOWN = Term(30.0, "app start", "assumed (no pod of it is ready, app-start=30s)")


def has_readiness_gate(pod: Obj) -> bool:
    """Whether somebody outside the pod has a say in its readiness."""
    return bool(pod["spec"].get("readinessGates"))


def propagation_bound() -> Bound:
    """From a pod's readiness to every node's Service rules: slice, kube-proxy, and our seeing it."""
    return Bound((*PROPAGATION, OBSERVATION))


def removal_bound() -> Bound:
    """From the deletion of a Deployment to no new connection to its pods: garbage collection of ReplicaSet and pods, then propagation."""
    return Bound(
        (Term(2.0, "ReplicaSet and pods collected", "assumed (garbage-collection=2s)"), *PROPAGATION, OBSERVATION)
    )


def replacement_bound(pods: Sequence[Obj], workload: Obj, nodes: Sequence[Obj]) -> Bound | None:
    """From the loss of a pod of the workload until its replacement is Ready. `pods`: the workload's current pods.

    A Deployment or ReplicaSet replaces at once, while the old pod still terminates (kubernetes.io, Deployments); a StatefulSet or DaemonSet
    waits for its end, and so does a pod that no other node of `nodes` could take, because the old one holds its place: then the grace period
    is added. Without any knowledge of nodes it is added too. None: a readinessGate makes it unbounded.
    """
    if any(has_readiness_gate(pod) for pod in pods):
        return None
    return Bound(
        (*_wait_for_the_old(pods, workload, nodes), POD_START, *_init_terms(pods), *start_terms(pods), OBSERVATION)
    )


def _wait_for_the_old(pods: Sequence[Obj], workload: Obj, nodes: Sequence[Obj]) -> tuple[Term, ...]:
    waits = workload.get("kind") in ("StatefulSet", "DaemonSet")
    bound = [pod for pod in pods if waits or not others_for(pod, nodes)]
    if not bound:
        return ()
    if waits:
        why = f"grace period, a {workload['kind']} waits for the old pod"
    elif nodes:
        why = "grace period, no other node can take the pod"
    else:
        why = "grace period, whether another node can take the pod is not known"
    return (Term(max(map(grace_s, bound)), why, "spec.terminationGracePeriodSeconds"),)


def _init_terms(pods: Sequence[Obj]) -> tuple[Term, ...]:
    took = [
        seconds
        for pod in pods
        if pod["spec"].get("initContainers") and (seconds := seconds_to_initialize(pod)) is not None
    ]
    if not took:
        return ()
    return (Term(2 * max(took) + RESOLUTION_S, "init containers, twice the slowest", _measured(len(took))),)


def start_terms(pods: Sequence[Obj]) -> tuple[Term, ...]:
    """From the start of the containers until the pod is Ready: the startup probe's budget and then its readiness probe, else as measured.

    Measured: twice the slowest Ready-minus-started of the current pods, which holds the readiness probe already. Ready is stamped when it was
    *last* gained: a pod far slower than the fastest (three times and 10 s) has lost it since and does not count.
    """
    budgets = [times for pod in pods for _, times in probes_of(pod, "startupProbe")]
    if budgets:
        slowest = max(budgets, key=lambda times: times.budget_s)
        return (*startup_terms(slowest), *_slowest_regain(pods, started=False))
    took = [seconds for pod in pods if (seconds := seconds_to_ready(pod)) is not None]
    if not took:
        return (START_UNKNOWN,)
    counted = [seconds for seconds in took if seconds <= 3 * min(took) + 10]
    why = f"app start, twice the slowest of {max(counted):g} s, and {RESOLUTION_S:g} s resolution of the timestamps"
    return (Term(2 * max(counted) + RESOLUTION_S, why, _measured(len(counted))),)


def _measured(n: int) -> str:
    return f"measured (n={n})"


def _slowest_regain(pods: Sequence[Obj], *, started: bool) -> tuple[Term, ...]:
    sums = [regain_terms(times, started=started) for pod in pods for _, times in probes_of(pod, "readinessProbe")]
    return max(sums, key=lambda terms: sum(term.seconds for term in terms), default=())


def liveness_probe(pod: Obj) -> tuple[Obj, ProbeTimes] | None:
    """The container whose livenessProbe notices first, with its numbers; None when the pod has none."""
    return min(probes_of(pod, "livenessProbe"), key=lambda found: found[1].latest_s, default=None)


def liveness_restart_bound(pod: Obj, peers: Sequence[Obj] = ()) -> Bound | None:
    """From a liveness fault until the container was restarted in place and the pod is Ready again. `peers`: pods to measure the start by.

    Detection, the grace period (the probe's own one if it has one; kubernetes.io, Configure Probes), the back-off that earlier restarts
    have earned, the start. Whether ten healthy minutes have wiped the back-off cannot be read off a pod, so it is granted. None: no
    livenessProbe, or a readinessGate.
    """
    found = liveness_probe(pod)
    if found is None or has_readiness_gate(pod):
        return None
    container, times = found
    late = (*latest_terms(times, "liveness probe"), _kill_term(pod, times), *_back_off(pod, container["name"]))
    return Bound((*late, *start_terms(peers or (pod,)), OBSERVATION), earliest_terms(times, "liveness probe"))


def _kill_term(pod: Obj, times: ProbeTimes) -> Term:
    if times.grace_s is not None:
        return Term(times.grace_s, "grace period of the probe", f"{times.path}.terminationGracePeriodSeconds")
    return Term(grace_s(pod), "grace period", "spec.terminationGracePeriodSeconds")


def _back_off(pod: Obj, container: str) -> tuple[Term, ...]:
    """Restart n waits 0, 10, 20, 40 ... 300 s (kubernetes.io, Pod Lifecycle, container restarts)."""
    restarts = restart_count(pod, container)
    if restarts == 0:
        return ()
    seconds = min(10.0 * 2 ** min(restarts - 1, 10), 300.0)
    path = f"status.containerStatuses[{container}].restartCount"
    return (Term(seconds, f"back-off after {restarts} restarts", path), BACK_OFF_SYNC)


def readiness_probe(pod: Obj) -> tuple[Obj, ProbeTimes] | None:
    """The container whose readinessProbe notices first, with its numbers; None when the pod has none."""
    return min(probes_of(pod, "readinessProbe"), key=lambda found: found[1].latest_s, default=None)


def notices_readiness_bound(pod: Obj) -> Bound | None:
    """From a readiness fault until nobody is sent to the pod any more, without any slack for our seeing it. None: it has no readinessProbe."""
    found = readiness_probe(pod)
    return None if found is None else Bound((*latest_terms(found[1], "readiness probe"), *PROPAGATION))


def notices_liveness_bound(pod: Obj) -> Bound | None:
    """From a liveness fault until the kubelet begins the restart. None: the pod has no livenessProbe."""
    found = liveness_probe(pod)
    return None if found is None else Bound(latest_terms(found[1], "liveness probe"))


def leaves_service_bound(pod: Obj) -> Bound | None:
    """From a readiness fault until the pod's endpoint is no longer ready. None: it has no readinessProbe and cannot leave."""
    found = readiness_probe(pod)
    if found is None:
        return None
    times = found[1]
    late = (*latest_terms(times, "readiness probe"), *PROPAGATION, OBSERVATION)
    return Bound(late, earliest_terms(times, "readiness probe"))


def returns_to_service_bound(pod: Obj) -> Bound | None:
    """From the end of a readiness fault until the pod's endpoint is ready again. None: no readinessProbe, or a readinessGate."""
    if readiness_probe(pod) is None or has_readiness_gate(pod):
        return None
    return Bound((*_slowest_regain((pod,), started=True), *PROPAGATION, OBSERVATION))
