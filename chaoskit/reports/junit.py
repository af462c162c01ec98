"""Runs as JUnit XML, for CI systems: a suite is a run, a case is an SLO, properties hold the numbers. Renders; judges nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from chaoskit.model.history import History
from chaoskit.model.verdict import Finding, Grade, Verdict
from chaoskit.reports.words import began, bound_sum, interval, limit, measured


def render(suites: Sequence[ET.Element]) -> str:
    """One document of suites."""
    root = ET.Element("testsuites")
    root.extend(suites)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def suite(history: History, verdict: Verdict, name: str) -> ET.Element:
    """One run. A premise that is broken is a case too: without it the reader would not learn why nothing was concluded."""
    broken = [finding for finding in verdict.premises if finding.grade is not Grade.PASS]
    findings = [*broken, *verdict.findings]
    grades = [finding.grade for finding in findings]
    element = ET.Element(
        "testsuite",
        name=_text(name),
        tests=str(len(findings)),
        failures=str(grades.count(Grade.FAIL)),
        errors=str(grades.count(Grade.INCONCLUSIVE)),
        time=f"{_took_s(history):.3f}",
    )
    said = began(history)
    facts = {key: said.get(key) for key in ("run", "seed", "server", "context", "profile")}
    _properties(
        element, {**facts, "verdict": verdict.grade.name, "restored": verdict.restored, "because": verdict.because}
    )
    element.extend(_case(finding, name) for finding in findings)
    return element


def suite_of_error(name: str, because: str) -> ET.Element:
    """A run that could not begin or go on: one case, and an error."""
    element = ET.Element("testsuite", name=_text(name), tests="1", failures="0", errors="1", time="0.000")
    element.append(_case(Finding("run", Grade.INCONCLUSIVE, because), name))
    return element


def _case(finding: Finding, name: str) -> ET.Element:
    seconds = 0.0 if finding.window is None else finding.window.seconds
    case = ET.Element("testcase", classname=_text(name), name=_text(finding.slo), time=f"{seconds:.3f}")
    numbers = {
        "measured": measured(finding),
        "limit": limit(finding),
        "bound": bound_sum(finding.bound),
        "samples": finding.samples,
        "interval": interval(finding),
        "window": "" if finding.window is None else finding.window.name,
    }
    _properties(case, numbers)
    tag = {Grade.FAIL: "failure", Grade.INCONCLUSIVE: "error"}.get(finding.grade)
    if tag is not None:
        ET.SubElement(case, tag, message=_text(finding.because), type=finding.grade.name).text = _text(finding.because)
    return case


def _properties(parent: ET.Element, values: Mapping[str, object]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in values.items():
        if value is not None and value not in ("", "-"):
            ET.SubElement(properties, "property", name=name, value=_text(str(value)))


def _took_s(history: History) -> float:
    return (history.now_ns - history.events[0].t_ns) / 1e9 if history.events else 0.0


_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(text: str) -> str:
    """XML 1.0 has no way to write most control characters, not even escaped."""
    return _NOT_XML.sub("\ufffd", text)
