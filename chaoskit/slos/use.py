"""The premise "in use": whoever the fault met had served users just before. A fault on what nobody uses proves nothing. Reads; never looks.

With identity: each of them answered at least one request in the ten seconds before. Without, the claim is weaker, and marked so: it was a ready
endpoint of the traffic's Service all that time, while new connections were made to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.requests import Requests
from chaoskit.model.resource import Obj
from chaoskit.model.timeline import Timeline
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Finding, Grade, Window
from chaoskit.semantics.owners import named
from chaoskit.semantics.services import selects
from chaoskit.slos.identity import has_identity
from chaoskit.slos.listed import listed_over_time
from chaoskit.slos.responses import NEW_CONNECTIONS
from chaoskit.slos.victims import touched_pods

BEFORE_S = 10.0
"""How long before the injection they must have served, in seconds."""


@dataclass(frozen=True, slots=True)
class Use:
    """What is known of one pod before it was touched."""

    grade: Grade
    because: str


def in_use(history: History) -> Finding | None:
    """The premise; None where the fault touched no pod behind the traffic's Service, or no request was sent: then there is nothing to be said."""
    service = _service(history)
    if service is None:
        return None
    found = [use for number in range(history.rounds) for use in _uses(history, service, number)]
    if not found:
        return None
    worst = max(found, key=lambda use: use.grade)
    because = worst.because if worst.grade is not Grade.PASS else "; ".join(dict.fromkeys(use.because for use in found))
    return Finding("in use", worst.grade, because, samples=len(found))


def _service(history: History) -> Obj | None:
    name = (history.plan.get("traffic") or {}).get("service")
    return next((each for each in history.subject.services if each["metadata"]["name"] == name), None)


def _uses(history: History, service: Obj, round: int) -> Iterator[Use]:
    injected = history.injected_ns(round)
    if injected is None or not len(history.requests):
        return
    begin = max(injected - round_ns(BEFORE_S), history.requests.intended_ns[0])
    window = Window("before", round, begin, injected)
    requests = history.requests.within(window)
    if not len(requests):
        return
    named_by_responses = has_identity(history, requests)
    for pod in touched_pods(history, round):
        if selects(service, pod):
            yield (
                _served(history, pod, requests, window)
                if named_by_responses
                else _listed(history, pod, service, requests, window)
            )


def _served(history: History, pod: Obj, requests: Requests, window: Window) -> Use:
    counted = len(requests.only("pod", pod["metadata"]["name"]))
    before = f"of {len(requests)} requests in the {render_seconds(window.seconds)} before"
    if counted:
        return Use(Grade.PASS, f"{named(pod)} had answered {counted} {before}")
    why = "kept connections to other pods, or an address that was looked up once, would explain it"
    return Use(Grade.INCONCLUSIVE, f"{named(pod)} was not in use: it had answered none {before}; {why}")


def _listed(history: History, pod: Obj, service: Obj, requests: Requests, window: Window) -> Use:
    line = listed_over_time(history, service).get(pod["metadata"]["uid"], Timeline())
    known = Window("", window.round, max([window.start_ns, *line.times[:1]]), window.end_ns)
    spans = line.spans(bool, known)
    throughout = bool(spans) and spans[0].start_ns <= known.start_ns and spans[0].end_ns >= known.end_ns
    lasted = render_seconds(known.seconds)
    if not throughout:
        return Use(Grade.INCONCLUSIVE, f"{named(pod)} was not in use: it was no ready endpoint for the {lasted} before")
    policies = {requests.tables["policy"][i] for i in set(requests.policy)}
    if not policies & {*NEW_CONNECTIONS, ""}:
        return Use(
            Grade.INCONCLUSIVE,
            f"{named(pod)} may not have been in use: all connections were kept ones, and no response said which pod answered",
        )
    return Use(
        Grade.PASS,
        f"{named(pod)} was a ready endpoint for {lasted} under fresh traffic (weaker than having served: no response said which pod answered)",
    )


def round_ns(seconds: float) -> int:
    return round(seconds * 1e9)
