"""The API server's wall clock against ours, as the run measured it at its begin and its end. Converts and bounds; judges nothing.

What we see ourselves is stamped by our own monotonic clock and needs none of this; it is for what the server stamped.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Window

MOST_DRIFT_S = 1.0
"""How much further apart than their errors explain two measurements may lie, in seconds: a clock that was set during the run."""


@dataclass(frozen=True, slots=True)
class Skew:
    """The server's wall clock minus ours, `offset_s` give or take `error_s`. `wall_s` and `at_ns`: one moment on our two clocks."""

    offset_s: float
    error_s: float
    wall_s: float
    at_ns: int

    def earliest_ns(self, stamp_s: float) -> int:
        """The earliest moment on our monotonic clock that a server's stamp can mean."""
        return self.at_ns + round((stamp_s - self.offset_s - self.error_s - self.wall_s) * 1e9)

    def around(self, window: Window) -> Window:
        """The window, wide enough for what the server stamped in it."""
        return window.widened(self.error_s)


def skew_of(history: History) -> Skew | None:
    """The skew over the whole run: what both measurements allow. None when it was not measured."""
    began, measured = history.of("run.began"), history.of("clock")
    if not began or "wall" not in began[0].data or not measured:
        return None
    low = min(float(event.data["offset"]) - float(event.data["error"]) for event in measured)
    high = max(float(event.data["offset"]) + float(event.data["error"]) for event in measured)
    return Skew((low + high) / 2, (high - low) / 2, float(began[0].data["wall"]), began[0].t_ns)


def unsound(history: History) -> str | None:
    """Why stamps of the server cannot be used, or None."""
    measured = history.of("clock")
    if not measured:
        return "no clock: the offset to the API server's clock was not measured"
    lows = [float(event.data["offset"]) - float(event.data["error"]) for event in measured]
    highs = [float(event.data["offset"]) + float(event.data["error"]) for event in measured]
    drift = max(lows) - min(highs)
    if drift <= MOST_DRIFT_S:
        return None
    return f"the clocks drifted apart by {render_seconds(drift)} during the run, allowed {render_seconds(MOST_DRIFT_S)}"
