"""One grammar for objectives and guards: `availability >= 99%`, `latency p95 < 300ms over recovery`, `failed == 0`. Parses; never measures.

objective  =  [quantile] comparison number ["for" percentage] ["on" cohort] ["with confidence" percentage] ["over" (window | duration)]
quantile   =  "p" digits                       p50, p95, p99.9
comparison =  ">=" | ">" | "<=" | "<" | "=="
number     =  percentage | duration | count
cohort     =  "fresh" | "reuse" | "each"       requests by the policy of their connection
window     =  "baseline" | "fault" | "recovery" | "run"
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, cast

from pydantic import BeforeValidator

from chaoskit.model.units import parse_duration, parse_ratio, render_ratio, render_seconds
from chaoskit.model.written import Written

WINDOWS = ("baseline", "fault", "recovery", "run")
"""The stretches of a run that an objective may be judged over, by intended start of a request."""

Cohort = Literal["fresh", "reuse", "each"]
"""Requests by the policy of their connection; each: both, with a finding of its own."""

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
}
_SHAPE = re.compile(
    r"(?:p(?P<quantile>\d+(?:\.\d+)?)\s+)?(?P<op>>=|<=|==|<|>)\s*(?P<value>\S+)(?:\s+for\s+(?P<share>\S+))?"
    r"(?:\s+on\s+(?P<cohort>\S+))?(?:\s+with\s+confidence\s+(?P<confidence>\S+))?(?:\s+over\s+(?P<over>\S+))?\Z"
)


@dataclass(frozen=True, slots=True)
class Objective:
    """A comparison with a number. `unit` is ratio, s or count; `over` a window or "", `sliding_s` a sliding stretch for guards.

    `share`: the part of the requests that must meet it; `cohort`: which of them count, None for all; `confidence`: how sure a PASS or a FAIL
    must be of more than this run.
    """

    op: str
    value: float
    unit: str
    quantile: float | None = None
    over: str = ""
    sliding_s: float | None = None
    share: float | None = None
    cohort: Cohort | None = None
    confidence: float | None = None

    def met_by(self, measured: float) -> bool:
        """Whether a measured value meets it. A NaN meets nothing."""
        return _COMPARE[self.op](measured, self.value)

    def __str__(self) -> str:
        shown = f"{self.op} {render(self.value, self.unit)}"
        shown = f"p{self.quantile * 100:g} {shown}" if self.quantile is not None else shown
        return f"{shown} for {render_ratio(self.share)}" if self.share is not None else shown


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
    if quantile is not None and match["share"] is not None:
        raise ValueError(f'{text!r}: a percentile and "for" say the same twice; expected one of them')
    share = None if match["share"] is None else parse_ratio(match["share"])
    confidence = None if match["confidence"] is None else parse_confidence(match["confidence"])
    over, sliding = _over(match["over"])
    return Objective(match["op"], value, unit, quantile, over, sliding, share, _cohort(match["cohort"]), confidence)


def parse_confidence(text: object) -> float:
    """A confidence from "95%"; at least 50% and below 100%. Raises ValueError."""
    confidence = parse_ratio(text)
    if not 0.5 <= confidence < 1:
        raise ValueError(f"{text!r} is not a confidence; expected at least 50% and less than 100%, such as 95%")
    return confidence


def _cohort(text: str | None) -> Cohort | None:
    if text is None or text in ("fresh", "reuse", "each"):
        return cast("Cohort | None", text)
    raise ValueError(f"on {text!r}: expected fresh, reuse or each: the policy of the connections that count")


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

Confidence = Annotated[float, BeforeValidator(parse_confidence, json_schema_input_type=str)]
"""A field in 0.5..1 that is written as "95%"."""

if TYPE_CHECKING:
    ObjectiveField: TypeAlias = Written[Objective, str | Objective]
    OptionalObjectiveField: TypeAlias = Written[Objective | None, str | Objective | None]
    ConfidenceField: TypeAlias = Written[float | None, str | None]
else:
    ObjectiveField = ObjectiveText
    OptionalObjectiveField = ObjectiveText | None
    ConfidenceField = Confidence | None
"""The same, for author nouns that are also written in Python: a type checker accepts the text there."""
