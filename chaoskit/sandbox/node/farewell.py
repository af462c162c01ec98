"""What a container leaves as its termination message: a file of its own, or the end of its log. Reads files; decides nothing else.

Source: kubernetes.io, Determine the Reason for Pod Failure; pkg/kubelet/kuberuntime getTerminationMessage.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

Obj: TypeAlias = dict[str, Any]
DEFAULT_PATH = "/dev/termination-log"
_FILE_BYTES = 4096
_LOG_BYTES = 2048
_LOG_LINES = 80


def message(container: Obj, file: Path, log: Path, exit_code: int) -> str:
    """The message of an instance that ended with this code; empty when it left none."""
    said = _head(file)
    if not said and exit_code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        return _tail(log)
    return said


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "".join(text.splitlines(keepends=True)[-_LOG_LINES:])
