"""Which part of a window counts. Cuts windows; judges nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from chaoskit.model.history import History
from chaoskit.model.verdict import Window

Over = Literal["baseline", "fault", "recovery", "run"]
"""The stretch of a run that an SLO is judged over."""

STEADY = ("baseline", "settle")
"""Windows in which a promise must hold throughout, without any allowance: nothing has been done to the workload there."""


def is_steady(window: Window) -> bool:
    """Whether the window is one of the steady state."""
    return window.name in STEADY


def since_injection(history: History, window: Window) -> Window | None:
    """The part of the window from our first mutation on; None when there is none."""
    injected = history.injected_ns(window.round)
    if injected is None or injected >= window.end_ns:
        return None
    return replace(window, start_ns=max(window.start_ns, injected))


def seconds(ns: int) -> float:
    return ns / 1e9
