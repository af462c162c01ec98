"""`chaoskit report`: the report of a saved run, written again. Reads its folder and writes there; needs no cluster."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Write the report of a saved run again.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the findings as JUnit XML too.")
def report(run_dir: Path, junit: Path | None) -> int:
    """Judge the saved run in RUN_DIR again and write its report.html. Prints the verdict; exits with 0 once it is written."""
    from chaoskit.cli.saved import read_run
    from chaoskit.cli.talk import result, talk
    from chaoskit.reports import html
    from chaoskit.reports import junit as xml
    from chaoskit.reports.terminal import render_verdict
    from chaoskit.runner.folder import REPORT, write_private

    run = read_run(run_dir)
    write_private(run_dir / REPORT, html.render(run.history, run.verdict, run.name))
    if junit is not None:
        junit.write_text(xml.render([xml.suite(run.history, run.verdict, run.name)]), encoding="utf-8")
    result().print(render_verdict(run.history, run.verdict, run.name, str(run_dir)))
    talk().print(f"written: {run_dir / REPORT}", soft_wrap=True)
    return 0
