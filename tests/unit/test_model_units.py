"""Durations, ratios, rates, objectives: text into numbers, and what is no such text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from chaoskit.model.objective import Objective, parse_objective, render
from chaoskit.model.units import parse_duration, parse_rate, parse_ratio, render_ratio, render_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("1m30s", 90.0), ("250ms", 0.25), ("0s", 0.0), (timedelta(seconds=5), 5.0)]
)
def test_durations_are_go_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["30", 30, "-5s", "", "5 s", " 5s", "soon", None, "1e400s", "NaNs"])
def test_what_has_no_unit_or_no_sense_is_no_duration(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_ratios_are_percentages_only() -> None:
    assert parse_ratio("99.5%") == pytest.approx(0.995)
    assert parse_ratio("0%") == 0.0
    for text in ("99", "101%", "-1%", 0.99, None, "99.%"):
        with pytest.raises(ValueError, match="not a percentage"):
            parse_ratio(text)


def test_rates_have_a_unit_and_are_not_zero() -> None:
    assert parse_rate("100/s") == 100.0
    assert parse_rate("600/m") == 10.0
    for text in ("100", "0/s", "100/d", 100, None):
        with pytest.raises(ValueError, match="is not a rate"):
            parse_rate(text)


@pytest.mark.parametrize(("seconds", "shown"), [(0.25, "0.25 s"), (89.0, "89 s"), (90.0, "1 m 30 s"), (120.0, "2 m")])
def test_seconds_are_shown_for_people(seconds: float, shown: str) -> None:
    assert render_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(1.0, "100 %"), (0.0, "0 %"), (0.995, "99.5 %"), (0.9999, "99.99 %"), (0.5, "50 %"), (0.0012, "0.12 %")],
)
def test_ratios_are_shown_with_the_digits_that_tell_them_from_all(ratio: float, shown: str) -> None:
    assert render_ratio(ratio) == shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">= 99%", Objective(">=", 0.99, "ratio")),
        ("p95 < 300ms", Objective("<", 0.3, "s", 0.95)),
        ("p99.9 <= 1s over recovery", Objective("<=", 1.0, "s", 0.9990000000000001, "recovery")),
        ("== 0", Objective("==", 0.0, "count")),
        (">= 50% over 5s", Objective(">=", 0.5, "ratio", None, "", 5.0)),
    ],
)
def test_objectives_are_read(text: str, expected: Objective) -> None:
    found = parse_objective(text)
    assert (found.op, found.unit, found.over) == (expected.op, expected.unit, expected.over)
    assert found.sliding_s == expected.sliding_s
    assert found.value == pytest.approx(expected.value)
    assert found.quantile == (None if expected.quantile is None else pytest.approx(expected.quantile))
    assert parse_objective(found) is found


@pytest.mark.parametrize(
    "text", ["99%", "=> 99%", "p0 < 1s", "p100 < 1s", ">= 99% over lunch", ">=", "", 99, None, "> 5 apples"]
)
def test_what_is_no_objective_says_what_was_expected(text: Any) -> None:
    with pytest.raises(ValueError):
        parse_objective(text)


def test_an_objective_compares_and_nothing_meets_not_a_number() -> None:
    assert parse_objective(">= 99%").met_by(0.99)
    assert not parse_objective("> 99%").met_by(0.99)
    assert not parse_objective(">= 0%").met_by(float("nan"))


def test_objectives_and_values_are_shown_in_their_unit() -> None:
    assert str(parse_objective("p95 < 300ms")) == "p95 < 0.3 s"
    assert render(3.0, "count") == "3"
