"""Text into numbers and back: durations, ratios, rates. Seconds are floats, ratios lie in 0..1, rates are per second. Parses; never guesses a unit."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias

import durationpy
from pydantic import BeforeValidator

from chaoskit.model.written import Written

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|h)\Z")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%\Z")
_PER = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: object) -> float:
    """Seconds of a Go duration such as "30s", "1m30s", "250ms". Raises ValueError for anything else, negative and bare numbers included."""
    if isinstance(text, timedelta):
        return text.total_seconds()
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a duration; write it with a unit, such as 30s, 1m30s or 250ms")
    try:
        seconds = durationpy.from_str(text).total_seconds()
    except (durationpy.DurationError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a duration; write it with a unit, such as 30s, 1m30s or 250ms") from None
    if not math.isfinite(seconds) or seconds < 0 or text.strip() != text or not text:
        raise ValueError(f"{text!r} is not a duration of zero or more")
    return float(seconds)


def parse_ratio(text: object) -> float:
    """A ratio in 0..1 from "99.5%". Raises ValueError for anything else: a bare 99 could mean two things."""
    match = _PERCENT.match(text) if isinstance(text, str) else None
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{text!r} is not a percentage between 0% and 100%")
    return float(f"{match[1]}e-2")  # not divided: 99.9 / 100 is more than 0.999


def parse_rate(text: object) -> float:
    """Events per second from "100/s" or "600/m". Raises ValueError for anything else, zero included."""
    match = _RATE.match(text) if isinstance(text, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not a rate; write it as 100/s or 600/m")
    return float(match[1]) / _PER[match[2]]


def render_seconds(seconds: float) -> str:
    """ "0.25 s", "1 m 30 s": for people."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest} s" if rest else f"{minutes} m"


def render_ratio(ratio: float) -> str:
    """ "99.5 %", with as many digits as tell it from 100 %."""
    percent = ratio * 100
    if percent > 100.0:
        return f"{percent:.0f} %"
    if percent in (0.0, 100.0):
        return f"{percent:.0f} %"
    digits = max(1, min(5, 1 - math.floor(math.log10(min(percent, 100 - percent)))))
    return f"{percent:.{digits}f}".rstrip("0").rstrip(".") + " %"


Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str)]
"""A field in seconds that is written as a Go duration."""

Ratio = Annotated[float, BeforeValidator(parse_ratio, json_schema_input_type=str)]
"""A field in 0..1 that is written as a percentage."""

Rate = Annotated[float, BeforeValidator(parse_rate, json_schema_input_type=str)]
"""A field per second that is written as "100/s"."""


if TYPE_CHECKING:
    DurationField: TypeAlias = Written[float, str | timedelta]
    OptionalDurationField: TypeAlias = Written[float | None, str | timedelta | None]
    RatioField: TypeAlias = Written[float, str]
    OptionalRatioField: TypeAlias = Written[float | None, str | None]
    RateField: TypeAlias = Written[float, str]
else:
    DurationField = Duration
    OptionalDurationField = Duration | None
    RatioField = Ratio
    OptionalRatioField = Ratio | None
    RateField = Rate
"""The same, for author nouns that are also written in Python: a type checker accepts the text there."""
