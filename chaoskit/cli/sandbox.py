"""`chaoskit sandbox`: the detached embedded cluster, one per user. Asks the sandbox's own front; holds nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from chaoskit.sandbox.cluster import SandboxInfo

V = TypeVar("V")


@click.group(short_help="Start, stop and look at the embedded cluster.")
def sandbox() -> None:
    """The embedded cluster: real pods as processes of this user, real probes, real Services; no Docker, no root. Linux only."""


@sandbox.command(short_help="Start it and return.")
@click.option("--nodes", type=click.IntRange(min=1), default=3, show_default=True, help="How many nodes.")
@click.option(
    "--profile",
    type=click.Choice(["fast", "realistic"]),
    default="fast",
    show_default=True,
    help="The cluster's own timings.",
)
@click.option("--simulate", is_flag=True, help="Pods run no process: for tests of scale.")
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="The kubeconfig to add its context to."
)
def up(nodes: int, profile: str, kubeconfig: Path | None, simulate: bool) -> None:
    """Start a cluster that stays until `chaoskit sandbox down`; its context is called chaoskit-sandbox."""
    from chaoskit.sandbox import cluster

    info = _asked(lambda: cluster.up(nodes, profile, kubeconfig, simulated=simulate))
    click.echo(_told(info))


@sandbox.command(short_help="End it.")
def down() -> None:
    """End the cluster and everything that runs in it."""
    from chaoskit.sandbox import cluster

    click.echo("the sandbox is down" if _asked(cluster.down) else "there was no sandbox")


@sandbox.command(short_help="Say whether it is up.")
def status() -> int:
    """Say whether the cluster is up, how its nodes are, and what was asked of it in vain. Exits with 3 when it is not up."""
    from chaoskit.sandbox import cluster

    info = _running()
    if info is None:
        click.echo("there is no sandbox; start one with: chaoskit sandbox up")
        return 3
    click.echo("\n".join([_told(info), *_particulars(_asked(lambda: cluster.particulars(info)))]))
    return 0


@sandbox.command(short_help="Print its kubeconfig.")
def kubeconfig() -> int:
    """Print the cluster's kubeconfig. Exits with 3 when there is no cluster."""
    info = _running()
    if info is None:
        click.echo("there is no sandbox; start one with: chaoskit sandbox up", err=True)
        return 3
    click.echo(info.kubeconfig.read_text(encoding="utf-8"), nl=False)
    return 0


def _running() -> SandboxInfo | None:
    from chaoskit.sandbox import cluster

    return _asked(cluster.status)


def _asked(question: Callable[[], V]) -> V:
    """The answer; the sandbox's refusals in our own words of error."""
    from chaoskit.model.errors import CouldNotRun
    from chaoskit.sandbox.cluster import SandboxError

    try:
        return question()
    except SandboxError as error:
        raise CouldNotRun(str(error)) from None


def _particulars(told: dict[str, Any]) -> list[str]:
    """A line for each node that is not as it should be, each unsupported request and each crash of a controller."""
    lines = ["pods are simulated: they run no process"] if told["simulatedPods"] else []
    for node in told["nodes"]:
        states = {"without power": not node["powered"], "frozen": node["frozen"], "disconnected": not node["connected"]}
        wrong = [state for state, holds in states.items() if holds]
        lines += [f"{node['name']}: {', '.join(wrong)}"] if wrong else []
    lines += [f"asked for and not supported: {what}, {count} times" for what, count in told["unsupported"].items()]
    return lines + [f"controller {name} crashed {count} times" for name, count in told["crashes"].items()]


def _told(info: SandboxInfo) -> str:
    nodes = f"{len(info.nodes)} nodes, profile {info.profile}"
    return f"sandbox at {info.server}: {nodes}, context {info.context} in {info.kubeconfig}, pid {info.pid}"
