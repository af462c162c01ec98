"""What an objective's text says and what stands in fields beside it, made one. Compares and words; judges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chaoskit.model.objective import Cohort, Objective
from chaoskit.model.units import render_ratio

_FIELDS: Mapping[str, str] = {"over": "over", "policy": "cohort", "confidence": "confidence"}
"""The field beside the objective, and its name within."""


def unite(slo: Any, objective: Objective, over: str = "fault") -> None:
    """Give the fields beside the objective what the objective's text says. `over`: the window where neither says one.

    Raises ValueError where the two differ.
    """
    for name, inside in _FIELDS.items():
        if not hasattr(slo, name):
            if getattr(objective, inside) not in (None, "") and name != "over":
                raise ValueError(f'"{objective}" does not take {"on" if name == "policy" else "with"} {name}')
            continue
        said, beside = getattr(objective, inside) or None, getattr(slo, name)
        beside = None if name == "over" and beside == over else beside
        if said is not None and beside is not None and said != beside:
            raise ValueError(
                f"the objective says {name} {said}, the field beside it {name} {beside}; expected one of them"
            )
        if said is not None:
            object.__setattr__(slo, name, said)
    # Said once: two ways to write one objective make one value.
    object.__setattr__(slo, "objective", replace(objective, over="", cohort=None, confidence=None))


def qualified(said: str, slo: Any, over: str = "fault") -> str:
    """What is said of an SLO with its cohort, confidence and window, as far as they are not the usual ones."""
    policy: Cohort | None = getattr(slo, "policy", None)
    confidence: float | None = getattr(slo, "confidence", None)
    said += "" if policy is None else f" on {policy}"
    said += "" if confidence is None else f" with confidence {render_ratio(confidence)}"
    return said if slo.over == over else f"{said} over {slo.over}"
