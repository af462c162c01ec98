"""The request log for other tools: the documented layout reads it in place, and an export says the same."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import numpy
import pytest
from click.testing import CliRunner

from chaoskit.cli.export import export
from chaoskit.traffic.export import COLUMNS, Clock, write_csv, write_ndjson, write_sqlite
from chaoskit.traffic.log import DTYPE, Row, Writer, read_requests

DOCUMENT = Path(__file__).parents[2] / "docs" / "request-log.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Logs of two processes, each with numbers of its own for the same texts."""
    for process in (0, 1):
        writer = Writer(tmp_path, process)
        writer.write(row(seq) for seq in range(process, 10, 2))
        writer.close()
    return tmp_path


def row(seq: int) -> Row:
    due_ns = 5_000_000_000 + seq * 10_000_000
    pod, error = ('b,"c"\n', "reset.body") if seq % 3 else ("pod-ä", "")
    return Row(
        seq, due_ns, due_ns + 1000, due_ns + 2_345_678, 0 if error else 200, error, pod, "v1", "n", "GET /", "fresh", 1
    )


def expected(clock: Clock | None = None) -> list[dict[str, Any]]:
    return [
        {
            "seq": r.seq,
            "intended_at": None if clock is None else clock.at(r.intended_ns),
            "latency_ms": 2.346,
            **{name: getattr(r, name) for name in COLUMNS[3:]},
        }
        for r in map(row, range(10))
    ]


def test_ndjson_csv_and_sqlite_say_the_same(folder: Path) -> None:
    requests, clock = read_requests(folder).ordered(), Clock(1_700_000_000.5, 5_000_000_000)
    lines, table = io.StringIO(), io.StringIO(newline="")
    write_ndjson(requests, clock, lines)
    write_csv(requests, clock, table)
    write_sqlite(requests, clock, folder / "out.sqlite")
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == expected(clock)
    as_text = [{name: str(value) for name, value in each.items()} for each in expected(clock)]
    assert list(csv.DictReader(io.StringIO(table.getvalue(), newline=""))) == as_text
    database = sqlite3.connect(folder / "out.sqlite")
    database.row_factory = sqlite3.Row
    assert [dict(each) for each in database.execute("SELECT * FROM requests ORDER BY seq")] == expected(clock)
    database.close()


def test_the_wall_clock_is_that_of_the_same_moment() -> None:
    clock = Clock(1_700_000_000.5, 5_000_000_000)
    assert clock.at(5_000_000_000) == "2023-11-14T22:13:20.500000Z"
    assert clock.at(6_250_000_000) == "2023-11-14T22:13:21.750000Z"


def test_the_verb_writes_to_stdout_or_to_a_new_file(folder: Path) -> None:
    began = {"run": "x", "wall": 1_700_000_000.0}
    from chaoskit.model.event import Event, encode

    (folder / "journal.jsonl").write_bytes(encode(Event(0, 5_000_000_000, "run.began", began)))
    printed = CliRunner().invoke(export, [str(folder), "--to", "ndjson"], catch_exceptions=False)
    clock = Clock(1_700_000_000.0, 5_000_000_000)
    assert [json.loads(line) for line in printed.stdout.splitlines()] == expected(clock)
    target = folder / "out.csv"
    CliRunner().invoke(export, [str(folder), "--to", "csv", "-o", str(target)], catch_exceptions=False)
    assert len(list(csv.DictReader(target.open(newline="")))) == 10
    assert target.stat().st_mode & 0o077 == 0
    CliRunner().invoke(export, [str(folder), "--to", "sqlite"], catch_exceptions=False)
    assert (folder / "requests.sqlite").exists()
    again = CliRunner().invoke(export, [str(folder), "--to", "sqlite"])
    assert "exists already" in str(again.exception)
    assert not list(folder.glob("*.new"))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    refused = CliRunner().invoke(export, [str(tmp_path), "--to", "csv"])
    assert "is no run folder" in str(refused.exception)


def test_the_documented_layout_is_that_of_the_log() -> None:
    fields = re.findall(r"^\| (\d+) \| ([ui])(\d+) \| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert [(name, f"<{kind}{int(bits) // 8}") for _, kind, bits, name in fields] == DTYPE
    assert [int(offset) for offset, *_ in fields] == [numpy.dtype(DTYPE).fields[name][1] for name, _ in DTYPE]  # type: ignore[index]


def test_the_documented_numpy_snippet_reads_the_log_in_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snippet = DOCUMENT.read_text().partition("## numpy\n\n```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {"run": str(folder)}
    exec(snippet, names)
    assert capsys.readouterr().out.startswith("5 requests, 3 failed, p99 2.345678")
    assert names["log"].dtype == numpy.dtype(DTYPE)
    first = names["log"][0]
    assert (first["seq"], names["texts"]["pod"][first["pod"]], names["texts"]["error"][first["error"]]) == (
        0,
        "pod-ä",
        "",
    )
