"""`chaoskit judge`: the verdict of a saved run, judged again. Reads its folder; needs no cluster and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


@click.command(short_help="Judge a saved run again.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="What stdout gets.")
def judge(run_dir: Path, output: Literal["table", "json"]) -> int:
    """Judge the saved run in RUN_DIR again, from its journal alone.

    Exit codes: 0 PASS, 1 FAIL, 2 no run folder, 3 no conclusion, 4 the run did not put everything back.
    """
    import json

    from chaoskit.cli.endings import code_of
    from chaoskit.cli.saved import read_run
    from chaoskit.cli.talk import result
    from chaoskit.reports.json import result_to_json
    from chaoskit.reports.terminal import render_verdict

    run = read_run(run_dir)
    if output == "json":
        click.echo(
            json.dumps(result_to_json(run.history, run.verdict, run.name, str(run_dir)), indent=2, ensure_ascii=False)
        )
    else:
        result().print(render_verdict(run.history, run.verdict, run.name, str(run_dir)))
    return code_of(run.verdict)
