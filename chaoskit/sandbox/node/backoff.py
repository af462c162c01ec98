"""When a container or an image may be tried again. Pure arithmetic over times handed in; never sleeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class BackOff:
    """Doubling delay between `initial_s` and `longest_s`, forgotten after an instance lived for twice the longest.

    The rule is judged from the end of the *last dead* instance known when the question is asked, not from the kill in
    progress; that is why the first restarts after liveness kills are immediate (k8s.io/client-go util/flowcontrol/backoff.go,
    pkg/kubelet/kuberuntime doBackOff).
    """

    initial_s: float
    longest_s: float
    delay_s: float | None = None
    last_start: float = 0.0

    def remaining_s(self, finished_at: float, now: float) -> float:
        """Seconds still to wait for an instance whose predecessor ended at `finished_at`; 0 when it may start."""
        if self.delay_s is None or self._forgotten(finished_at):
            return 0.0
        return max(0.0, self.delay_s - (now - finished_at))

    def advance(self, finished_at: float, now: float) -> None:
        """Record a start after a death: the next one waits twice as long."""
        if self.delay_s is None or self._forgotten(finished_at):
            self.delay_s = self.initial_s
        else:
            self.delay_s = min(self.delay_s * 2, self.longest_s)
        self.last_start = now

    def _forgotten(self, finished_at: float) -> bool:
        return finished_at - self.last_start > 2 * self.longest_s
