"""`chaoskit check`: say what is wrong with experiment files, if anything is. Touches no cluster and runs nothing that a file names."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Say what is wrong with experiment files.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Check experiment FILES: one line file:line:col for the first mistake in each, exit 2 if there is any.

    Also names the local files that are code when the experiment runs, and hints at times that the manifests do not allow.
    """
    from chaoskit.cli.files import code_named, read_files
    from chaoskit.runner.plan import hints_of_manifests

    for file in read_files(files):
        experiment = file.experiment
        judged = f"{len(experiment.slos)} SLOs" if experiment.slos else "the promises that fit"
        named = "".join(f"; {what}: {path}" for what, path in code_named(file))
        click.echo(f"{file.path}: valid: {experiment.fault.kind} on {experiment.target}, {judged}{named}")
        for hint in hints_of_manifests(experiment, file.manifests):
            click.echo(f"{file.path}: hint: {hint}")
