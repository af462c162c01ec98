"""Times as controllers compute with them: seconds since the epoch, to and from what is stored. Pure but for now()."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from chaoskit.sandbox import clock


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def render_time(epoch_s: float) -> str:
    """Whole seconds, truncated, as metav1.Time does."""
    return clock.render(datetime.fromtimestamp(epoch_s, UTC))


def parse_time(text: str | None) -> float:
    """Seconds since the epoch; an absent time is 0.0, as the zero value is in upstream's arithmetic."""
    return 0.0 if not text else clock.parse(text).timestamp()
