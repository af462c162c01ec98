"""`balanced`: new connections spread evenly over the ready pods. Reads requests and feeds, returns a finding; never looks at the cluster.

Tested on connections, never on requests: a kept connection stays with its pod, and with a few of them perfect balancing looks uneven in
nearly every run.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from pydantic.dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.subject import Subject
from chaoskit.model.target import STRICT
from chaoskit.model.verdict import Bound, Finding, Grade, Window
from chaoskit.semantics.services import services_of
from chaoskit.slos.identity import states_by_name
from chaoskit.slos.responses import look
from chaoskit.slos.statistics import chi_square
from chaoskit.slos.windows import Over

CHANCE = 0.001
"""A spread that random balancing would exceed less often than this is no chance."""

EACH = 5
"""How many connections each pod has to be due for the test to be one."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Balanced:
    """Over the pods that were ready throughout the window, the first requests of connections are spread as by chance (chi-square, p >= 0.001).

    A pod that got none counts as none. It takes five connections for each pod, and two such pods, else INCONCLUSIVE.
    """

    kind: ClassVar[str] = "balanced"
    needs: ClassVar[frozenset[str]] = frozenset({"pods", "traffic", "identity", "fresh"})
    steady: ClassVar[bool] = False

    over: Over = "baseline"
    """The window: baseline, unless said otherwise."""

    def bound(self, subject: Subject) -> Bound | None:
        """None: there is no time in it."""
        return None

    def samples_needed(self) -> int:
        """How many connections two pods take."""
        return 2 * EACH

    def judge(self, history: History, window: Window) -> Finding:
        """Count the connections of each pod."""
        names = _ready_throughout(history, window)
        counted = _connections(history, window)
        counts = [counted[name] for name in names]
        n = sum(counts)
        if len(names) < 2 or n < EACH * len(names):
            because = f"too few to tell: {n} new connections to {len(names)} pods that were ready throughout"
            return Finding(str(self), Grade.INCONCLUSIVE, because, window, samples=n)
        _, p = chi_square(counts, [n / len(names)] * len(names))
        spread = ", ".join(f"{name} {counted[name]}" for name in names)
        grade = Grade.PASS if p >= CHANCE else Grade.FAIL
        because = f"{n} new connections to {len(names)} pods ({spread}); by chance so uneven with p = {p:.2g}"
        return Finding(str(self), grade, because, window, p, CHANCE, "", samples=n)

    def __str__(self) -> str:
        return self.kind if self.over == "baseline" else f"{self.kind} over {self.over}"


def _ready_throughout(history: History, window: Window) -> list[str]:
    behind = {
        str(pod["metadata"]["name"])
        for line in history.objects("pods").each().values()
        for pod in line.values[:1]
        if pod is not None and services_of(pod, history.subject.services)
    }
    found = []
    for name, line in states_by_name(history).items():
        spans = line.spans(lambda state: state == "ready", window)
        if name in behind and spans and spans[0].start_ns <= window.start_ns and spans[0].end_ns >= window.end_ns:
            found.append(name)
    return sorted(found)


def _connections(history: History, window: Window) -> Counter[str]:
    requests = look(history, window).requests
    names = requests.tables["pod"]
    first = Counter(pod for pod, uses in zip(requests.pod, requests.uses, strict=True) if pod and uses == 1)
    return Counter({names[pod]: count for pod, count in first.items()})
