"""Which requests count and which of them were good. Reads columns, not rows: a million requests take a fraction of a second.

Good: a whole response came, its status is below 500, and it came within the traffic's timeout, counted from the intended start. What the
generator failed to send (errors `generator.*`) is not the service's and counts neither way.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from chaoskit.model.history import History
from chaoskit.model.requests import Requests

GENERATOR = "generator."
"""How the errors begin that are the generator's own."""

DEFAULT_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests that count, and those of them that were good."""

    valid: int
    good: int

    @property
    def bad(self) -> int:
        return self.valid - self.good

    @property
    def ratio(self) -> float:
        """The good share; of nothing it is 0."""
        return self.good / self.valid if self.valid else 0.0


def timeout_s(history: History) -> float:
    """The traffic's timeout as planned, in seconds."""
    planned = (history.plan.get("traffic") or {}).get("timeout")
    return DEFAULT_TIMEOUT_S if planned is None else float(planned)


def generator_errors(requests: Requests) -> frozenset[int]:
    """The indexes of the generator's own errors in the table of errors."""
    return frozenset(i for i, error in enumerate(requests.tables["error"]) if error.startswith(GENERATOR))


def sent(requests: Requests) -> int:
    """How many requests left: all but those the generator failed to send."""
    ours = generator_errors(requests)
    return len(requests) - sum(map(requests.error.count, ours))


def tally(requests: Requests, timeout_s: float) -> Tally:
    """Count the valid and the good ones."""
    limit = round(timeout_s * 1e9)
    columns = zip(requests.status, requests.intended_ns, requests.end_ns, strict=True)
    good = sum(1 for status, intended, end in columns if 0 < status < 500 and end - intended <= limit)
    return Tally(sent(requests), good)


def goodness(requests: Requests, timeout_s: float) -> list[tuple[int, bool]]:
    """(intended start, good) of each valid request, in order."""
    limit, ours = round(timeout_s * 1e9), generator_errors(requests)
    columns = zip(requests.status, requests.intended_ns, requests.end_ns, requests.error, strict=True)
    return [
        (intended, 0 < status < 500 and end - intended <= limit)
        for status, intended, end, error in columns
        if error not in ours
    ]


def complaints(requests: Requests, timeout_s: float, most: int = 3) -> str:
    """What went wrong, the most frequent first: "10 refused.connect, 2 HTTP 503"; "" when nothing did."""
    limit, ours, errors = round(timeout_s * 1e9), generator_errors(requests), requests.tables["error"]
    counted: Counter[str] = Counter()
    for status, intended, end, error in zip(
        requests.status, requests.intended_ns, requests.end_ns, requests.error, strict=True
    ):
        late = end - intended > limit
        if error in ours or (0 < status < 500 and not late):
            continue
        counted[errors[error] or (f"HTTP {status}" if status >= 500 else "too late" if status else "no response")] += 1
    shown = [f"{count} {what}" for what, count in counted.most_common(most)]
    return ", ".join(shown + (["..."] if len(counted) > most else []))
