"""What the charts are drawn from equals what happened."""

from __future__ import annotations

import math

from chaoskit.reports import chart, series
from chaoskit.reports.series import Axis, Line
from tests.reports.stories import killed_pod


def test_zero_of_the_axis_is_the_first_mutation() -> None:
    history = killed_pod()
    axis = series.axis_of(history)
    assert (axis.start_s, axis.end_s) == (-10.0, 15.0)
    assert [(s.name, s.start_s, s.end_s) for s in series.stretches(history, axis)] == [
        ("baseline", -9.0, 0.0),
        ("fault", 0.0, 10.0),
        ("recovery", 10.0, 15.0),
    ]


def test_rates_count_requests_and_failures_of_each_second() -> None:
    history = killed_pod()
    requests, failures = (dict(line.points) for line in series.rates(history, series.axis_of(history)))
    assert requests[-5.0] == 100
    assert requests[0.0] == 100
    assert [failures[second] for second in (-1.0, 0.0, 1.0, 2.0)] == [0, 100, 100, 0]


def test_latencies_are_of_the_answered_and_break_where_nothing_was_answered() -> None:
    history = killed_pod()
    p50, _, p99 = (dict(line.points) for line in series.latencies(history, series.axis_of(history)))
    assert p50[-5.0] == 10.0
    assert math.isnan(p50[0.0])
    assert p99[2.0] == 500.0


def test_ready_pods_and_endpoints_follow_the_feeds() -> None:
    history = killed_pod()
    pods, endpoints = (line for line in series.levels(history, series.axis_of(history)))
    assert (pods.name, endpoints.name) == ("ready pods", "ready endpoints")
    assert pods.points == ((-10.0, 3.0), (0.0, 2.0), (3.0, 3.0), (15.0, 3.0))
    assert [(round(x, 1), y) for x, y in endpoints.points] == [(-10.0, 3.0), (0.2, 2.0), (3.1, 3.0), (15.0, 3.0)]


def test_a_linear_scale_ends_above_the_greatest_value_and_begins_at_zero() -> None:
    scale = chart.linear([Line("x", ((0.0, 97.0),))])
    assert scale.ticks[0] == 0.0
    assert scale.ticks[-1] == scale.high >= 97.0
    assert (scale.y(0.0), scale.y(scale.high)) == (chart.BOTTOM, chart.TOP)


def test_a_logarithmic_scale_holds_whole_decades() -> None:
    scale = chart.logarithmic([Line("x", ((0.0, 3.0), (1.0, math.nan), (2.0, 480.0)))])
    assert scale.ticks == (1.0, 10.0, 100.0, 1000.0)
    assert scale.y(1.0) == chart.BOTTOM
    assert round(scale.y(10.0) - scale.y(100.0), 6) == round(scale.y(100.0) - scale.y(1000.0), 6)


def test_a_point_without_a_value_lifts_the_pen() -> None:
    line = Line("x", ((0.0, 1.0), (1.0, math.nan), (2.0, 1.0)))
    drawn = chart.draw("t", [line], chart.linear([line]), Axis(0, 0.0, 3.0), [], [])
    path = drawn[drawn.index('class="line c0" d="') :].split('"')[3]
    assert path.count("M") == 2
    assert "nan" not in drawn


def test_drawn_text_is_escaped() -> None:
    line = Line("<b>", ((0.0, 1.0),))
    drawn = chart.draw("<i>", [line], chart.linear([line]), Axis(0, 0.0, 1.0), [], []) + chart.legend([line])
    assert "<b>" not in drawn
    assert "<i>" not in drawn
