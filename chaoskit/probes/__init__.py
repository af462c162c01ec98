"""What is looked at during a run, one feed each. A register of names that imports nothing until a probe is asked for.

Probes of other distributions come from the entry-point group `chaoskit.probes`; a name taken twice is an error that names both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from chaoskit.model.seams import Probe

PROBES: Mapping[str, str] = {
    "pods": "chaoskit.probes.feeds:Pods",
    "endpoints": "chaoskit.probes.feeds:Endpoints",
    "workloads": "chaoskit.probes.feeds:Workloads",
    "nodes": "chaoskit.probes.feeds:Nodes",
    "events": "chaoskit.probes.feeds:Events",
}
"""Our own probes: kind to module and class."""

PROBES_OF_FEED: Mapping[str, str] = {kind: kind for kind in PROBES}
"""Which of our probes writes a feed. Each writes the one that bears its name."""

GROUP = "chaoskit.probes"


def load_probe(kind: str) -> Probe:
    """A probe by its kind. Raises ValueError for one that is not known, or that two packages claim."""
    offered = _offered()
    if kind in PROBES:
        module, _, name = PROBES[kind].partition(":")
        return cast("Probe", getattr(import_module(module), name)())
    if kind in offered:
        return cast("Probe", offered[kind].load()())
    raise ValueError(f"{kind!r} is not a probe; known: {', '.join((*PROBES, *sorted(offered)))}")


def probes_for(feeds: Iterable[str]) -> tuple[Probe, ...]:
    """The probes that write these feeds, each once. Raises ValueError for a feed that nobody writes."""
    wanted = sorted(set(feeds))
    chosen = dict.fromkeys(PROBES_OF_FEED[feed] for feed in wanted if feed in PROBES_OF_FEED)
    probes = [load_probe(kind) for kind in chosen]
    left = {feed for feed in wanted if feed not in PROBES_OF_FEED}
    for kind in sorted(_offered()) if left else ():
        probe = load_probe(kind)
        if probe.feeds & left:
            probes.append(probe)
            left -= probe.feeds
    if left:
        raise ValueError(f"no probe writes the feed {min(left)!r}; known feeds: {', '.join(PROBES_OF_FEED)}")
    return tuple(probes)


def _offered() -> Mapping[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        taken = "chaoskit" if point.name in PROBES else _package(found[point.name]) if point.name in found else ""
        if taken:
            raise ValueError(
                f"the probe {point.name!r} is offered by two packages, {taken} and {_package(point)}; uninstall one"
            )
        found[point.name] = point
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
