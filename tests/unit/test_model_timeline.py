"""Values over time and counts over many of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaoskit.model.timeline import Census, Span, Timeline
from chaoskit.model.verdict import Window


def timeline(*changes: tuple[int, str]) -> Timeline[str]:
    line: Timeline[str] = Timeline()
    for t_ns, value in changes:
        line.add(t_ns, value)
    return line


def test_a_value_holds_from_its_change_on_and_is_unknown_before() -> None:
    line = timeline((10, "a"), (20, "b"))
    assert [line.at(t) for t in (9, 10, 19, 20, 99)] == [None, "a", "a", "b", "b"]


def test_a_second_value_at_the_same_time_replaces_the_first() -> None:
    assert list(timeline((10, "a"), (10, "b")).changes()) == [(10, "b")]


def test_spans_are_cut_to_the_window_and_neighbours_are_joined() -> None:
    line = timeline((10, "a"), (20, "b"), (30, "x"), (40, "a"))
    assert line.spans(lambda value: value != "x", Window("", 0, 15, 50)) == [Span(15, 30, "a"), Span(40, 50, "a")]
    assert line.spans(lambda value: True, Window("", 0, 0, 10)) == []
    assert Span(0, 1_500_000_000, "a").seconds == 1.5


def test_the_first_time_a_predicate_holds() -> None:
    line = timeline((10, "a"), (20, "b"), (30, "a"))
    assert line.first(lambda value: value == "b", 0) == 20
    assert line.first(lambda value: value == "a", 15) == 15  # it holds already
    assert line.first(lambda value: value == "a", 20, 30) is None
    assert line.first(lambda value: value == "c", 0) is None
    assert line.first(lambda value: value == "a", 99) == 99
    assert Timeline[str]().first(lambda value: True, 5) is None


def test_objects_are_counted_and_the_gone_are_not() -> None:
    census: Census[str] = Census()
    for uid, t_ns, value in [("a", 1, "up"), ("b", 2, "down"), ("b", 3, "up"), ("a", 4, "down"), ("b", 5, None)]:
        census.record(uid, t_ns, value)
    counted = census.count(lambda value: value == "up")
    assert list(counted.changes()) == [(1, 1), (2, 1), (3, 2), (4, 1), (5, 0)]
    assert census.at(4) == ["down", "up"]
    assert census.at(5) == ["down"]
    assert list(census.only(lambda value: value == "down").each()) == ["a", "b"]
    assert list(census.only(lambda value: value == "none").each()) == []


def test_a_count_of_zero_is_known_from_the_first_sight_on() -> None:
    census: Census[str] = Census()
    census.record("a", 7, "down")
    assert list(census.count(lambda value: value == "up").changes()) == [(7, 0)]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.sampled_from(["up", "down", None])), max_size=30)
)
def test_the_sweep_counts_what_looking_at_each_object_counts(changes: list[tuple[str, int, str | None]]) -> None:
    census: Census[str] = Census()
    for uid, t_ns, value in sorted(changes, key=lambda change: change[1]):
        census.record(uid, t_ns, value)
    counted = census.count(lambda value: value == "up")
    for t_ns in range(22):
        assert (counted.at(t_ns) or 0) == sum(value == "up" for value in census.at(t_ns))
