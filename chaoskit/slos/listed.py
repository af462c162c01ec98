"""Which pods the slices of a Service list as ready, over time, and which they should. A sweep over recorded objects; judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from chaoskit.model.history import History
from chaoskit.model.resource import Obj
from chaoskit.model.timeline import Timeline
from chaoskit.semantics.services import is_slice_of, listed_ready, should_be_ready


def listed_over_time(history: History, service: Obj) -> Mapping[str, Timeline[bool]]:
    """By pod uid: whether any slice of the Service lists the pod as ready. Pods that never were have no timeline."""
    slices = history.objects("endpoints").only(lambda found: is_slice_of(found, service)).each()
    changes = sorted(
        ((t_ns, uid, value) for uid, line in slices.items() for t_ns, value in line.changes()), key=lambda c: c[:2]
    )
    listed: dict[str, Timeline[bool]] = {}
    known: dict[str, frozenset[str]] = {}
    held: Counter[str] = Counter()
    for t_ns, slice_uid, value in changes:
        before, now = known.get(slice_uid, frozenset()), frozenset() if value is None else listed_ready(value)
        known[slice_uid] = now
        held.subtract(before - now)
        held.update(now - before)
        for uid in before ^ now:
            listed.setdefault(uid, Timeline()).add(t_ns, held[uid] > 0)
    return listed


def expected_over_time(history: History, service: Obj) -> Mapping[str, Timeline[bool]]:
    """By pod uid: whether the pod should be a ready endpoint of the Service."""
    expected: dict[str, Timeline[bool]] = {}
    for uid, line in history.objects("pods").each().items():
        for t_ns, pod in line.changes():
            expected.setdefault(uid, Timeline()).add(t_ns, pod is not None and should_be_ready(service, pod))
    return expected


def names_of(history: History) -> Mapping[str, str]:
    """The name of every watched pod by its uid."""
    return {
        uid: next((pod["metadata"]["name"] for pod in line.values if pod is not None), uid)
        for uid, line in history.objects("pods").each().items()
    }
