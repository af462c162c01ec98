"""`chaoskit run`: plan, ask, run, judge and report. The order of things and the exit code are here; each thing itself is elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from chaoskit.cli.options import place_options, state_namespace_option, wanted_place


@click.command(short_help="Run experiments and judge them.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@place_options
@click.option("--yes", is_flag=True, help="Do not ask before acting on a named context.")
@click.option(
    "--setup", is_flag=True, help="Apply the file's manifests to the named context, and remove them afterwards."
)
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR", help="The run folder [runs/TIME-NAME-ID].")
@click.option("--seed", type=click.IntRange(min=0), help="Use this seed instead of the file's or a random one.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="What stdout gets.")
@click.option("--watchdog/--no-watchdog", default=True, help="Let a process beside this one put back if this one dies.")
@state_namespace_option
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the findings as JUnit XML too.")
def run(
    files: tuple[Path, ...],
    sandbox: bool,
    context: str | None,
    kubeconfig: Path | None,
    yes: bool,
    setup: bool,
    run_dir: Path | None,
    seed: int | None,
    output: Literal["table", "json"],
    junit: Path | None,
    watchdog: bool,
    state_namespace: str,
) -> int:
    """Run the experiments of FILES one after the other. All files are checked before the first one runs.

    Each run writes a folder: the journal, the request log, the verdict and report.html. The talk goes to stderr,
    the result to stdout. However a run ends, what it changed is put back; SIGINT, SIGTERM and SIGHUP end it early.

    Exit codes: 0 PASS, 1 FAIL, 2 not valid, 3 no conclusion, 4 NOT RESTORED, 129/130/143 stopped and put back.
    """
    wanted = wanted_place(sandbox, context, kubeconfig)
    if run_dir is not None and len(files) > 1:
        raise click.UsageError("--run-dir names the folder of one run; leave it out with several files.")
    if run_dir is not None and run_dir.exists():
        raise click.UsageError(
            f"{run_dir} exists already; name another --run-dir, so that no earlier evidence is overwritten."
        )
    if junit is not None and not junit.parent.is_dir():
        raise click.UsageError(f"--junit: there is no folder {junit.parent}.")

    from chaoskit.cli.files import read_files
    from chaoskit.cli.running import Options, refuse_to_guess_consent, run_all
    from chaoskit.cli.signals import interruptible
    from chaoskit.runner.sending import refuse_missing_values

    read = read_files(files)
    options = Options(wanted, yes, setup, run_dir, seed, output, junit, state_namespace, watchdog)
    refuse_to_guess_consent(options)
    for each in read:
        refuse_missing_values(each.experiment)
    return interruptible(lambda signals: run_all(read, options, signals))
