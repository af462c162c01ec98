"""Kubernetes timestamps into seconds. They are RFC 3339 with a resolution of one second, truncated; parses, never compares with a local clock."""

from __future__ import annotations

from datetime import datetime

RESOLUTION_S = 1.0
"""How much later than it says a timestamp may lie (metav1.Time is written in whole seconds)."""


def parse_timestamp(text: str | None) -> float | None:
    """Seconds since the epoch of "2026-03-01T10:00:00Z"; None for a missing or malformed one."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
