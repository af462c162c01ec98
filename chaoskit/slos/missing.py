"""What an SLO needs and a history lacks: feeds that were heard without a gap, traffic, a sound generator, identity. Says why; concludes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.model.history import Deaf, History
from chaoskit.model.seams import SLO
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Window
from chaoskit.slos.generator import ailing
from chaoskit.slos.responses import sent

EVIDENCE = frozenset({"traffic", "identity", "generator", "clock"})
"""The evidence an SLO may name in `needs`. Any other word there is a feed."""


def missing(slo: SLO, history: History, window: Window) -> str | None:
    """Why the SLO cannot be judged over the window, or None when all it needs is there."""
    unheard = [feed for feed in sorted(slo.needs - EVIDENCE) if not history.heard(feed)]
    if unheard:
        return f"the feed {unheard[0]} was never heard"
    gaps = history.gaps(slo.needs - EVIDENCE, window)
    if gaps:
        return _deaf(gaps, window)
    return _missing_traffic(slo, history, window)


def _deaf(gaps: Sequence[Deaf], window: Window) -> str:
    def inside_ns(gap: Deaf) -> int:
        return min(gap.end_ns, window.end_ns) - max(gap.start_ns, window.start_ns)

    longest = max(gaps, key=inside_ns)
    return f"the feed {longest.feed} was deaf for {render_seconds(inside_ns(longest) / 1e9)}: {longest.because}"


def _missing_traffic(slo: SLO, history: History, window: Window) -> str | None:
    if not slo.needs & EVIDENCE:
        return None
    requests = history.requests.within(window)
    if "traffic" in slo.needs and not sent(requests):
        return "no traffic: no request was sent in the window"
    if "generator" in slo.needs and (why := ailing(slo, history, window, requests)) is not None:
        return f"the load generator was not sound: {why}"
    if "identity" in slo.needs and not any(requests.pod):
        return "no identity: no response said which pod answered; let the application send it in a header"
    if "clock" in slo.needs and not history.of("clock"):
        return "no clock: the offset to the API server's clock was not measured"
    return None
