"""The result document of `-o json`: plain data for machines. One document per run, the same for PASS, FAIL and what could not run."""

from __future__ import annotations

from collections.abc import Mapping

from chaoskit.model.history import History
from chaoskit.model.resource import Json
from chaoskit.model.verdict import Verdict, verdict_to_json
from chaoskit.reports.words import began

VERSION = 1
"""The version of the document; it changes when a field changes its meaning or goes."""


def result_to_json(history: History, verdict: Verdict, name: str, folder: str) -> Mapping[str, Json]:
    """A judged run: verdict, findings with numbers, and where the evidence lies."""
    said = began(history)
    return {
        "version": VERSION,
        "experiment": name,
        "run": said.get("run"),
        "seed": said.get("seed"),
        "server": said.get("server"),
        "context": said.get("context"),
        "profile": said.get("profile"),
        "wall": said.get("wall"),
        "folder": folder,
        "phases": [{"name": event.data["name"], "at": _since(history, event.t_ns)} for event in history.of("phase")],
        **verdict_to_json(verdict),
    }


def error_to_json(name: str, source: str, because: str) -> Mapping[str, Json]:
    """A run that could not begin or go on."""
    return {
        "version": VERSION,
        "experiment": name,
        "source": source,
        "verdict": "INCONCLUSIVE",
        "restored": "yes",
        "because": because,
        "premises": [],
        "findings": [],
    }


def _since(history: History, t_ns: int) -> float:
    """Seconds since the journal began."""
    return round((t_ns - history.events[0].t_ns) / 1e9, 3)
