"""The line to the parent: JSON lines over an inherited socket. Its end means that the parent is gone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from gevent import socket


class Control:
    """Orders come in, health goes out. A parent that does not read blocks only whoever tells it something."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        os.set_inheritable(fd, False)

    def orders(self) -> Iterator[dict[str, Any]]:
        """The parent's orders, until it closes or dies."""
        rest = b""
        while True:
            line, found, rest = rest.partition(b"\n")
            if found:
                yield json.loads(line)
                continue
            try:
                more = self._socket.recv(65_536)
            except OSError:
                return
            if not more:
                return
            rest = line + more

    def tell(self, what: str, **facts: Any) -> None:
        """Send one line; when the parent is gone there is nobody to tell, and `orders` ends."""
        try:
            self._socket.sendall(json.dumps({"is": what, **facts}).encode() + b"\n")
        except OSError:
            return
