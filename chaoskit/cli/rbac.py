"""`chaoskit rbac`: print the smallest role that runs an experiment. Reads; grants nothing."""

from __future__ import annotations

from pathlib import Path

import click

from chaoskit.cli.options import place_options, wanted_place


@click.command(short_help="Print the smallest role that runs an experiment.")
@click.argument("file", type=click.Path(path_type=Path))
@place_options
def rbac(file: Path, sandbox: bool, context: str | None, kubeconfig: Path | None) -> int:
    """Print the Role, and where needed the ClusterRole, that a run of FILE takes, each with an example of its binding.

    Without a cluster it is read off the file: the fault is driven against an imagined target, a Deployment behind
    a Service. With --context or --sandbox it is read off the real one, which matters where the target's pods belong to
    something else, and for a drain, whose evictions may reach into other namespaces.
    """
    from chaoskit.cli.files import read_files
    from chaoskit.cli.place import place
    from chaoskit.cli.signals import interruptible
    from chaoskit.cli.staging import staged
    from chaoskit.cli.talk import talk
    from chaoskit.model.experiment import Experiment
    from chaoskit.reports.role import render_roles
    from chaoskit.runner.mirage import Mirage
    from chaoskit.runner.plan import new_run_id
    from chaoskit.runner.rights import Needs, needs

    read = read_files([file])[0]
    named = sandbox or context is not None or kubeconfig is not None
    wanted = wanted_place(sandbox, context, kubeconfig) if named else None

    async def work() -> int:
        if wanted is None:
            found, off = (
                await needs(read.experiment, Mirage(read.experiment)),
                "an imagined target; no cluster was asked",
            )
        else:
            err = talk()
            async with (
                place(wanted) as where,
                staged(read, where, new_run_id(), False, lambda text: err.print(text, soft_wrap=True)),
            ):
                found, off = await needs(read.experiment, where.cluster), f"context {where.cluster.context}"
        click.echo(
            render_roles(found.all, f"chaoskit-{read.experiment.name}"[:253], _told(read.experiment, found, off)),
            nl=False,
        )
        return 0

    def _told(experiment: Experiment, found: Needs, off: str) -> list[str]:
        wished = ", ".join(sorted(f"{right.verb} {right.resource}" for right in found.wished))
        return [
            f"What `chaoskit run {file}` takes ({experiment.fault.kind} on {experiment.target}), read off {off}.",
            *([f"The run goes on without these, and tells or sees less: {wished}."] if wished else []),
            "The subject of the bindings is an example: put your own.",
        ]

    return interruptible(lambda signals: work())
