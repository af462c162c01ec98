"""Which requests count and which of them were good, looked at once for each window. Reads columns, not rows: a million take a fraction of a second.

Good: a whole response came, its status is below 500, and it came within the traffic's timeout, counted from the intended start. What the
generator failed to send (errors `generator.*`) is not the service's and counts neither way.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress, count
from operator import sub

from chaoskit.model.history import History
from chaoskit.model.objective import Cohort
from chaoskit.model.requests import Requests
from chaoskit.model.verdict import Window

GENERATOR = "generator."
"""How the errors begin that are the generator's own."""

DEFAULT_TIMEOUT_S = 2.0

NEW_CONNECTIONS = ("fresh", "closed")
"""The policies under which connections are opened while the traffic goes on; kept ones stay with the pod they have."""


@dataclass(slots=True)
class Look:
    """The requests of a window. `bad`: the rows of the failed ones that count; `unsent`: those the generator did not send."""

    requests: Requests
    bad: Sequence[int]
    unsent: Sequence[int]
    _sorted: array[int] | None = field(default=None, repr=False)
    _latest_ns: int | None = field(default=None, repr=False)

    @property
    def valid(self) -> int:
        """How many count."""
        return len(self.requests) - len(self.unsent)

    @property
    def good(self) -> int:
        return self.valid - len(self.bad)

    @property
    def ratio(self) -> float:
        """The good share; of nothing it is 0."""
        return self.good / self.valid if self.valid else 0.0

    def times_ns(self) -> Sequence[int]:
        """The response times of the good ones from their intended start, rising."""
        if self._sorted is None:
            self._sorted = array("q", sorted(self._spent()))
        return self._sorted

    def within(self, limit_ns: float) -> int:
        """How many good ones took at most that long."""
        return sum(map(limit_ns.__ge__, self._spent()))

    def late(self, allowed_ns: float) -> int:
        """How many were begun later than that after their intended start."""
        started, intended = self.requests.start_ns, self.requests.intended_ns
        if self._latest_ns is None:
            self._latest_ns = max(map(sub, started, intended), default=0)
        return 0 if self._latest_ns <= allowed_ns else sum(map(allowed_ns.__lt__, map(sub, started, intended)))

    def _spent(self) -> Sequence[int]:
        spent = array("q", map(sub, self.requests.end_ns, self.requests.intended_ns))
        for i in sorted((*self.bad, *self.unsent), reverse=True):
            # The last one takes the place: order is of no use here, and deleting would move everything.
            spent[i] = spent[-1]
            spent.pop()
        return spent


@dataclass(frozen=True, slots=True)
class Ranked:
    """The response times of all requests that count, in ns and rising; a failed one is slower than anything."""

    times: Sequence[int]
    failed: int

    def __len__(self) -> int:
        return len(self.times) + self.failed

    def __getitem__(self, i: int) -> float:
        return self.times[i] if i < len(self.times) else math.inf


def look(history: History, window: Window, cohort: Cohort | None = None) -> Look:
    """The requests of a window and cohort; computed once, until more requests are known."""
    key = (window.name, window.round, window.start_ns, window.end_ns, cohort)
    if history.memo.get("requests") != len(history.requests):
        history.memo.clear()
        history.memo["requests"] = len(history.requests)
    if key not in history.memo:
        requests = history.requests.within(window)
        if _ends_with_a_fault(history, window):
            # What was under way when the next fault struck was struck by it, and says nothing of the time before.
            requests = requests.ended_before(window.end_ns)
        history.memo[key] = looked_at(in_cohort(requests, cohort), timeout_s(history))
    found: Look = history.memo[key]
    return found


def _ends_with_a_fault(history: History, window: Window) -> bool:
    if window.name == "baseline":
        return history.injected_ns() is not None
    return window.name in ("run", "recovery") and history.phase_start("inject", window.round + 1) is not None


def in_cohort(requests: Requests, cohort: Cohort | None) -> Requests:
    """Those whose connection had that policy; all for None and for each."""
    return requests if cohort in (None, "each") else requests.only("policy", str(cohort))


def looked_at(requests: Requests, timeout_s: float) -> Look:
    """One pass over the columns."""
    limit, ours, errors = round(timeout_s * 1e9), generator_errors(requests), requests.error
    amiss = frozenset(status for status in set(requests.status) if not 0 < status < 500)
    failed = list(compress(count(), map(amiss.__contains__, requests.status))) if amiss else []
    if max(map(sub, requests.end_ns, requests.intended_ns), default=0) > limit:
        late = compress(count(), map(limit.__lt__, map(sub, requests.end_ns, requests.intended_ns)))
        failed = sorted({*failed, *late})
    unsent = [i for i in failed if errors[i] in ours]
    return Look(requests, [i for i in failed if errors[i] not in ours] if unsent else failed, unsent)


def timeout_s(history: History) -> float:
    """The traffic's timeout as planned, in seconds."""
    planned = (history.plan.get("traffic") or {}).get("timeout")
    return DEFAULT_TIMEOUT_S if planned is None else float(planned)


def generator_errors(requests: Requests) -> frozenset[int]:
    """The indexes of the generator's own errors in the table of errors."""
    return frozenset(i for i, error in enumerate(requests.tables["error"]) if error.startswith(GENERATOR))


def complaints(found: Look, most: int = 3) -> str:
    """What went wrong, the most frequent first: "10 refused.connect, 2 HTTP 503"; "" when nothing did."""
    requests, errors = found.requests, found.requests.tables["error"]
    counted: Counter[str] = Counter()
    for i in found.bad:
        status = requests.status[i]
        said = errors[requests.error[i]]
        counted[said or (f"HTTP {status}" if status >= 500 else "too late" if status else "no response")] += 1
    shown = [f"{count} {what}" for what, count in counted.most_common(most)]
    return ", ".join(shown + (["..."] if len(counted) > most else []))
