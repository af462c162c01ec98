"""`chaoskit halt`: stop every run on a cluster, and let none begin, until it is lifted. Turns the switch; the runs stop themselves."""

from __future__ import annotations

from pathlib import Path

import click

from chaoskit.cli.options import Wanted, kubeconfig_option, state_namespace_option


@click.command(short_help="Stop every run on a cluster.")
@click.option("--context", metavar="NAME", required=True, help="The context of the kubeconfig.")
@kubeconfig_option
@state_namespace_option
@click.option("--off", is_flag=True, help="Lift the halt.")
@click.option("--because", metavar="TEXT", default="", help="Why; whoever is stopped is told.")
def halt(context: str, kubeconfig: Path | None, state_namespace: str, off: bool, because: str) -> int:
    """Stop every run of chaoskit on a cluster: each puts back what it changed within seconds, and none begins until --off.

    The switch is the ConfigMap chaoskit-halt in the state namespace; a run looks at it before each change and twice a second.
    Runs whose credentials may not read that namespace are not bound by it.
    """
    from chaoskit.cli.place import place
    from chaoskit.cli.signals import interruptible
    from chaoskit.runner.halt import lift_halt, set_halt

    async def work() -> int:
        async with place(Wanted(context, kubeconfig)) as where:
            if off:
                was_on = await lift_halt(where.cluster, state_namespace)
                click.echo("lifted" if was_on else "it was not halted")
            else:
                await set_halt(where.cluster, state_namespace, because)
                click.echo(f"halted: `chaoskit halt --context {context} --off` lifts it")
        return 0

    return interruptible(lambda signals: work())
