"""A history into the lines of the charts: per second what the traffic saw, over time what the cluster had. Counts; judges nothing and draws nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.requests import Requests
from chaoskit.model.resource import Obj
from chaoskit.model.timeline import Census, Timeline
from chaoskit.semantics.owners import controller_uid, replicasets_of, roots
from chaoskit.semantics.pods import serves
from chaoskit.semantics.services import is_slice_of, listed_ready

Point = tuple[float, float]

DEFAULT_TIMEOUT_S = 2.0
QUANTILES = (0.50, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; `steps`: it keeps each value until the next point. A break is a point whose y is NaN."""

    name: str
    points: tuple[Point, ...]
    steps: bool = True


@dataclass(frozen=True, slots=True)
class Stretch:
    """A named stretch of time, in seconds from the zero of the axis."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Axis:
    """The one time axis: zero is the first mutation, or the begin of a run that changed nothing."""

    zero_ns: int
    start_s: float
    end_s: float

    def seconds(self, t_ns: int) -> float:
        return (t_ns - self.zero_ns) / 1e9


def axis_of(history: History) -> Axis:
    """From the begin of the warm-up to the end of the run."""
    first = history.events[0].t_ns if history.events else 0
    start, end = history.phase_start("warm-up"), history.phase_start("ended")
    start, end = first if start is None else start, history.now_ns if end is None else end
    injected = history.injected_ns()
    zero = start if injected is None else injected
    return Axis(zero, (start - zero) / 1e9, max((end - zero) / 1e9, (start - zero) / 1e9 + 1))


def stretches(history: History, axis: Axis) -> list[Stretch]:
    """The windows that are judged, for shading."""
    windows = [window for name in ("baseline", "fault", "recovery") for window in history.windows(name)]
    return [Stretch(w.name, axis.seconds(w.start_ns), axis.seconds(w.end_ns)) for w in windows]


def phases(history: History, axis: Axis) -> list[Stretch]:
    """The phases, each from its begin to the next one's."""
    begun = [(event.data["name"], axis.seconds(event.t_ns)) for event in history.of("phase")]
    ends = [start for _, start in begun[1:]] + [axis.end_s]
    return [Stretch(name, start, end) for (name, start), end in zip(begun, ends, strict=True) if name != "ended"]


def rates(history: History, axis: Axis) -> list[Line]:
    """Requests and failures per second by intended start, for each connection policy."""
    timeout = (history.plan.get("traffic") or {}).get("timeout")
    limit_ns = round((DEFAULT_TIMEOUT_S if timeout is None else float(timeout)) * 1e9)
    lines = []
    for policy, requests in sorted(history.requests.by("policy").items()):
        name = policy or "unknown"
        lines.append(_per_second(f"{name}: requests/s", requests, axis, lambda status, ns: True))
        lines.append(
            _per_second(f"{name}: failures/s", requests, axis, lambda status, ns: not 0 < status < 500 or ns > limit_ns)
        )
    return lines


def _per_second(name: str, requests: Requests, axis: Axis, counts: Callable[[int, int], bool]) -> Line:
    buckets = _buckets(axis)
    for status, intended, end in zip(requests.status, requests.intended_ns, requests.end_ns, strict=True):
        second = math.floor(axis.seconds(intended))
        if second in buckets and counts(status, end - intended):
            buckets[second] += 1
    return Line(name, tuple((float(second), float(count)) for second, count in buckets.items()))


def _buckets(axis: Axis) -> dict[int, int]:
    """Whole seconds only: a broken second at the end would look like a fall of the rate."""
    return dict.fromkeys(range(math.ceil(axis.start_s), math.floor(axis.end_s)), 0)


def latencies(history: History, axis: Axis) -> list[Line]:
    """p50, p95 and p99 in milliseconds of the answered requests of each second; a break where nothing was answered."""
    answered: dict[int, list[float]] = {second: [] for second in _buckets(axis)}
    requests = history.requests
    for status, intended, end in zip(requests.status, requests.intended_ns, requests.end_ns, strict=True):
        second = math.floor(axis.seconds(intended))
        if status and second in answered:
            answered[second].append((end - intended) / 1e6)
    ordered = {second: sorted(values) for second, values in answered.items()}
    return [
        Line(f"p{q * 100:g}", tuple((float(second), _quantile(values, q)) for second, values in ordered.items()))
        for q in QUANTILES
        if any(ordered.values())
    ]


def _quantile(ordered: Sequence[float], q: float) -> float:
    """The type-7 quantile, as the SLO takes it; NaN of nothing."""
    if not ordered:
        return math.nan
    at = q * (len(ordered) - 1)
    low, high = math.floor(at), math.ceil(at)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def levels(history: History, axis: Axis) -> list[Line]:
    """How many of the target's pods were ready, and how many a Service listed as ready endpoints."""
    pods = history.objects("pods").count(_counted_pods(history))
    lines = [_stepped("ready pods", pods, axis)]
    if history.subject.services:
        lines.append(_stepped("ready endpoints", _listed(history), axis))
    return [line for line in lines if line.points]


def _counted_pods(history: History) -> Callable[[Obj], bool]:
    uids = target_controllers(history)
    return lambda pod: serves(pod) and (not uids or controller_uid(pod) in uids)


def target_controllers(history: History) -> frozenset[str]:
    """The uids of the target's workloads and of every ReplicaSet they had during the run."""
    seen = [
        value for line in history.objects("workloads").each().values() for value in line.values if value is not None
    ]
    known = (*history.subject.workloads, *seen)
    found = roots(history.subject.workloads)
    owned = (each for workload in found for each in replicasets_of(workload, known))
    return frozenset(str(each["metadata"]["uid"]) for each in (*found, *owned))


def _listed(history: History) -> Timeline[int]:
    services = history.subject.services
    slices = history.objects("endpoints").only(lambda found: any(is_slice_of(found, service) for service in services))
    counted: Timeline[int] = Timeline()
    current: dict[str, frozenset[str]] = {}
    for t_ns, uid, value in _changes(slices):
        current[uid] = frozenset() if value is None else listed_ready(value)
        counted.add(t_ns, len(frozenset().union(*current.values())))
    return counted


def _changes(census: Census[Obj]) -> Iterable[tuple[int, str, Obj | None]]:
    changes = [(t_ns, uid, value) for uid, line in census.each().items() for t_ns, value in line.changes()]
    return sorted(changes, key=lambda change: change[0])


def _stepped(name: str, timeline: Timeline[int], axis: Axis) -> Line:
    return Line(name, tuple(_clipped(((axis.seconds(t_ns), float(v)) for t_ns, v in timeline.changes()), axis)))


def _clipped(points: Iterable[Point], axis: Axis) -> Iterator[Point]:
    """The points of the axis, beginning with the value it begins with and ending with the one it ends with."""
    before: float | None = None
    begun = False
    for x, y in points:
        if x > axis.end_s:
            break
        if x < axis.start_s:
            before = y
            continue
        if not begun and before is not None and x > axis.start_s:
            yield axis.start_s, before
        begun, before = True, y
        yield x, y
    if before is not None:
        if not begun:
            yield axis.start_s, before
        yield axis.end_s, before


def as_json(lines: Iterable[Line]) -> list[Mapping[str, object]]:
    """Lines as plain data; a break is null."""
    return [{"name": line.name, "points": [_pair(point) for point in line.points]} for line in lines]


def _pair(point: Point) -> list[float | None]:
    x, y = point
    return [round(x, 3), None if math.isnan(y) else round(y, 3)]
