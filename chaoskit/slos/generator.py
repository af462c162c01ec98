"""Whether the load was what was planned: what the generator failed to send, how late it was, whether it went on. Reads; judges no service.

Read off the requests themselves where they tell it, because those are exact for any window; the generator's own counts (cumulative since
its begin) tell how much it meant to send.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from operator import sub

from chaoskit.model.history import History
from chaoskit.model.requests import Requests
from chaoskit.model.resource import Json
from chaoskit.model.seams import SLO
from chaoskit.model.units import render_ratio, render_seconds
from chaoskit.model.verdict import Window
from chaoskit.slos.responses import Look, timeout_s

ACHIEVED = 0.99
"""Less than this share of the planned requests sent is not the planned load."""
DROPPED = 0.001
"""More than this share not sent for want of a worker is not the planned load."""
LATENESS_SHARE = 0.2
"""How much of the latency an SLO judges by the generator itself may be late, at the 99th percentile."""
PACE = 0.8
"""A closed loop that sends less than this share of what it sent over the baseline was held up: what it did not send it did not count."""

TOLERATED = frozenset({"generator.dropped", "generator.late", "generator.cut"})
"""The generator's errors of which a few are allowed. Of the others none is: a machine without ports or addresses measures itself."""


def ailing(slo: SLO, history: History, window: Window, found: Look) -> str | None:
    """What was wrong with the generator over the window, or None. `found`: the requests of the window."""
    if error := _error(history):
        return error
    return (
        _hidden(history)
        or _not_achieved(history, window)
        or _exhausted(found)
        or _dropped(found)
        or _late(found, _allowed_lateness(slo, history))
        or _stopped(history, window, found.requests)
    )


def undercounted(history: History, window: Window) -> str | None:
    """Why a closed loop may not have counted an outage, or None: users who wait send nothing, so what they would have felt is missing."""
    baseline = next(iter(history.windows("baseline")), None)
    if baseline is None or not is_closed(history) or window.name in ("baseline", "settle") or not window.seconds:
        return None
    before = len(history.requests.within(baseline)) / max(baseline.seconds, 1e-9)
    pace = len(history.requests.within(window)) / window.seconds / before if before else 1.0
    if pace >= PACE:
        return None
    return f"the users waited instead of asking: only {render_ratio(pace)} of the baseline's requests a second were sent, so an outage is under-counted"


def is_closed(history: History) -> bool:
    """Whether the traffic was a closed model: a locustfile's users, who wait for an answer before they ask again."""
    return _model(history) == "closed"


def _hidden(history: History) -> str | None:
    """A generator that ended more requests than its log holds has hidden some."""
    ended = history.of("traffic.ended")
    if not ended or is_closed(history):
        return None
    completed = int(ended[-1].data.get("completed") or 0)
    hidden = completed - len(history.requests)
    if hidden <= max(1, DROPPED * completed):
        return None
    return f"it hides requests: {completed} were completed and {len(history.requests)} reported"


def _exhausted(found: Look) -> str | None:
    """Ports, files or addresses that ran out on this machine."""
    if not found.unsent:
        return None
    errors = found.requests.tables["error"]
    counted = Counter(errors[found.requests.error[i]] for i in found.unsent)
    grave = [(count, what) for what, count in counted.items() if what not in TOLERATED]
    if not grave:
        return None
    return "this machine could not send: " + ", ".join(f"{count} {what}" for count, what in sorted(grave, reverse=True))


def _error(history: History) -> str:
    return next(
        (
            str(event.data["error"])
            for event in history.of("traffic.health", "traffic.ended")
            if event.data.get("error")
        ),
        "",
    )


def _not_achieved(history: History, window: Window) -> str | None:
    before, after = _counts(history, window.start_ns), _counts(history, window.end_ns)
    planned = after.get("planned", 0) - before.get("planned", 0)
    done = after.get("sent", 0) - before.get("sent", 0)
    if planned <= 0 or planned - done <= max(1, (1 - ACHIEVED) * planned):
        return None
    return f"it sent {done} of {planned} planned requests ({render_ratio(max(done, 0) / planned)}, needs {render_ratio(ACHIEVED)})"


def _counts(history: History, t_ns: int) -> Mapping[str, Json]:
    reports = [event for event in history.of("traffic.health", "traffic.ended") if event.t_ns <= t_ns]
    return reports[-1].data if reports else {}


def _dropped(found: Look) -> str | None:
    dropped, requests = len(found.unsent), found.requests
    if dropped <= DROPPED * len(requests):
        return None
    return f"{dropped} of {len(requests)} arrivals were not sent ({render_ratio(dropped / len(requests))}, allowed {render_ratio(DROPPED)})"


def _late(found: Look, allowed_s: float) -> str | None:
    """Lateness is a matter of an open model: a user's locustfile has no timetable, there intended and start are the same."""
    requests = found.requests
    if found.late(allowed_s * 1e9) <= 0.01 * len(requests):
        return None
    lateness = sorted(map(sub, requests.start_ns, requests.intended_ns))
    p99 = lateness[int(0.99 * (len(lateness) - 1))] / 1e9
    return f"it was {render_seconds(p99)} late at the 99th percentile, allowed {render_seconds(allowed_s)}"


def _allowed_lateness(slo: SLO, history: History) -> float:
    """Where no latency objective says, a request is judged by the traffic's timeout: that is the latency it must not spoil."""
    objective = getattr(slo, "objective", None)
    judged_by_s = float(objective.value) if objective is not None and objective.unit == "s" else timeout_s(history)
    return LATENESS_SHARE * judged_by_s


def _stopped(history: History, window: Window, requests: Requests) -> str | None:
    """Traffic that ends long before its window did. What is still under way is logged when it ends, hence the timeout."""
    rate = (history.plan.get("traffic") or {}).get("rate")
    if not rate or not len(requests) or is_closed(history):
        return None
    silence = (window.end_ns - requests.intended_ns[-1]) / 1e9
    if silence <= timeout_s(history) + 1.0 + 10 / float(rate):
        return None
    return f"the traffic stopped {render_seconds(silence)} before the window ended"


def _model(history: History) -> str:
    return str((history.plan.get("traffic") or {}).get("model", "open"))
