"""The kubectl of this machine: which there are, and one at work in a namespace."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.behaviour.access import Access

EVERY = "CHAOSKIT_EVERY_KUBECTL"
"""Environment variable: set, the tests run with every kubectl of the machine instead of with two."""
_OLDEST_MINOR = 31
"""Before it exec goes over SPDY, which the sandbox does not speak."""


@cache
def binaries() -> tuple[str, ...]:
    """The kubectl of PATH, and the newest other minor beside it or elsewhere on PATH; all of them where that is asked for."""
    first = shutil.which("kubectl")
    if first is None:
        return ()
    folders = [*os.environ.get("PATH", "").split(os.pathsep), str(Path(first).resolve().parent)]
    found = {
        path.resolve() for folder in folders if folder for path in Path(folder).glob("kubectl*") if _is_kubectl(path)
    }
    by_minor: dict[int, str] = {}
    for path in sorted(found, key=lambda each: each != Path(first).resolve()):
        by_minor.setdefault(minor(str(path)), str(path))
    usable = [by_minor[number] for number in sorted(by_minor) if number >= _OLDEST_MINOR]
    if os.environ.get(EVERY):
        return tuple(usable)
    others = [path for path in usable if path != str(Path(first).resolve())]
    return (first, *others[-1:])


def _is_kubectl(path: Path) -> bool:
    return bool(re.fullmatch(r"kubectl(\.1\.\d+)?", path.name)) and os.access(path, os.X_OK)


@cache
def minor(path: str) -> int:
    done = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=30)
    found = re.match(r"\d+", json.loads(done.stdout)["clientVersion"]["minor"])
    return int(found.group()) if found else 0


@dataclass(frozen=True, slots=True)
class Kubectl:
    """One binary in one namespace. `cache` is where it keeps what it learned of the API."""

    path: str
    access: Access
    namespace: str
    cache: Path

    @property
    def words(self) -> list[str]:
        base = [self.path, "--kubeconfig", str(self.access.path), "--context", self.access.context]
        return [*base, "-n", self.namespace, "--cache-dir", str(self.cache)]

    def __call__(self, *words: str, stdin: str = "", code: int = 0, timeout_s: float = 60.0) -> str:
        """Its output, of an expected failure the complaint. Raises AssertionError for another exit code."""
        done = subprocess.run([*self.words, *words], input=stdin, capture_output=True, text=True, timeout=timeout_s)
        said = f"kubectl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == code, said
        return done.stdout if code == 0 else done.stdout + done.stderr

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self.words, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
