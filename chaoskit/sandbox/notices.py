"""Warnings of the request in hand (`Warning: 299` headers) and a tally of what was not supported. Collects, never refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_current: ContextVar[list[str] | None] = ContextVar("warnings", default=None)
tally: Final[Counter[str]] = Counter()
"""How often each unsupported thing was asked for, since the server started."""


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Warnings given inside the block go to the yielded list."""
    collected: list[str] = []
    token = _current.set(collected)
    try:
        yield collected
    finally:
        _current.reset(token)


def warn(message: str) -> None:
    collected = _current.get()
    if collected is not None and message not in collected:
        collected.append(message)


def count_unsupported(what: str) -> None:
    tally[what] += 1
