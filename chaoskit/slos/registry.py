"""From the name and the value in a file to an SLO. Loads the one class that is named; imports none before.

Text form: `availability >= 99%`, `latency p95 < 300ms`, `recoveredWithin 5s`, `failed == 0`, `replicasRestored`. In a mapping: `availability: ">= 99%"` or
`availability: {objective: ">= 99%", over: recovery}`. Errors are ValueError with what was expected; where it stood is the loader's to say.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from chaoskit.model.seams import SLO

OWN: Mapping[str, str] = {
    "availability": "chaoskit.slos.availability:Availability",
    "latency": "chaoskit.slos.latency:Latency",
    "failed": "chaoskit.slos.failed:Failed",
    "errorRate": "chaoskit.slos.errors:ErrorRate",
    "budgetSpent": "chaoskit.slos.failed:BudgetSpent",
    "longestOutage": "chaoskit.slos.interruption:LongestOutage",
    "totalOutage": "chaoskit.slos.interruption:TotalOutage",
    "recoveredWithin": "chaoskit.slos.recovery:RecoveredWithin",
    "detectedWithin": "chaoskit.slos.detection:DetectedWithin",
    "balanced": "chaoskit.slos.balance:Balanced",
    "replicasRestored": "chaoskit.slos.replicas:ReplicasRestored",
    "onlyReadyEndpoints": "chaoskit.slos.endpoints:OnlyReadyEndpoints",
    "restartedInPlace": "chaoskit.slos.restarts:RestartedInPlace",
    "returnsToService": "chaoskit.slos.returning:ReturnsToService",
    "canaryContained": "chaoskit.slos.canary:CanaryContained",
}
"""Our own SLOs: kind to module and class."""

GROUP = "chaoskit.slos"
"""The entry-point group in which other packages offer theirs."""


def kinds() -> tuple[str, ...]:
    """Every kind there is, our own first. Raises ValueError when a name is taken twice."""
    return (*OWN, *sorted(_offered()))


def load_slo(kind: str) -> type[SLO]:
    """The class of a kind. Raises ValueError for a kind that is not known, or that two packages claim."""
    offered = _offered()
    if kind in OWN:
        module, _, name = OWN[kind].partition(":")
        return cast("type[SLO]", getattr(import_module(module), name))
    if kind in offered:
        return cast("type[SLO]", offered[kind].load())
    raise ValueError(f"{kind!r} is not an SLO{meant(kind, kinds())}; known: {', '.join(kinds())}")


def meant(word: str, known: tuple[str, ...]) -> str:
    """ ", did you mean ...?" or nothing."""
    near = difflib.get_close_matches(word, known, 1) or [name for name in known if name.lower() == word.lower()]
    return f", did you mean {near[0]!r}?" if near else ""


def _offered() -> Mapping[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        taken = "chaoskit" if point.name in OWN else _package(found[point.name]) if point.name in found else ""
        if taken:
            raise ValueError(
                f"the SLO {point.name!r} is offered by two packages, {taken} and {_package(point)}; uninstall one"
            )
        found[point.name] = point
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def parse_slo(text: object, strict: bool = True) -> SLO:
    """An SLO from its text form. Raises ValueError.

    `strict`: as in the list of SLOs, where a sliding stretch ("over 5s") has no meaning; guards are read without it.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'{text!r} is not an SLO; write it as "availability >= 99%" or "replicasRestored"')
    kind, _, rest = text.strip().partition(" ")
    return from_value(kind, rest.strip() or None, strict)


def from_value(kind: str, value: object, strict: bool = True) -> SLO:
    """An SLO from its key and what stands behind it: nothing, a text, or a mapping of its fields. Raises ValueError."""
    made = _made(load_slo(kind), kind, value)
    objective = getattr(made, "objective", None)
    if strict and getattr(objective, "sliding_s", None) is not None:
        raise ValueError(
            f"{kind}: a sliding stretch such as 'over 5s' belongs to guards; expected a window such as 'over recovery'"
        )
    return made


def _made(cls: type[SLO], kind: str, value: object) -> SLO:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(_fields(cls, kind, value))
    except ValidationError as error:
        raise ValueError(_told(cls, kind, cast("Mapping[str, Any]", error.errors()[0]))) from None


def _fields(cls: type[SLO], kind: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    main = getattr(cls, "text_field", "")
    if isinstance(value, str) and main:
        fields_of = getattr(cls, "fields_of", None)
        return {main: value} if fields_of is None else dict(fields_of(value))
    expected = "a text or a mapping of its fields" if main else "nothing behind it, or a mapping of its fields"
    raise ValueError(f"{kind}: {value!r} does not fit; expected {expected}")


def _told(cls: type[SLO], kind: str, error: Mapping[str, Any]) -> str:
    """The first complaint of pydantic as one line in the words of the file."""
    path = ".".join([kind, *(str(part) for part in error["loc"])])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _field_names(cls)
        return (
            f"{path}: there is no such field{meant(str(error['loc'][-1]), known)}; known: {', '.join(known) or 'none'}"
        )
    if error["type"] in ("missing", "missing_argument"):
        return f"{path}: it is missing; {getattr(cls, 'example', 'every field without a default is needed')}"
    return f"{path}: {error['msg'].removeprefix('Value error, ')}"


def _field_names(cls: type[SLO]) -> tuple[str, ...]:
    fields = getattr(cls, "__pydantic_fields__", {})
    return tuple(field.alias or name for name, field in fields.items())
