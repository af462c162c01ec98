"""`chaoskit plan`: show what a run would do. Sends no mutation to the target; on a sandbox it starts the manifests it plans on."""

from __future__ import annotations

from pathlib import Path

import click

from chaoskit.cli.options import place_options, wanted_place


@click.command(short_help="Show what a run would do.")
@click.argument("file", type=click.Path(path_type=Path))
@place_options
@click.option("--seed", type=click.IntRange(min=0), help="Plan with this seed instead of a random one.")
def plan(file: Path, sandbox: bool, context: str | None, kubeconfig: Path | None, seed: int | None) -> int:
    """Show what a run of FILE would do: whom it touches, with which requests and undos, and how it is judged.

    On a named context nothing is changed; the traffic's route is tried with a few requests. With --sandbox the
    file's manifests are started on an embedded cluster that ends with this command.
    """
    from chaoskit.cli.files import read_files
    from chaoskit.cli.place import place
    from chaoskit.cli.planning import circumstances, planned
    from chaoskit.cli.signals import interruptible
    from chaoskit.cli.staging import staged
    from chaoskit.cli.talk import result, talk
    from chaoskit.reports.forecast import render_plan
    from chaoskit.runner.plan import new_run_id
    from chaoskit.runner.preflight import refuse_blocked
    from chaoskit.runner.sending import refuse_missing_values

    wanted = wanted_place(sandbox, context, kubeconfig)
    read = read_files([file])[0]
    refuse_missing_values(read.experiment)

    async def work() -> int:
        run, err = new_run_id(), talk()
        async with (
            place(wanted) as where,
            staged(read, where, run, False, lambda text: err.print(text, soft_wrap=True)),
        ):
            forecast = await planned(read, where, run, seed, is_fresh=where.is_sandbox)
            result().print(render_plan(read.experiment, forecast, circumstances(read, where)))
            refuse_blocked(forecast.caveats)
        return 0

    return interruptible(lambda signals: work())
