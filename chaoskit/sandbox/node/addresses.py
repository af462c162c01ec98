"""Pod addresses of one node. An address just freed is the last to be given again, so that stale connections meet nobody."""

from __future__ import annotations

from collections import deque

from chaoskit.sandbox.settings import ClusterSettings

_STRIDE = 113
"""How far into the pool each boot begins: more than the 110 pods of a node, so that a life meets no address of the one before."""


class Addresses:
    """The pool 127.S.i.2 .. 127.S.i.254 of node i in its life number `boots`."""

    def __init__(self, settings: ClusterSettings, index: int, boots: int = 0) -> None:
        self._free = deque(settings.pod_address(index, number) for number in range(2, 255))
        self._free.rotate(-boots * _STRIDE)

    def take(self, unlike: str = "") -> str:
        """An address for a new pod, another than `unlike`. Raises IndexError when all 253 are in use; a node admits 110 pods."""
        if self._free[0] == unlike:
            self._free.rotate(-1)
        return self._free.popleft()

    def release(self, address: str) -> None:
        """Give an address back."""
        self._free.append(address)
