"""The machine-readable reports: JUnit and JSON."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from chaoskit.model.verdict import Finding, Grade, Verdict
from chaoskit.reports import junit
from chaoskit.reports.json import error_to_json, result_to_json
from tests.reports.stories import killed_pod, verdict


def _suite(judged: Verdict) -> ET.Element:
    text = junit.render([junit.suite(killed_pod(), judged, "shop-survives")])
    (suite,) = ET.fromstring(text)
    return suite


def _properties(element: ET.Element) -> dict[str | None, str | None]:
    return {prop.get("name"): prop.get("value") for prop in element.findall("properties/property")}


def test_a_broken_promise_is_a_failure_with_its_reason() -> None:
    suite = _suite(verdict())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    failure = suite.find("testcase[@name='availability >= 99 %']/failure")
    assert failure is not None
    assert failure.get("message") == "95 % of 1000 requests were good"


def test_what_cannot_be_concluded_is_an_error_and_no_failure() -> None:
    suite = _suite(verdict(Grade.INCONCLUSIVE))
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    assert suite.find("testcase/error") is not None


def test_a_broken_premise_is_a_case_too() -> None:
    premise = Finding("injected", Grade.INCONCLUSIVE, "not injected")
    suite = _suite(Verdict(Grade.INCONCLUSIVE, (premise,), ()))
    assert suite.find("testcase[@name='injected']/error") is not None


def test_a_run_that_could_not_begin_is_a_suite_with_an_error() -> None:
    suite = junit.suite_of_error("shop-survives", "no route")
    error = suite.find("testcase[@name='run']/error")
    assert error is not None
    assert error.get("message") == "no route"
    assert suite.get("errors") == "1"


def test_properties_hold_the_numbers() -> None:
    suite = _suite(verdict())
    assert _properties(suite)["seed"] == "42"
    assert _properties(suite)["restored"] == "yes"
    case = suite.find("testcase[@name='replicasRestored']")
    assert case is not None
    assert _properties(case)["measured"] == "3 s"
    assert str(_properties(case)["bound"]).startswith("7 s = 5 s")


def test_characters_that_xml_cannot_hold_do_not_break_it() -> None:
    suite = _suite(verdict(because="\x00\x1b[31m<&\ud800\uffff"))
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "��[31m<&��"


def test_the_json_document_holds_verdict_findings_and_phases() -> None:
    document = json.loads(
        json.dumps(result_to_json(killed_pod(), verdict(), "shop-survives", "runs/x"), allow_nan=False)
    )
    assert (document["verdict"], document["restored"], document["run"], document["seed"]) == (
        "FAIL",
        "yes",
        "bcdfghjk",
        42,
    )
    assert document["findings"][1]["bound"]["seconds"] == 7.0
    assert [phase["name"] for phase in document["phases"]][-1] == "ended"


def test_what_could_not_run_has_the_same_outline() -> None:
    failed, judged = error_to_json("x", "x.yaml", "no route"), result_to_json(killed_pod(), verdict(), "x", "f")
    assert {
        "version",
        "experiment",
        "verdict",
        "restored",
        "because",
        "findings",
        "premises",
    } <= failed.keys() & judged.keys()
