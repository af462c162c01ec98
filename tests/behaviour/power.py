"""The power switches of the nodes under test: a sandbox's own admin path, or the scripts of the local `realcluster`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

Switch = Callable[[str, str], None]


@dataclass(slots=True)
class Power:
    """Verbs: kill and start (a power cut, a boot), freeze and thaw (the node's agent only), for a node by name."""

    switch: Switch
    _off: list[tuple[str, str]] = field(default_factory=list)

    def kill(self, node: str) -> None:
        self._off.append(("start", node))
        self.switch("kill", node)

    def freeze(self, node: str) -> None:
        self._off.append(("thaw", node))
        self.switch("freeze", node)

    def start(self, node: str) -> None:
        self.switch("start", node)
        self._off.remove(("start", node))

    def thaw(self, node: str) -> None:
        self.switch("thaw", node)
        self._off.remove(("thaw", node))

    def restore(self) -> None:
        for verb, node in self._off:
            self.switch(verb, node)


def power_of(http: httpx.Client, context: str | None) -> Power | None:
    """The switches of the cluster under test, None where nobody has them."""
    if context is None:
        return Power(lambda verb, node: _ask(http, verb, node))
    scripts = _scripts()
    if context != "realcluster" or scripts is None:
        return None
    return Power(lambda verb, node: _run(scripts, verb, node))


def _ask(http: httpx.Client, verb: str, node: str) -> None:
    answer = http.post(f"/sandbox/v1/nodes/{node}/{verb}")
    assert answer.is_success, f"{verb} {node}: {answer.status_code} {answer.text}"


def _scripts() -> str | None:
    """`REALCLUSTER` names the script, else it is on PATH."""
    named = os.environ.get("REALCLUSTER")
    return named if named and Path(named).exists() else shutil.which("realcluster")


def _run(scripts: str, verb: str, node: str) -> None:
    words = {"kill": ["kill"], "start": ["up"], "freeze": ["freeze", "kubelet"], "thaw": ["thaw", "kubelet"]}[verb]
    subprocess.run([scripts, "node", node.removeprefix("node-"), *words], check=True, capture_output=True, timeout=120)
