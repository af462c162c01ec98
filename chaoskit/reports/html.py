"""A run as one HTML page that needs nothing else: no network, no script to read it. Assembles; everything that comes from outside is escaped."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from chaoskit.model.history import History
from chaoskit.model.units import render_seconds
from chaoskit.model.verdict import Finding, Grade, Verdict, deciding
from chaoskit.reports import chart, moments, series
from chaoskit.reports.json import result_to_json
from chaoskit.reports.series import Axis, Line
from chaoskit.reports.words import MEANING, SIGNS, began, bound_untold, interval, limit, measured

_ASSETS = Path(__file__).parent / "assets"

# Even if something slipped through the escaping, the page could load nothing and send nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def render(history: History, verdict: Verdict, name: str) -> str:
    """The whole page."""
    axis = series.axis_of(history)
    charts = _charts(history, axis)
    drawn = "".join(_chart(title, note, lines, scale, history, axis) for title, note, lines, scale in charts)
    data = {
        "axis": {"start": axis.start_s, "end": axis.end_s},
        "charts": [{"title": title, "lines": series.as_json(lines)} for title, _, lines, _ in charts],
        "result": result_to_json(history, verdict, name, ""),
    }
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">',
            f"<title>{escape(verdict.grade.name)}: {escape(name)}</title><style>{_asset('report.css')}</style></head><body>",
            _band(verdict, name),
            "<main>",
            _about(history, verdict),
            "<h2>Findings</h2>",
            _findings(verdict),
            "<h2>What happened</h2>",
            '<p class="note">Seconds from the first change. Shaded: baseline, fault and recovery, as they are judged.</p>',
            drawn or "<p>Nothing was recorded to draw.</p>",
            "<h2>Moments</h2>",
            _moments(history, axis),
            "</main>",
            f'<script type="application/json" id="data">{_embedded(data)}</script>',
            f"<script>{_asset('report.js')}</script></body></html>\n",
        )
    )


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _embedded(data: object) -> str:
    """JSON that cannot end its script element, whatever strings it holds."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _band(verdict: Verdict, name: str) -> str:
    decided = deciding(verdict)
    cells = [("Promised", decided.slo), ("Happened", decided.because), ("By how much", _difference(decided))]
    if verdict.grade is Grade.PASS:
        kept = sum(finding.grade is Grade.PASS for finding in verdict.findings)
        cells = [
            ("Promised", f"{len(verdict.findings)} promises"),
            ("Happened", f"{kept} kept"),
            ("Closest", _closest(verdict)),
        ]
    cells += [("Put back", {"yes": "everything", "no": "NOT everything", "unknown": "not known"}[verdict.restored])]
    shown = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in cells if value)
    return (
        f'<header class="{verdict.grade.name.lower()}"><p class="grade"><span aria-hidden="true">{SIGNS[verdict.grade]}</span> '
        f"{verdict.grade.name}</p><div><h1>{escape(name)}</h1><p>{escape(MEANING[verdict.grade])}</p></div><dl>{shown}</dl></header>"
    )


def _difference(finding: Finding) -> str:
    """How far the measured value is from its limit, in the unit of the SLO."""
    if finding.measured is None or finding.limit is None:
        return ""
    delta = finding.measured - finding.limit
    side = "above" if delta > 0 else "below"
    if not delta:
        return "exactly at the limit"
    if finding.unit == "ratio":
        return f"{abs(delta) * 100:.3g} points {side} the limit"
    return f"{render_seconds(abs(delta)) if finding.unit == 's' else f'{abs(delta):g}'} {side} the limit"


def _closest(verdict: Verdict) -> str:
    """The promise that was kept with the least to spare."""
    used = [(share, finding) for finding in verdict.findings if (share := _used(finding)) is not None]
    if not used:
        return ""
    share, finding = max(used, key=lambda each: each[0])
    return f"{finding.slo}: {measured(finding)}, {share:.0%} of what is allowed"


def _used(finding: Finding) -> float | None:
    """The share of what its limit allows that was used up: of the errors for a ratio that must be reached, else of the limit itself."""
    at, allowed = finding.measured, finding.limit
    if at is None or not allowed:
        return None
    if finding.unit == "ratio" and at >= allowed:
        return (1 - at) / (1 - allowed) if allowed < 1 else 0.0
    return at / allowed


