"""When a share of requests is enough to say PASS or FAIL. Arithmetic on counts; knows no requests and no cluster.

Without a confidence the answer is a statement about this run: the share as counted. With one it is an inference about the service, from exact
binomial limits (Clopper-Pearson, one-sided): PASS when the chance of so few failures under the worst allowed rate is below 1 - confidence,
FAIL when the chance of so many is, INCONCLUSIVE between.
"""

from __future__ import annotations

from chaoskit.model.verdict import Grade, Window
from chaoskit.slos.statistics import (
    binomial_cdf,
    binomial_tail,
    evidence_of_more,
    samples_for_confidence,
    samples_for_ratio,
)
from chaoskit.slos.windows import is_steady

GUARD = "guard"
"""The window of an objective that is looked at again and again while the run goes on."""


def share_needs(target: float, confidence: float | None) -> int:
    """How many requests it takes to decide: 1 / (1 - target), or with a confidence as many as prove it when none fails."""
    return samples_for_ratio(target) if confidence is None else samples_for_confidence(target, confidence)


def needed_over(window: Window, target: float, confidence: float | None) -> int:
    """The same over a window: of the steady state, and for an early stop, any number will do."""
    if is_steady(window) or (window.name == GUARD and confidence is not None):
        return 1
    return samples_for_ratio(target)


def decided(good: int, n: int, target: float, confidence: float | None, window: Window, *, met: bool) -> Grade:
    """The grade of a share that is to reach the target. `met`: whether the share as counted does."""
    if n < needed_over(window, target, confidence):
        return Grade.INCONCLUSIVE
    if confidence is None or is_steady(window):
        return Grade.PASS if met else Grade.FAIL
    if window.name == GUARD:
        # Looked at many times: an ordinary test would stop healthy runs by sheer persistence.
        return Grade.FAIL if evidence_of_more(n - good, n, 1 - target) >= 1 / (1 - confidence) else Grade.PASS
    if binomial_cdf(n - good, n, 1 - target) <= 1 - confidence:
        return Grade.PASS
    return Grade.FAIL if binomial_tail(n - good, n, 1 - target) <= 1 - confidence else Grade.INCONCLUSIVE


def undecided(n: int, target: float, confidence: float | None, window: Window) -> str:
    """Why a share is INCONCLUSIVE, as the begin of a sentence."""
    needed = needed_over(window, target, confidence)
    if n < needed or confidence is None:
        return f"too few requests to decide, {needed} are needed"
    least = samples_for_confidence(target, confidence)
    if n < least:
        return f"too few requests to decide with this confidence, {least} without a failure would be needed"
    return "too close to the objective to decide with this confidence; more requests would"
