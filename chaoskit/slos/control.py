"""The same objective over a Service that was not faulted, under the same traffic at the same time. Compares two findings; looks at nothing else."""

from __future__ import annotations

from dataclasses import replace

from chaoskit.model.history import History
from chaoskit.model.objective import render
from chaoskit.model.seams import SLO
from chaoskit.model.verdict import Finding, Grade, Window


def against_control(slo: SLO, history: History, window: Window, found: Finding) -> Finding:
    """A breach, unless the control breached too, or was not measured: then it says nothing about the target."""
    assert history.control is not None
    name = str((history.plan.get("control") or {}).get("service", "the control"))
    seen = replace(history, requests=history.control, control=None, memo={})
    control = slo.judge(seen, window)
    would_be = f"would have been {found.grade.name}" + (
        "" if found.measured is None else f" with {render(found.measured, found.unit)}"
    )
    if not len(history.control.within(window)):
        because = f"the control {name} was not measured in the window, so it is not known whether only the target broke it; {would_be}"
        return replace(found, grade=Grade.INCONCLUSIVE, because=because)
    if control.grade is Grade.FAIL:
        because = f"not only the target: {name}, which was not faulted, broke it too ({control.because}); {would_be}"
        return replace(found, grade=Grade.INCONCLUSIVE, because=because)
    return replace(found, because=f"{found.because}; the control {name} did not break it ({control.because})")
