"""Whether the load was what was planned: what the generator failed to send, how late it was, whether it went on. Reads; judges no service.

Read off the requests themselves where they tell it, because those are exact for any window; the generator's own counts (cumulative since
its begin) tell how much it meant to send.
"""

from __future__ import annotations

from collections.abc import Mapping

from chaoskit.model.history import History
from chaoskit.model.requests import Requests
from chaoskit.model.resource import Json
from chaoskit.model.seams import SLO
from chaoskit.model.units import render_ratio, render_seconds
from chaoskit.model.verdict import Window
from chaoskit.slos.responses import sent, timeout_s

ACHIEVED = 0.99
"""Less than this share of the planned requests sent is not the planned load."""
DROPPED = 0.001
"""More than this share not sent for want of a worker is not the planned load."""
LATENESS_SHARE = 0.2
"""How much of the tightest latency objective the generator itself may be late, at the 99th percentile."""
LATENESS_S = 0.05
"""How late the generator may be where no latency objective says."""


def ailing(slo: SLO, history: History, window: Window, requests: Requests) -> str | None:
    """What was wrong with the generator over the window, or None. `requests`: those of the window."""
    if error := _error(history):
        return error
    return (
        _not_achieved(history, window)
        or _dropped(requests)
        or _late(requests, _allowed_lateness(slo))
        or _stopped(history, window, requests)
    )


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


def _dropped(requests: Requests) -> str | None:
    dropped = len(requests) - sent(requests)
    if dropped <= DROPPED * len(requests):
        return None
    return f"{dropped} of {len(requests)} arrivals were not sent ({render_ratio(dropped / len(requests))}, allowed {render_ratio(DROPPED)})"


def _late(requests: Requests, allowed_s: float) -> str | None:
    """Lateness is a matter of an open model: a user's locustfile has no timetable, there intended and start are the same."""
    lateness = sorted(start - intended for start, intended in zip(requests.start_ns, requests.intended_ns, strict=True))
    p99 = lateness[int(0.99 * (len(lateness) - 1))] / 1e9 if lateness else 0.0
    if p99 <= allowed_s:
        return None
    return f"it was {render_seconds(p99)} late at the 99th percentile, allowed {render_seconds(allowed_s)}"


def _allowed_lateness(slo: SLO) -> float:
    objective = getattr(slo, "objective", None)
    if objective is None or objective.unit != "s":
        return LATENESS_S
    return LATENESS_SHARE * float(objective.value)


def _stopped(history: History, window: Window, requests: Requests) -> str | None:
    """Traffic that ends long before its window did. What is still under way is logged when it ends, hence the timeout."""
    rate = (history.plan.get("traffic") or {}).get("rate")
    if not rate or not len(requests) or _model(history) == "closed":
        return None
    silence = (window.end_ns - requests.intended_ns[-1]) / 1e9
    if silence <= timeout_s(history) + 1.0 + 10 / float(rate):
        return None
    return f"the traffic stopped {render_seconds(silence)} before the window ended"


def _model(history: History) -> str:
    return str((history.plan.get("traffic") or {}).get("model", "open"))
