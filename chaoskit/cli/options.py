"""The options by which a cluster is named, the same for every verb. Parses; opens nothing and imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for: `context` None means a sandbox."""

    context: str | None
    kubeconfig: Path | None = None


def place_options(command: F) -> F:
    """--sandbox, --context and --kubeconfig."""
    for option in reversed(
        (
            click.option("--sandbox", is_flag=True, help="Start an embedded cluster for this command (profile fast)."),
            click.option("--context", metavar="NAME", help="Use this context of the kubeconfig."),
            kubeconfig_option,
        )
    ):
        command = option(command)
    return command


def kubeconfig_option(command: F) -> F:
    """--kubeconfig, as kubectl means it."""
    kind = click.Path(path_type=Path)
    help_ = "The kubeconfig file; otherwise $KUBECONFIG or ~/.kube/config, as with kubectl."
    return click.option("--kubeconfig", type=kind, metavar="FILE", help=help_)(command)


def state_namespace_option(command: F) -> F:
    """--state-namespace."""
    help_ = "Where chaoskit writes down what a fault on nodes changed, and holds its leases."
    return click.option("--state-namespace", metavar="NS", default="chaoskit", show_default=True, help=help_)(command)


def wanted_place(sandbox: bool, context: str | None, kubeconfig: Path | None) -> Wanted:
    """What was asked for. Raises click.UsageError unless it is exactly one of the two."""
    if sandbox and context is not None:
        raise click.UsageError("--sandbox and --context exclude each other.")
    if sandbox and kubeconfig is not None:
        raise click.UsageError("--kubeconfig belongs to --context; a sandbox has its own.")
    if not sandbox and context is None:
        raise click.UsageError(
            "Name the cluster. --sandbox starts an embedded one for this command, on this machine, and removes it "
            "afterwards; --context NAME uses that context of your kubeconfig. The current context is never used by accident."
        )
    return Wanted(context, kubeconfig)
