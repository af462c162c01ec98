"""A verdict on the terminal. Renders; judges nothing and prints nothing."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chaoskit.model.history import History
from chaoskit.model.verdict import Finding, Grade, Verdict
from chaoskit.reports.words import SIGNS, began, bound_untold, clean, headline, limit, measured

STYLES = {Grade.PASS: "green", Grade.FAIL: "bold red", Grade.INCONCLUSIVE: "yellow"}


def render_verdict(history: History, verdict: Verdict, name: str, folder: str) -> RenderableType:
    """The verdict, its findings with numbers and bounds, and what to keep: folder and seed."""
    broken = [finding for finding in verdict.premises if finding.grade is not Grade.PASS]
    return Group(
        Text(clean(f"{SIGNS[verdict.grade]} {name}: {headline(verdict)}"), style=STYLES[verdict.grade]),
        Text(),
        _findings(broken + list(verdict.findings)),
        Text(),
        *_kept(history, verdict, folder),
    )


def _findings(findings: Iterable[Finding]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("", "SLO", "measured", "limit", "because"):
        table.add_column(column, overflow="fold", no_wrap=column == "")
    for finding in findings:
        table.add_row(
            Text(f"{SIGNS[finding.grade]} {finding.grade.name}", style=STYLES[finding.grade]),
            Text(clean(_over(finding))),
            Text(measured(finding)),
            Text(limit(finding)),
            Text(clean(_because(finding))),
        )
    return table


def _over(finding: Finding) -> str:
    window = finding.window
    return finding.slo if window is None or window.name in finding.slo else f"{finding.slo}\nover {window.name}"


def _because(finding: Finding) -> str:
    bound = bound_untold(finding)
    return f"{finding.because}\nbound: {bound}" if bound else finding.because


def _kept(history: History, verdict: Verdict, folder: str) -> list[RenderableType]:
    restored = {"yes": "everything was put back", "no": "NOT everything was put back", "unknown": "not known"}[
        verdict.restored
    ]
    lines = [("restored", restored), ("seed", str(began(history).get("seed", "not known"))), ("folder", folder)]
    return [Text(clean(f"{name:<9}{value}"), overflow="fold") for name, value in lines]
