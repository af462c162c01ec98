"""`chaoskit doctor`: what works from this machine and what does not, each with a fix. Looks and tries; changes nothing in the cluster it is asked about."""

from __future__ import annotations

from pathlib import Path

import click

from chaoskit.cli.options import Wanted, kubeconfig_option


@click.command(short_help="Say what works from here, and how to mend what does not.")
@click.option(
    "--context", metavar="NAME", help="The context of the kubeconfig to look at; without it only this machine."
)
@kubeconfig_option
@click.option(
    "-n", "--namespace", metavar="NS", default="default", show_default=True, help="Ask about the rights in it."
)
def doctor(context: str | None, kubeconfig: Path | None, namespace: str) -> int:
    """Check this machine (versions, traffic generator, sandbox) and the cluster of a context (version, rights, route, clock).

    One line each: ok, or what is wrong and how to mend it.

    Exit codes: 0 all is well, 3 something is not.
    """
    from chaoskit.cli.diagnosis import diagnosed
    from chaoskit.cli.signals import interruptible

    if context is None and kubeconfig is not None:
        raise click.UsageError("--kubeconfig belongs to --context.")
    wanted = None if context is None else Wanted(context, kubeconfig)
    return interruptible(lambda signals: diagnosed(wanted, namespace))
