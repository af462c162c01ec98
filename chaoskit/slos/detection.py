"""`detectedWithin: 5s`: how long Kubernetes, or users, took to notice. Reads feeds and requests, returns a finding; never looks at the cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.resource import Obj
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.timeline import Timeline
from chaoskit.model.units import DurationField, render_seconds
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.semantics.pods import condition, is_ready, is_terminating
from chaoskit.semantics.services import services_of
from chaoskit.semantics.timestamps import RESOLUTION_S, parse_timestamp
from chaoskit.slos.clock import Skew, skew_of
from chaoskit.slos.listed import listed_over_time
from chaoskit.slos.responses import look
from chaoskit.slos.victims import touched_pods
from chaoskit.slos.windows import Over, since_injection

_TEXT = re.compile(r"(?P<within>\S+)(?:\s+by\s+(?P<by>\S+))?(?:\s+over\s+(?P<over>\S+))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DetectedWithin:
    """From the first mutation until it was noticed. By Kubernetes: until each pod that the fault touched was no ready endpoint of any of its
    Services any more, or, without a Service, was not ready, terminating or gone. By users: until the first failed request.

    The time is that at which we saw it; where the pod's own Ready condition says when it changed, the interval begins there, at the server's
    stamp brought to our clock and widened by how far that may be off. Never noticed: FAIL by Kubernetes once the limit has passed, and for users
    INCONCLUSIVE, since they noticed nothing at all.
    """

    kind: ClassVar[str] = "detectedWithin"
    needs: ClassVar[frozenset[str]] = frozenset({"pods", "endpoints", "clock"})
    steady: ClassVar[bool] = False
    text_field: ClassVar[str] = "within"
    example: ClassVar[str] = 'write it as "5s" or "5s by users"'

    within: DurationField
    """The longest time from the first mutation until it is noticed."""
    by: Literal["kubernetes", "users"] = "kubernetes"
    """Who notices."""
    over: Over = "run"
    """The window: run, unless said otherwise."""

    @classmethod
    def fields_of(cls, text: str) -> Mapping[str, Any]:
        """The fields of the text form."""
        match = _TEXT.match(text.strip())
        return {"within": text} if match is None else {name: said for name, said in match.groupdict().items() if said}

    def bound(self, subject: Subject) -> Bound | None:
        """None: the limit is the author's, not the cluster's."""
        return None

    def judge(self, history: History, window: Window) -> Finding:
        """Look for the first sign."""
        looked_at = since_injection(history, window)
        if looked_at is None:
            return Finding(str(self), Grade.INCONCLUSIVE, "nothing was injected in the window", window)
        users = _by_users(history, looked_at)
        if self.by == "users":
            return self._users(users, looked_at, window)
        pods = touched_pods(history, window.round)
        if not pods:
            return Finding(str(self), Grade.INCONCLUSIVE, "the fault touched no pod that was there", window)
        return self._kubernetes(history, pods, users, looked_at, window)

    def _users(self, took: float | None, looked_at: Window, window: Window) -> Finding:
        if took is None:
            because = "no request failed: there was nothing to notice"
            return Finding(str(self), Grade.INCONCLUSIVE, because, window, None, self.within, "s")
        grade = Grade.PASS if took <= self.within else Grade.FAIL
        because = f"the first request failed {render_seconds(took)} after the first mutation, allowed {render_seconds(self.within)}"
        return Finding(str(self), grade, because, window, took, self.within, "s")

    def _kubernetes(
        self, history: History, pods: Sequence[Obj], users: float | None, looked_at: Window, window: Window
    ) -> Finding:
        limit = render_seconds(self.within)
        felt = "users noticed nothing" if users is None else f"users after {render_seconds(users)}"
        times = [_noticed(history, pod, looked_at) for pod in pods]
        if any(t is None for t in times):
            unseen = next(pod for pod, t in zip(pods, times, strict=True) if t is None)["metadata"]["name"]
            grade = Grade.FAIL if looked_at.seconds > self.within else Grade.INCONCLUSIVE
            because = f"pod {unseen} was not noticed in {render_seconds(looked_at.seconds)}, allowed {limit}; {felt}"
            return Finding(str(self), grade, because, window, looked_at.seconds, self.within, "s")
        at_ns = max(t for t in times if t is not None)
        took = (at_ns - looked_at.start_ns) / 1e9
        last = pods[times.index(at_ns)]
        stamped = _stamped(history, last, at_ns, looked_at.start_ns)
        grade = Grade.PASS if took <= self.within else Grade.FAIL
        if grade is Grade.FAIL and stamped is not None and stamped <= self.within:
            grade = Grade.INCONCLUSIVE
        because = f"pod {last['metadata']['name']} was noticed {render_seconds(took)} after the first mutation, allowed {limit}; {felt}"
        interval = None if stamped is None else (stamped, took)
        return Finding(str(self), grade, because, window, took, self.within, "s", interval=interval)

    def __str__(self) -> str:
        return f"detectedWithin {self.within:g}s" + (" by users" if self.by == "users" else "")


def _by_users(history: History, window: Window) -> float | None:
    found = look(history, window)
    return None if not found.bad else (found.requests.intended_ns[found.bad[0]] - window.start_ns) / 1e9


def _noticed(history: History, pod: Obj, window: Window) -> int | None:
    """When the pod was out of all its Services, or without one when it showed."""
    uid = pod["metadata"]["uid"]
    services = services_of(pod, history.subject.services)
    if not services:
        line = history.objects("pods").each().get(uid, Timeline())
        return line.first(_is_out, window.start_ns, window.end_ns)
    times = [
        listed_over_time(history, service)
        .get(uid, Timeline())
        .first(lambda listed: not listed, window.start_ns, window.end_ns)
        for service in services
    ]
    return None if None in times else max(t for t in times if t is not None)


def _is_out(pod: Obj | None) -> bool:
    return pod is None or is_terminating(pod) or not is_ready(pod)


def _stamped(history: History, pod: Obj, seen_ns: int, injected_ns: int) -> float | None:
    """The earliest it can have been by the pod's own Ready condition, in seconds since the injection; None when it says nothing."""
    skew: Skew | None = skew_of(history)
    state = history.objects("pods").each().get(pod["metadata"]["uid"], Timeline[Obj | None]()).at(seen_ns)
    found = None if state is None else condition(state, "Ready")
    if skew is None or found is None or found.get("status") == "True":
        return None
    stamp = parse_timestamp(found.get("lastTransitionTime"))
    local_ns = None if stamp is None else skew.earliest_ns(stamp)
    if local_ns is None or local_ns > seen_ns or local_ns + (RESOLUTION_S + 2 * skew.error_s) * 1e9 < injected_ns:
        return None
    return max(0, local_ns - injected_ns) / 1e9
