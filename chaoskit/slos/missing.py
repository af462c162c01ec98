"""What an SLO needs and a history lacks: feeds, traffic, new connections, a sound generator, identity, a clock. Says why; concludes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.model.history import Deaf, History
from chaoskit.model.objective import Cohort
from chaoskit.model.requests import Requests
from chaoskit.model.seams import SLO
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Window
from chaoskit.slos.clock import unsound
from chaoskit.slos.generator import ailing
from chaoskit.slos.identity import has_identity
from chaoskit.slos.responses import NEW_CONNECTIONS, look

EVIDENCE = frozenset({"traffic", "identity", "version", "generator", "clock", "fresh"})
"""The evidence an SLO may name in `needs`. Any other word there is a feed."""


def needs_of(slo: SLO) -> frozenset[str]:
    """What its kind needs, and what this one needs besides."""
    also: frozenset[str] = getattr(slo, "also_needs", frozenset())
    return slo.needs | also


def missing(slo: SLO, history: History, window: Window) -> str | None:
    """Why the SLO cannot be judged over the window, or None when all it needs is there. Gaps of a feed are not missing: see `gaps`."""
    feeds = needs_of(slo) - EVIDENCE
    unheard = [feed for feed in sorted(feeds) if not history.heard(feed)]
    if unheard:
        return f"the feed {unheard[0]} was never heard"
    return _missing_traffic(slo, history, window)


def gaps(slo: SLO, history: History, window: Window) -> tuple[float, str]:
    """For how long in all one of the SLO's feeds was deaf within the window, in seconds, and the longest gap in words; (0, "") without one."""
    found = history.gaps(needs_of(slo) - EVIDENCE, window)
    return (_deaf_s(found, window), _told(found, window)) if found else (0.0, "")


def _inside(gap: Deaf, window: Window) -> tuple[int, int]:
    return max(gap.start_ns, window.start_ns), min(gap.end_ns, window.end_ns)


def _deaf_s(found: Sequence[Deaf], window: Window) -> float:
    """The length of the union of the gaps."""
    total = reached = 0
    for start, end in sorted(_inside(gap, window) for gap in found):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total / 1e9


def _told(found: Sequence[Deaf], window: Window) -> str:
    def inside_s(gap: Deaf) -> float:
        start, end = _inside(gap, window)
        return (end - start) / 1e9

    longest = max(found, key=inside_s)
    return f"the feed {longest.feed} was deaf for {render_seconds(inside_s(longest))}: {longest.because}"


def _missing_traffic(slo: SLO, history: History, window: Window) -> str | None:
    needs = needs_of(slo)
    if not needs & EVIDENCE:
        return None
    policy: Cohort | None = getattr(slo, "policy", None)
    found = look(history, window, policy)
    if "traffic" in needs and not found.valid:
        return _no_traffic(policy)
    if "generator" in needs and (why := ailing(slo, history, window, look(history, window))) is not None:
        return f"the load generator was not sound: {why}"
    if "fresh" in needs and not _on_new_connections(found.requests):
        return "no new connections: kept ones stay with the pods they have, so what changes in a Service cannot be seen on them"
    if "identity" in needs and not any(found.requests.pod):
        return "no identity: no response said which pod answered; let the application send it in a header"
    if "identity" in needs and "pods" in needs and not has_identity(history, history.requests):
        return "no identity: what the responses name is no pod that was watched"
    if "version" in needs and not any(found.requests.version):
        return "no identity: no response said which version answered; let the application send it in a header"
    return unsound(history) if "clock" in needs else None


def _no_traffic(policy: Cohort | None) -> str:
    if policy in (None, "each"):
        return "no traffic: no request was sent in the window"
    return f"no traffic on {policy} connections in the window: give traffic.connections a share of them"


def _on_new_connections(requests: Requests) -> bool:
    """Where no policy says how connections are used, each request counts as one."""
    named = {i for i, policy in enumerate(requests.tables["policy"]) if policy and policy not in NEW_CONNECTIONS}
    return any(policy not in named for policy in set(requests.policy))