def _about(history: History, verdict: Verdict) -> str:
    said = began(history)
    wall = said.get("wall")
    facts = {
        "Run": said.get("run"),
        "Began": None if wall is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall)),
        "Cluster": f"{said.get('context')} at {said.get('server')}" if said else None,
        "Profile": said.get("profile") and f"sandbox, {said['profile']} timings",
        "Target": history.plan.get("target"),
        "Traffic": _route(history),
        "Seed": said.get("seed"),
        "Version": said.get("version") and f"chaoskit {said['version']}",
    }
    cells = (
        f"<div><dt>{key}</dt><dd>{escape(str(value))}</dd></div>"
        for key, value in facts.items()
        if value not in (None, "")
    )
    return f'<dl class="about">{"".join(cells)}</dl>'


def _route(history: History) -> str:
    route = history.plan.get("route")
    return "" if not route else f"{route['baseUrl']} by {route['kind']}: {route['why']}"


def _findings(verdict: Verdict) -> str:
    broken = [finding for finding in verdict.premises if finding.grade is not Grade.PASS]
    rows = "".join(map(_row, [*broken, *verdict.findings]))
    head = "".join(f'<th scope="col">{column}</th>' for column in ("", "SLO", "Measured", "Limit", "Because"))
    return (
        f'<div class="wide"><table class="findings"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(finding: Finding) -> str:
    window = (
        ""
        if finding.window is None
        else f"<small>over {escape(finding.window.name)}, {render_seconds(finding.window.seconds)}</small>"
    )
    spread = interval(finding)
    samples = "" if finding.samples is None else f"n = {finding.samples}"
    details = [escape(part) for part in (samples, f"95 %: {spread}" if spread else "") if part]
    bound = bound_untold(finding)
    events = ", ".join(map(str, finding.shown_by))
    because = escape(finding.because)
    because += f"<small>bound: {escape(bound)}</small>" if bound else ""
    because += f"<small>journal events {escape(events)}</small>" if events else ""
    return (
        f'<tr class="{finding.grade.name.lower()}"><td class="grade"><span aria-hidden="true">{SIGNS[finding.grade]}</span> {finding.grade.name}</td>'
        f'<th scope="row">{escape(finding.slo)}{window}</th><td>{escape(measured(finding))}<small>{"<br>".join(details)}</small></td>'
        f"<td>{escape(limit(finding))}</td><td>{because}</td></tr>"
    )


Drawn = tuple[str, str, list[Line], chart.Scale]


def _charts(history: History, axis: Axis) -> list[Drawn]:
    rates, latencies, levels = (
        series.rates(history, axis),
        series.latencies(history, axis),
        series.levels(history, axis),
    )
    charts = [
        ("Requests and failures", "per second of intended start, by connection policy", rates, chart.linear(rates)),
        (
            "Latency",
            "ms from intended start, of answered requests, logarithmic",
            latencies,
            chart.logarithmic(latencies),
        ),
        ("Ready pods and ready endpoints", "of the target", levels, chart.linear(levels)),
    ]
    return [drawn for drawn in charts if any(line.points for line in drawn[2])]


def _chart(title: str, note: str, lines: Sequence[Line], scale: chart.Scale, history: History, axis: Axis) -> str:
    drawn = chart.draw(title, lines, scale, axis, series.stretches(history, axis), series.phases(history, axis))
    head = f"<figcaption><h3>{escape(title)} <small>{escape(note)}</small></h3>{chart.legend(lines)}</figcaption>"
    return f'<figure>{head}{drawn}<output class="read"></output></figure>'


def _moments(history: History, axis: Axis) -> str:
    rows = "".join(
        f'<tr class="{escape(moment.what.replace(".", "-"))}"><td>{moment.at_s:+.2f} s</td><td>{"" if moment.seq is None else moment.seq}</td>'
        f"<td>{escape(moment.what)}</td><td>{escape(moment.words)}</td></tr>"
        for moment in moments.moments(history, axis)
    )
    head = "".join(f'<th scope="col">{column}</th>' for column in ("Time", "Event", "Kind", "What"))
    return f'<div class="wide"><table class="moments"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
