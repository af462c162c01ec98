"""Experiment files from the command line: all of them are read and checked before anything else happens. Starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from chaoskit.cli.manifests import read_manifests
from chaoskit.model.errors import ExperimentError
from chaoskit.model.experiment import Experiment
from chaoskit.model.resource import Obj
from chaoskit.runner.load import load_text, read_text
from chaoskit.runner.redact import learn, secrets_of_headers, secrets_of_manifests


@dataclass(frozen=True, slots=True)
class ExperimentFile:
    """A file as it was read: `text` is what the run is recorded with, `manifests` what its setup applies."""

    path: Path
    text: str
    experiment: Experiment
    manifests: tuple[Obj, ...]


def read_file(path: Path) -> ExperimentFile:
    """One experiment file and its manifests. Raises ExperimentError."""
    text = read_text(path)
    experiment = load_text(text, str(path), path.parent)
    setup = experiment.setup
    manifests = () if setup is None else tuple(read_manifests(setup.manifests))
    learn(secrets_of_manifests(manifests))
    learn(secrets_of_headers({} if experiment.traffic is None else experiment.traffic.headers))
    return ExperimentFile(path, text, experiment, manifests)


def read_files(paths: Sequence[Path]) -> list[ExperimentFile]:
    """All files, in order. Says one line for each that is not valid, and then exits with 2: nothing runs unless all are."""
    read, sound = [], True
    for path in paths:
        try:
            read.append(read_file(path))
        except ExperimentError as error:
            click.echo(str(error), err=True)
            sound = False
    if not sound:
        raise click.exceptions.Exit(2)
    return read


def code_named(file: ExperimentFile) -> list[tuple[str, Path]]:
    """The local files an experiment names that are code when it runs: what they are, and where."""
    experiment, named = file.experiment, []
    if experiment.setup is not None:
        named.append(("manifests", experiment.setup.manifests))
    if experiment.traffic is not None and experiment.traffic.locustfile is not None:
        named.append(("locustfile", experiment.traffic.locustfile))
    return named
