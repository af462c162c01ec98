"""The library of faults: one module, one fault, with its witness and default promises. This page is its register; it imports nothing.

Faults of other distributions come from the entry-point group `chaoskit.faults`; a name taken twice is an error that names both.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points

FAULTS: Mapping[str, str] = {
    "killPod": "chaoskit.experiments.kill_pod:KillPod",
    "drainNode": "chaoskit.experiments.drain_node:DrainNode",
    "failLiveness": "chaoskit.experiments.fail_liveness:FailLiveness",
    "failReadiness": "chaoskit.experiments.fail_readiness:FailReadiness",
    "badCanary": "chaoskit.experiments.bad_canary:BadCanary",
}
"""YAML key -> module:Class of our own faults."""


def fault_names() -> Mapping[str, str]:
    """All registered faults, ours and those of installed distributions. Raises ValueError when a name is taken twice."""
    found = dict(FAULTS)
    for entry in entry_points(group="chaoskit.faults"):
        if entry.name in found:
            raise ValueError(
                f"the fault {entry.name!r} is offered by both {found[entry.name]} and {entry.value}; uninstall one"
            )
        found[entry.name] = entry.value
    return found


def fault_class(kind: str) -> type:
    """The class of a fault by its YAML key. Raises ValueError with the nearest known name."""
    names = fault_names()
    if kind not in names:
        near = difflib.get_close_matches(kind, names, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(names))}"
        raise ValueError(f"unknown fault {kind!r}{hint}")
    module, _, name = names[kind].partition(":")
    found: type = getattr(import_module(module), name)
    return found
