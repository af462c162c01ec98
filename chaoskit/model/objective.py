"""One grammar for objectives and guards: `availability >= 99%`, `latency p95 < 300ms over recovery`, `failed == 0`. Parses; never measures.

objective  =  [quantile] comparison number [ "over" (window | duration) ]
quantile   =  "p" digits                       p50, p95, p99.9
comparison =  ">=" | ">" | "<=" | "<" | "=="
number     =  percentage | duration | count
window     =  "baseline" | "fault" | "recovery" | "run"
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

from chaoskit.model.units import parse_duration, parse_ratio, render_ratio, render_seconds

WINDOWS = ("baseline", "fault", "recovery", "run")
"""The stretches of a run that an objective may be judged over, by intended start of a request."""

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
}
_SHAPE = re.compile(
    r"(?:p(?P<quantile>\d+(?:\.\d+)?)\s+)?(?P<op>>=|<=|==|<|>)\s*(?P<value>\S+)(?:\s+over\s+(?P<over>\S+))?\Z"
)


@dataclass(frozen=True, slots=True)
class Objective:
    """A comparison with a number. `unit` is ratio, s or count; `over` a window or "", `sliding_s` a sliding stretch for guards."""

    op: str
    value: float
    unit: str
    quantile: float | None = None
    over: str = ""
    sliding_s: float | None = None

    def met_by(self, measured: float) -> bool:
        """Whether a measured value meets it. A NaN meets nothing."""
        return _COMPARE[self.op](measured, self.value)

    def __str__(self) -> str:
        shown = f"{self.op} {render(self.value, self.unit)}"
        return f"p{self.quantile * 100:g} {shown}" if self.quantile is not None else shown


def parse_objective(text: object) -> Objective:
    """An Objective from its text. Raises ValueError that says what was expected."""
    if isinstance(text, Objective):
        return text
    match = _SHAPE.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(
            f'{text!r} is not an objective; write it as ">= 99%", "p95 < 300ms" or "== 0", perhaps with "over recovery"'
        )
    value, unit = _number(match["value"])
    quantile = None if match["quantile"] is None else float(match["quantile"]) / 100
    if quantile is not None and not 0 < quantile < 1:
        raise ValueError(f"p{match['quantile']} is not a percentile between p0 and p100")
    over, sliding = _over(match["over"])
    return Objective(match["op"], value, unit, quantile, over, sliding)


def _number(text: str) -> tuple[float, str]:
    if text.endswith("%"):
        return parse_ratio(text), "ratio"
    if text.isascii() and text.isdigit():
        return float(text), "count"
    return parse_duration(text), "s"


def _over(text: str | None) -> tuple[str, float | None]:
    if text is None:
        return "", None
    if text in WINDOWS:
        return text, None
    try:
        return "", parse_duration(text)
    except ValueError:
        raise ValueError(f"over {text!r}: expected one of {', '.join(WINDOWS)}, or a duration such as 5s") from None


def render(value: float, unit: str) -> str:
    """A value in its unit, for people."""
    if unit == "ratio":
        return render_ratio(value)
    if unit == "s":
        return render_seconds(value)
    return f"{value:g}"


ObjectiveText = Annotated[Objective, BeforeValidator(parse_objective, json_schema_input_type=str)]
"""A field that is written as an objective."""
