"""Commands brought into a container from outside (exec, hooks, exec probes) must not signal the host. Pure text, decides only.

Without a PID namespace `kill 1` would reach the machine's own first process. What its author means is process 1 of the
container, and there the kernel drops signals that it does not handle (pid_namespaces(7)); both are put in place here.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from chaoskit.sandbox.node.paths import is_script

_KILL = re.compile(
    r"\bkill\b(?P<options>(?:\s+(?:-s\s+\w+|-n\s+\d+|-[A-Za-z]\w*|-\d+|--))*)\s+(?P<target>-?\d+)(?![\w.])"
)
_SWEEPING = re.compile(
    r"(?:\A|[;&|(\s/])(?P<name>pkill|killall|killall5|skill|fuser|shutdown|reboot|poweroff|halt)(?=\Z|[\s;&|)])"
)


class Refused(Exception):
    """The command would reach beyond its container; the text says what to do instead."""


def guarded(argv: Sequence[str], first: int, catches: Callable[[int], bool]) -> tuple[str, ...]:
    """The command with process 1 replaced by `first`, the container's own. Raises Refused for signals to everybody."""
    words = tuple(argv)
    if is_script(words):
        return (*words[:2], _redirect(words[2], first, catches), *words[3:])
    if Path(words[0]).name == "kill":
        return (words[0], *_redirect(" ".join(("kill", *words[1:])), first, catches).split()[1:])
    _refuse_sweeping(Path(words[0]).name)
    return words


def _redirect(script: str, first: int, catches: Callable[[int], bool]) -> str:
    _refuse_sweeping(script)

    def aim(found: re.Match[str]) -> str:
        if found["target"] == "-1":
            raise Refused(
                "kill -1 would signal every process of this machine: the sandbox has no PID namespaces; name a process"
            )
        if found["target"] != "1":
            return found[0]
        number = signal_of(found["options"])
        if number == 0 or catches(number):
            return f"kill{found['options']} {first}"
        return f"kill -0 {first}"  # the kernel drops it: success without effect

    return _KILL.sub(aim, script)


def _refuse_sweeping(text: str) -> None:
    found = _SWEEPING.search(text)
    if found:
        raise Refused(
            f"{found['name']} would reach processes outside the container: the sandbox has no PID namespaces; use kill with a process id"
        )


def signal_of(options: str) -> int:
    """The signal number of kill's options, TERM when none is given; one nobody knows counts as TERM."""
    words = [word.lstrip("-") for word in options.split() if word not in ("-s", "-n", "--")]
    if not words:
        return signal.SIGTERM
    if words[0].isdigit():
        return int(words[0])
    name = words[0].upper().removeprefix("SIG")
    return int(getattr(signal, f"SIG{name}", signal.SIGTERM))
