"""When a phase ends, as pure functions of the history. Looks at facts already recorded; never waits and never acts."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from statistics import median

from chaoskit.model.history import History
from chaoskit.model.requests import Requests
from chaoskit.model.seams import SLO
from chaoskit.model.verdict import Finding, Grade, Window
from chaoskit.slos.judging import judged

WARM_STRETCH_S = 0.3
"""Warm-up compares two neighbouring stretches of this length, in seconds."""

HELD = 0.95
"""The share of the planned rate that counts as held."""

STEADY_LATENCY = 1.5
STEADY_LATENCY_FLOOR_S = 0.010
"""Two medians are alike when neither is more than half as long again as the other, or both are below the floor."""


def is_warm(requests: Requests, rate_per_s: float | None, now_ns: int) -> bool:
    """Whether the planned rate is held and latency is stable: two neighbouring stretches alike.

    Without a planned rate (a closed model) some answered requests in both suffice.
    """
    stretch = round(WARM_STRETCH_S * 1e9)
    later = requests.within(Window("", 0, now_ns - stretch, now_ns))
    earlier = requests.within(Window("", 0, now_ns - 2 * stretch, now_ns - stretch))
    wanted = 1 if rate_per_s is None else max(1, rate_per_s * WARM_STRETCH_S * HELD)
    if len(earlier) < wanted or len(later) < wanted * 0.8:  # the newest requests are still on their way
        return False
    return _alike(_median_latency(earlier), _median_latency(later))


def _median_latency(requests: Requests) -> float:
    spent: array[float] = array(
        "d", ((end - start) / 1e9 for start, end in zip(requests.intended_ns, requests.end_ns, strict=True))
    )
    return median(spent)


def _alike(one: float, other: float) -> bool:
    low, high = sorted((one, other))
    return high <= STEADY_LATENCY_FLOOR_S or high <= low * STEADY_LATENCY


def unsettled(history: History, slos: Sequence[SLO], sustain_s: float, now_ns: int, number: int = 0) -> Finding | None:
    """The first finding that says the system has not settled in this round, or None when all is restored and was so for `sustain_s`."""
    tail = Window("settle", number, now_ns - round(sustain_s * 1e9), now_ns)
    revert = history.phase_start("revert", number)
    if revert is None or tail.start_ns < revert:
        # Sustained means sustained after the revert began.
        return Finding("sustain", Grade.INCONCLUSIVE, f"not yet {sustain_s:g} s since the revert began")
    for slo in slos:
        if slo.steady:
            finding = judged(slo, history, tail)
            waiting = finding.grade is not Grade.PASS
        else:
            finding = judged(slo, history, next((w for w in history.windows(slo.over) if w.round == number), None))
            # A promise that is broken stays broken, and a window that has ended stays as it is: waiting longer would mend neither.
            waiting = finding.grade is Grade.INCONCLUSIVE and slo.over not in ("baseline", "fault")
        if waiting:
            return finding
    return None
