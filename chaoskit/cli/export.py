"""`chaoskit export`: the request log of a saved run for other tools. Reads its folder; needs no cluster, changes nothing, judges nothing."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from chaoskit.model.requests import Requests
    from chaoskit.traffic.export import Clock


@click.command(short_help="Write the request log of a saved run for other tools.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(["ndjson", "csv", "sqlite"]), required=True, help="The form to write.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to; a new file [stdout; for sqlite RUN_DIR/requests.sqlite].",
)
def export(run_dir: Path, form: Literal["ndjson", "csv", "sqlite"], output: Path | None) -> int:
    """Write every request of the saved run in RUN_DIR: one row each, by intended start.

    The log itself can be read in place by numpy, polars and DuckDB: docs/request-log.md.

    Exit codes: 0 written, 2 no run folder or FILE exists, 3 the log cannot be read or FILE not written.
    """
    from chaoskit.model.errors import UsageError
    from chaoskit.runner.folder import read_events
    from chaoskit.traffic.export import Clock
    from chaoskit.traffic.log import read_requests

    began = next((event for event in read_events(run_dir) if event.kind == "run.began"), None)
    clock = Clock(float(began.data["wall"]), began.t_ns) if began is not None else None
    path = run_dir / "requests.sqlite" if output is None and form == "sqlite" else output
    if path is not None and path.exists():
        raise UsageError(f"{path} exists already; name another -o, so that nothing is overwritten")
    requests = read_requests(run_dir).ordered()
    if path is None:
        _write(form, requests, clock, sys.stdout)
        return 0
    _write_file(form, requests, clock, path)
    click.echo(f"{len(requests)} requests written to {path}", err=True)
    return 0


def _write(form: str, requests: Requests, clock: Clock | None, file: IO[str]) -> None:
    from chaoskit.traffic.export import write_csv, write_ndjson

    if form == "csv":
        write_csv(requests, clock, file)
    else:
        write_ndjson(requests, clock, file)


def _write_file(form: str, requests: Requests, clock: Clock | None, path: Path) -> None:
    """Under its name only when it is whole. Raises CouldNotRun."""
    import sqlite3

    from chaoskit.model.errors import CouldNotRun
    from chaoskit.traffic.export import write_sqlite

    try:
        with _draft(path) as draft:
            if form == "sqlite":
                write_sqlite(requests, clock, draft)
            else:
                with draft.open("w", encoding="utf-8", newline="") as file:
                    _write(form, requests, clock, file)
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CouldNotRun(f"{path} could not be written: {why}") from None


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file beside it that only this user may read; it takes the name when the block succeeds, and is gone when it does not."""
    draft = path.with_name(path.name + ".new")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
