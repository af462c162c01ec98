"""From text or mapping to an SLO, and what is said of text that is none."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from chaoskit.slos import OWN, from_value, kinds, load_slo, parse_slo, registry


@pytest.mark.parametrize("kind", list(OWN))
def test_every_kind_of_ours_loads_and_bears_its_name(kind: str) -> None:
    cls = load_slo(kind)
    assert cls.kind == kind
    assert isinstance(cls.needs, frozenset)
    assert cls.__doc__


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("availability >= 99%", "availability >= 99 %"),
        ("availability >= 99.9% over recovery", "availability >= 99.9 % over recovery"),
        ("latency p95 < 300ms", "latency p95 < 0.3 s"),
        ("recoveredWithin 5s", "recoveredWithin 5s"),
        ("replicasRestored", "replicasRestored"),
        ("  onlyReadyEndpoints  ", "onlyReadyEndpoints"),
    ],
)
def test_the_text_form_is_understood(text: str, shown: str) -> None:
    assert str(parse_slo(text)) == shown


def test_the_mapping_forms_are_understood() -> None:
    assert str(from_value("availability", ">= 99%")) == "availability >= 99 %"
    assert from_value("availability", {"objective": ">= 99%", "over": "run"}).over == "run"
    assert from_value("recoveredWithin", {"within": "5s", "availability": "95%"}).over == "run"
    assert from_value("replicasRestored", None).over == "run"
    assert from_value("replicasRestored", {"over": "recovery"}).over == "recovery"


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (
            "availabilty",
            ">= 99%",
            "'availabilty' is not an SLO, did you mean 'availability'?; known: availability, latency",
        ),
        ("AVAILABILITY", ">= 99%", "did you mean 'availability'?"),
        ("availability", "99%", "availability.objective: '99%' is not an objective"),
        ("availability", None, 'availability.objective: it is missing; write it as ">= 99%"'),
        ("availability", 99, "availability: 99 does not fit; expected a text or a mapping of its fields"),
        ("availability", {"objectiv": ">= 99%", "objective": ">= 99%"}, "no such field, did you mean 'objective'?"),
        (
            "availability",
            {"objective": ">= 99%", "over": "always"},
            "availability.over: Input should be 'baseline', 'fault'",
        ),
        ("recoveredWithin", "5", "recoveredWithin.within: '5' is not a duration"),
        (
            "recoveredWithin",
            {"within": "5s", "availability": "0%"},
            "recoveredWithin.availability: Input should be greater",
        ),
        ("replicasRestored", "quickly", "replicasRestored: 'quickly' does not fit; expected nothing behind it"),
        ("replicasRestored", {"within": "5s"}, "replicasRestored.within: there is no such field; known: over"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(kind: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        from_value(kind, value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "   ", None, 3, ["availability"]])
def test_what_is_no_text_is_no_slo(text: Any) -> None:
    with pytest.raises(ValueError, match="is not an SLO; write it as"):
        parse_slo(text)


def test_a_sliding_stretch_belongs_to_guards() -> None:
    with pytest.raises(ValueError, match="belongs to guards"):
        parse_slo("availability >= 50% over 5s")
    guard = parse_slo("availability >= 50% over 5s", strict=False)
    assert getattr(guard, "objective").sliding_s == 5.0  # noqa: B009 - the field is the class's, not the Protocol's


def offered(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: list(points))


def test_another_package_may_offer_an_slo(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, EntryPoint("quick", "chaoskit.slos.replicas:ReplicasRestored", registry.GROUP))
    assert "quick" in kinds()
    assert load_slo("quick").kind == "replicasRestored"


def test_a_name_taken_twice_names_both_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, EntryPoint("latency", "other.package:Latency", registry.GROUP))
    with pytest.raises(ValueError, match=r"'latency' is offered by two packages, chaoskit and other.package:Latency"):
        load_slo("availability")
    offered(monkeypatch, EntryPoint("x", "one:X", registry.GROUP), EntryPoint("x", "two:X", registry.GROUP))
    with pytest.raises(ValueError, match="one:X and two:X"):
        kinds()


def test_naming_the_kinds_imports_neither_pydantic_nor_any_slo() -> None:
    code = (
        "import sys, chaoskit.slos as s; s.kinds(); print([m for m in sys.modules if 'pydantic' in m or 'slos.' in m])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['chaoskit.slos.registry']"
