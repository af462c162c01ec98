"""Pod addresses of one node. An address just freed is the last to be given again, so that stale connections meet nobody."""

from __future__ import annotations

from collections import deque

from chaoskit.sandbox.settings import ClusterSettings


class Addresses:
    """The pool 127.S.i.2 .. 127.S.i.254 of node i."""

    def __init__(self, settings: ClusterSettings, index: int) -> None:
        self._free = deque(settings.pod_address(index, number) for number in range(2, 255))

    def take(self) -> str:
        """An address for a new pod. Raises IndexError when all 253 are in use; a node admits 110 pods."""
        return self._free.popleft()

    def release(self, address: str) -> None:
        """Give an address back."""
        self._free.append(address)
