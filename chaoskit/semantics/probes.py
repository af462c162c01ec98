"""How soon and how late the kubelet notices a failing probe, as terms that name the manifest's fields. Arithmetic only.

The kubelet runs one probe of a container after another, each at a tick of periodSeconds, the failures must be consecutive, and a probe
that hangs takes timeoutSeconds (upstream pkg/kubelet/prober/worker.go; kubernetes.io, Configure Liveness, Readiness and Startup Probes).
So a fault on a started container is noticed between (F-1) periods and F longer-of-period-and-timeout plus one timeout after it began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.model.resource import Obj
from chaoskit.model.verdict import Term


@dataclass(frozen=True, slots=True)
class ProbeTimes:
    """A probe's numbers with Kubernetes' defaults filled in. `path` is the field path of the probe in its pod."""

    path: str
    period_s: float = 10.0
    timeout_s: float = 1.0
    failures: int = 3
    successes: int = 1
    initial_s: float = 0.0
    grace_s: float | None = None

    @property
    def earliest_s(self) -> float:
        """The shortest a fault can last before it is noticed: the first failing probe comes at once, and fails at once."""
        return (self.failures - 1) * self.period_s

    @property
    def latest_s(self) -> float:
        """The longest a fault can last before it is noticed."""
        return self.failures * max(self.period_s, self.timeout_s) + self.timeout_s

    @property
    def budget_s(self) -> float:
        """The longest a container may take from its start to pass a startup probe."""
        return self.initial_s + self.latest_s


def probe_times(container: Obj, kind: str) -> ProbeTimes | None:
    """The numbers of a container's livenessProbe, readinessProbe or startupProbe; None when it has none. A 0 is a default, as for the API server."""
    probe = container.get(kind)
    if probe is None:
        return None
    grace = probe.get("terminationGracePeriodSeconds")
    return ProbeTimes(
        f"spec.containers[{container['name']}].{kind}",
        float(probe.get("periodSeconds") or 10),
        float(probe.get("timeoutSeconds") or 1),
        int(probe.get("failureThreshold") or 3),
        int(probe.get("successThreshold") or 1),
        float(probe.get("initialDelaySeconds") or 0),
        None if grace is None else float(grace),
    )


def probes_of(pod: Obj, kind: str) -> Iterator[tuple[Obj, ProbeTimes]]:
    """Each container of the pod that has such a probe, with its numbers."""
    for container in pod["spec"].get("containers") or ():
        times = probe_times(container, kind)
        if times is not None:
            yield container, times


def latest_terms(times: ProbeTimes, what: str) -> tuple[Term, ...]:
    """The latest detection as terms."""
    tick = max(times.period_s, times.timeout_s)
    return (
        Term(times.failures * tick, f"{what} notices, {times.failures} x {tick:g} s", times.path),
        Term(times.timeout_s, "timeout of its last probe", f"{times.path}.timeoutSeconds"),
    )


def earliest_terms(times: ProbeTimes, what: str) -> tuple[Term, ...]:
    """The earliest detection as terms."""
    waits = times.failures - 1
    return (Term(times.earliest_s, f"{what} cannot notice sooner, {waits} x {times.period_s:g} s", times.path),)


def startup_terms(times: ProbeTimes) -> tuple[Term, ...]:
    """The startup probe's whole budget as one term."""
    return (Term(times.budget_s, f"app start, {times.failures} startup probes", times.path),)


def regain_terms(times: ProbeTimes, *, started: bool) -> tuple[Term, ...]:
    """How late a healthy container is found ready: successThreshold periods and a timeout, after the initial delay when it was just started."""
    initial = () if started or not times.initial_s else (_initial(times),)
    return (
        *initial,
        Term(
            times.successes * times.period_s,
            f"readiness regained, {times.successes} x {times.period_s:g} s",
            times.path,
        ),
        Term(times.timeout_s, "timeout of that probe", f"{times.path}.timeoutSeconds"),
    )


def _initial(times: ProbeTimes) -> Term:
    return Term(times.initial_s, "initial delay of the probe", f"{times.path}.initialDelaySeconds")
