"""Mount paths of a container on this machine: below its own root folder, with arguments rewritten to lead there. Pure text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SHELLS = frozenset({"sh", "bash", "ash", "dash"})


@dataclass(frozen=True, slots=True)
class Mounts:
    """The declared mount paths of one container and the folder that stands for its root."""

    root: Path
    paths: tuple[str, ...]

    def inside(self, path: str) -> Path:
        """Where a path of the container lies on this machine."""
        return self.root / path.lstrip("/")

    def rewrite(self, text: str) -> str:
        """The text, led to this machine when it begins with a declared mount path."""
        for path in self.paths:
            if text == path or text.startswith(path.rstrip("/") + "/"):
                return str(self.inside(text))
        return text

    def rewrite_argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Each argument rewritten; in a shell's script every mention of a mount path."""
        plain = tuple(self.rewrite(arg) for arg in argv)
        if not is_script(argv):
            return plain
        return (*plain[:2], self._rewrite_script(argv[2]), *plain[3:])

    def rewrite_env(self, env: Mapping[str, str]) -> dict[str, str]:
        """Each value rewritten."""
        return {name: self.rewrite(value) for name, value in env.items()}

    def _rewrite_script(self, script: str) -> str:
        if not self.paths:
            return script
        one = "|".join(re.escape(path.rstrip("/")) for path in sorted(self.paths, key=len, reverse=True))
        return re.sub(rf"(?<![\w./~-])(?:{one})(?![\w.-])", lambda found: str(self.inside(found[0])), script)


def is_script(argv: Sequence[str]) -> bool:
    """Whether argv is `sh -c SCRIPT ...`, with any usual shell and any other single-letter options joined to the c."""
    return len(argv) >= 3 and Path(argv[0]).name in _SHELLS and bool(re.fullmatch(r"-[a-z]*c", argv[1]))
