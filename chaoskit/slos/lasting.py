"""The premise "lasted": what was to be held was in force for nine tenths of the hold. Somebody else may undo a fault early. Reads; never looks.

The runner looks at the witness of every step that has an undo while the fault is held, and notes when it no longer holds. Where the pod itself
was restarted or went away since, the fault ended by its own effect: that is no lapse.
"""

from __future__ import annotations

from chaoskit.model.event import Event
from chaoskit.model.history import History
from chaoskit.model.units import render_ratio, render_seconds
from chaoskit.model.verdict import Finding, Grade
from chaoskit.semantics.pods import container_statuses, is_terminating, restart_count
from chaoskit.slos.steps import StepFate, step_fates
from chaoskit.slos.victims import pod_before, pod_over_time

HELD = 0.9
"""The share of the hold for which the fault has to be in force."""

OWN_EFFECT_S = 5.0
"""How much later than the lapse a restart that explains it may be seen, in seconds."""


def lasted(history: History) -> Finding | None:
    """The premise; None when no lapse was noted."""
    lapses = history.of("step.lapsed")
    if not lapses:
        return None
    fates = {fate.id: fate for fate in step_fates(history)}
    for id_ in dict.fromkeys(event.data["id"] for event in lapses):
        mine = [event for event in lapses if event.data["id"] == id_]
        found = None if id_ not in fates else _lapsed(history, fates[id_], mine)
        if found is not None:
            return found
    return Finding("lasted", Grade.PASS, "the fault was in force while it was held, or ended by its own effect")


def _lapsed(history: History, fate: StepFate, lapses: list[Event]) -> Finding | None:
    hold, revert = history.phase_start("hold", fate.round), history.phase_start("revert", fate.round)
    if hold is None or revert is None or revert <= hold or _by_its_own_effect(history, fate, lapses[0].t_ns):
        return None
    out = 0
    for event, following in zip(lapses, [*lapses[1:], None], strict=True):
        if not event.data.get("back"):
            out += (revert if following is None else following.t_ns) - event.t_ns
    share = 1 - out / (revert - hold)
    if share >= HELD:
        return None
    held = f"it was in force for {render_ratio(max(0.0, share))} of the {render_seconds((revert - hold) / 1e9)} it was held"
    because = f"the fault did not last: step {fate.id} ({fate.op} {fate.ref}): {held}, needed are {render_ratio(HELD)}; {lapses[0].data['because']}"
    return Finding(
        "lasted", Grade.INCONCLUSIVE, because, measured=share, limit=HELD, unit="ratio", shown_by=(lapses[0].seq,)
    )


def _by_its_own_effect(history: History, fate: StepFate, lapsed_ns: int) -> bool:
    before = pod_before(history, fate)
    if fate.ref.kind != "Pod" or before is None:
        return False
    until = lapsed_ns + round(OWN_EFFECT_S * 1e9)
    names = [str(status["name"]) for status in container_statuses(before)]
    for t_ns, pod in pod_over_time(history, fate).changes():
        if not fate.intended.t_ns < t_ns <= until:
            continue
        if pod is None or is_terminating(pod):
            return True
        if any(restart_count(pod, name) > restart_count(before, name) for name in names):
            return True
    return False
