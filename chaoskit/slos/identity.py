"""Who answered, joined with the watch: which pod served each request, and in which state it was then. Joins columns; judges nothing.

The name comes from a header of the response, the state from the feed `pods` at the time the request was begun. A watch tells a change a little
after it happened, so a state is certain only when it had lasted; whoever judges grants what a change takes to spread.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from chaoskit.model.history import History
from chaoskit.model.requests import Requests
from chaoskit.model.resource import Obj
from chaoskit.model.timeline import Timeline
from chaoskit.semantics.pods import is_ready, is_terminal, is_terminating

State = Literal["ready", "unready", "terminating", "gone", "unknown"]
"""What a pod was when it answered; unknown: the watch never saw a pod of that name."""


def state_of(pod: Obj | None) -> State:
    """The state of a pod as watched."""
    if pod is None or is_terminal(pod):
        return "gone"
    if is_terminating(pod):
        return "terminating"
    return "ready" if is_ready(pod) else "unready"


def states_by_name(history: History) -> Mapping[str, Timeline[State]]:
    """The state of the pods over time by name; of several that bore one name after the other, the one that was there."""
    changes: dict[str, list[tuple[int, str, State]]] = {}
    for uid, line in history.objects("pods").each().items():
        name = next((str(pod["metadata"]["name"]) for pod in line.values if pod is not None), "")
        changes.setdefault(name, []).extend((t_ns, uid, state_of(pod)) for t_ns, pod in line.changes())
    return {name: _merged(found) for name, found in changes.items()}


def _merged(changes: list[tuple[int, str, State]]) -> Timeline[State]:
    merged: Timeline[State] = Timeline()
    current: dict[str, State] = {}
    for t_ns, uid, state in sorted(changes, key=lambda change: change[0]):
        current[uid] = state
        merged.add(t_ns, next((each for each in reversed(current.values()) if each != "gone"), "gone"))
    return merged


def served(history: History, requests: Requests) -> Mapping[str, Counter[State]]:
    """By the name that the responses gave: how many requests it answered in which state."""
    states = states_by_name(history)
    names = requests.tables["pod"]
    lines = [states.get(name) for name in names]
    counted: Counter[tuple[str, State]] = Counter()
    for pod, start in zip(requests.pod, requests.start_ns, strict=True):
        if not pod:
            continue
        line = lines[pod]
        place = -1 if line is None else bisect_right(line.times, start) - 1
        state: State = "unknown" if line is None or place < 0 else line.values[place]
        counted[names[pod], state] += 1
    found: dict[str, Counter[State]] = {}
    for (name, state), count in counted.items():
        found.setdefault(name, Counter())[state] = count
    return found


def has_identity(history: History, requests: Requests) -> bool:
    """Whether any response named a pod that the watch knows. A name that fits no pod is somebody else's: a gateway's, or another application's."""
    known = _known_names(history)
    return any(i and requests.tables["pod"][i] in known for i in set(requests.pod))


def _known_names(history: History) -> frozenset[str]:
    watched = history.objects("pods").each().values()
    seen = {str(pod["metadata"]["name"]) for line in watched for pod in line.values[:1] if pod is not None}
    return frozenset(seen | {str(pod["metadata"]["name"]) for pod in history.subject.pods})
