"""Lists in pages: sizes, order, one revision for all, and what a list does with revisions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.behaviour.access import Access


@pytest.fixture
def http(kubeconfig: Access) -> Iterator[httpx.Client]:
    with kubeconfig.http() as found:
        yield found


@pytest.fixture
def path(http: httpx.Client, namespace: str) -> str:
    """Where eleven Secrets are."""
    where = f"/api/v1/namespaces/{namespace}/secrets"
    for number in range(11):
        body = {"metadata": {"name": f"s{number:02}", "labels": {"even": str(number % 2 == 0).lower()}}}
        assert http.post(where, json=body).status_code == 201
    return where


def _page(http: httpx.Client, path: str, **query: str) -> Any:
    answer = http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_pages_together_are_the_list_at_one_revision(http: httpx.Client, path: str) -> None:
    first = _page(http, path, limit="4")
    assert first["metadata"]["remainingItemCount"] == 7
    http.post(path, json={"metadata": {"name": "s05-later"}})
    http.delete(f"{path}/s10")
    second = _page(http, path, limit="4", **{"continue": first["metadata"]["continue"]})
    third = _page(http, path, limit="4", **{"continue": second["metadata"]["continue"]})
    names = [item["metadata"]["name"] for page in (first, second, third) for item in page["items"]]
    assert names == [f"s{number:02}" for number in range(11)]
    assert len({page["metadata"]["resourceVersion"] for page in (first, second, third)}) == 1
    assert "continue" not in third["metadata"]


def test_with_a_selector_nobody_counts_what_remains(http: httpx.Client, path: str) -> None:
    page = _page(http, path, limit="2", labelSelector="even=true")
    assert "continue" in page["metadata"] and "remainingItemCount" not in page["metadata"]
    assert [item["metadata"]["name"] for item in page["items"]] == ["s00", "s02"]


def test_items_of_a_list_leave_out_their_kind(http: httpx.Client, path: str) -> None:
    found = _page(http, path)
    assert found["kind"] == "SecretList" and "kind" not in found["items"][0] and "apiVersion" not in found["items"][0]


def test_a_mangled_continue_is_a_bad_request(http: httpx.Client, path: str) -> None:
    answer = http.get(path, params={"limit": "2", "continue": "bm9uc2Vuc2U"})
    assert answer.status_code == 400 and "continue key is not valid" in answer.json()["message"]


def test_continue_and_a_revision_exclude_each_other(http: httpx.Client, path: str) -> None:
    token = _page(http, path, limit="2")["metadata"]["continue"]
    answer = http.get(path, params={"continue": token, "resourceVersion": "1"})
    assert answer.status_code == 400
    assert "specifying resource version is not allowed when using continue" in answer.json()["message"]


def test_an_exact_revision_shows_the_past(http: httpx.Client, path: str) -> None:
    then = _page(http, path)["metadata"]["resourceVersion"]
    http.delete(f"{path}/s00")
    past = _page(http, path, resourceVersion=then, resourceVersionMatch="Exact")
    assert len(past["items"]) == 11 and past["metadata"]["resourceVersion"] == then
    assert len(_page(http, path, resourceVersion=then, resourceVersionMatch="NotOlderThan")["items"]) == 10


def test_a_revision_from_the_future_times_out(http: httpx.Client, path: str) -> None:
    answer = http.get(path, params={"resourceVersion": "99999999"})
    assert answer.status_code == 504 and answer.json()["reason"] == "Timeout"
    assert "Too large resource version: 99999999" in answer.json()["message"]
