"""Requests as columns: rows in, slices and groups out."""

from __future__ import annotations

from chaoskit.model.requests import Request, Requests
from tests.histories import ns, window


def one(seq: int, at: float, pod: str = "", status: int = 200, uses: int = 1) -> Request:
    return Request(seq, ns(at), ns(at), ns(at + 0.25), status, "" if status else "refused.connect", pod=pod, uses=uses)


def made(*rows: Request) -> Requests:
    requests = Requests()
    for row in rows:
        requests.append(row)
    return requests


def test_rows_come_back_as_they_went_in() -> None:
    rows = [one(0, 1.0, "a"), one(1, 2.0, "b", 0), one(2, 3.0)]
    requests = made(*rows)
    assert list(requests) == rows
    assert len(requests) == 3
    assert requests.row(0).latency_s == 0.25
    assert requests.text("error", 1) == "refused.connect"


def test_a_count_of_uses_beyond_its_column_is_cut_off() -> None:
    assert made(one(0, 1.0, uses=100_000)).row(0).uses == 65535


def test_they_are_ordered_and_cut_by_intended_start() -> None:
    requests = made(one(0, 3.0), one(1, 1.0), one(2, 2.0)).ordered()
    assert list(requests.seq) == [1, 2, 0]
    assert list(requests.within(window("", 1, 3)).seq) == [1, 2]
    assert len(requests.within(window("", 5, 9))) == 0


def test_they_are_grouped_by_who_answered_with_the_unknown_under_nothing() -> None:
    groups = made(one(0, 1.0, "a"), one(1, 2.0), one(2, 3.0, "a")).by("pod")
    assert {name: list(group.seq) for name, group in groups.items()} == {"a": [0, 2], "": [1]}


def test_an_index_is_given_once() -> None:
    requests = Requests()
    assert requests.index("pod", "a") == requests.index("pod", "a") == 1
    assert requests.index("pod", "") == 0
