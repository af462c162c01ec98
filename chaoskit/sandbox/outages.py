"""What is done to nodes from outside, as marks in the state folder that every process of a sandbox can look at. Does nothing to them itself.

Marks are files, because those who ask (the Service proxy for each connection, a supervisor, the API server) share nothing
else with the launcher that makes them: a look costs some microseconds and needs no word with anybody.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Final

_FOLDER: Final = "outages"
_ADDRESS: Final = re.compile(r"127\.\d+\.(\d+)\.(\d+)\Z")
_NAME: Final = re.compile(r"node-([1-9]\d*)\Z")


class Outage(Enum):
    """`OFF`: without power. `FROZEN`: its supervisor is stopped, its pods run. `CUT`: without network."""

    OFF = "off"
    FROZEN = "frozen"
    CUT = "cut"


def node_name(index: int) -> str:
    """The name of node `index`, counted from 1."""
    return f"node-{index}"


def node_index(name: str) -> int:
    """The number in a node's name. Raises ValueError for what is no name of a node of ours."""
    found = _NAME.match(name)
    if found is None:
        raise ValueError(f"{name!r} is no node of a sandbox: expected node-N")
    return int(found[1])


def mark(state_dir: Path, node: str, outage: Outage) -> None:
    """Note that it is so."""
    (state_dir / _FOLDER).mkdir(exist_ok=True)
    _file(state_dir, node, outage).touch()


def clear(state_dir: Path, node: str, outage: Outage) -> None:
    """Note that it is over; also when it never was."""
    _file(state_dir, node, outage).unlink(missing_ok=True)


def holds(state_dir: Path, node: str, outage: Outage) -> bool:
    return _file(state_dir, node, outage).exists()


def of(state_dir: Path, node: str) -> frozenset[Outage]:
    """All that is the matter with a node."""
    return frozenset(outage for outage in Outage if holds(state_dir, node, outage))


def is_cut(state_dir: Path, host: str) -> bool:
    """Whether an address is that of a node without network, or of a pod on one."""
    node = _node_of(host)
    return node is not None and holds(state_dir, node, Outage.CUT)


def is_down(state_dir: Path, host: str) -> bool:
    """Whether the address of a node, or of a pod on it, answers nobody: no network, or no power."""
    node = _node_of(host)
    return node is not None and bool(of(state_dir, node) & {Outage.CUT, Outage.OFF})


def _node_of(host: str) -> str | None:
    found = _ADDRESS.match(host)
    return None if found is None else node_name(int(found[2]) if found[1] == "0" else int(found[1]))


def _file(state_dir: Path, node: str, outage: Outage) -> Path:
    return state_dir / _FOLDER / f"{node}.{outage.value}"
