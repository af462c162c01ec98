"""Paths of unix sockets, which the kernel limits to 108 bytes: a long state folder is named through a descriptor of it. Opens folders; no sockets."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

LONGEST = 100
"""Paths up to this many bytes are used as they are."""


def socket_path(path: Path) -> str:
    """A path for bind or connect that means the same file. Valid in this process only."""
    if len(os.fsencode(path)) <= LONGEST:
        return str(path)
    return f"/proc/self/fd/{_folder(path.parent)}/{path.name}"


@cache
def _folder(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
