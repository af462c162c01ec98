"""Watches: replay, order, selectors, bookmarks, the end of the stream, and revisions too old or too new."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from kubernetes import client, watch

from tests.behaviour.access import Access

Event = dict[str, Any]


@pytest.fixture
def http(kubeconfig: Access) -> Iterator[httpx.Client]:
    with kubeconfig.http() as found:
        yield found


def _path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def _make(http: httpx.Client, namespace: str, name: str, **metadata: Any) -> Event:
    made = http.post(_path(namespace), json={"metadata": {"name": name} | metadata})
    assert made.status_code == 201, made.text
    found: Event = made.json()
    return found


def _watch(http: httpx.Client, namespace: str, **query: str) -> list[Event]:
    """All events until the stream ends by itself."""
    params = {"watch": "true", "timeoutSeconds": "1"} | query
    with http.stream("GET", _path(namespace), params=params) as stream:
        assert stream.status_code == 200
        return [json.loads(line) for line in stream.iter_lines()]


def _names(events: list[Event]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def _revision(http: httpx.Client, namespace: str) -> str:
    return str(http.get(_path(namespace)).json()["metadata"]["resourceVersion"])


def test_a_watch_without_a_revision_begins_with_what_exists(http: httpx.Client, namespace: str) -> None:
    _make(http, namespace, "a")
    assert ("ADDED", "a") in _names(_watch(http, namespace))


def test_a_watch_from_a_list_replays_nothing_and_misses_nothing(http: httpx.Client, namespace: str) -> None:
    _make(http, namespace, "before")
    revision = _revision(http, namespace)
    _make(http, namespace, "a")
    http.patch(
        f"{_path(namespace)}/a", json={"data": {"k": "v"}}, headers={"Content-Type": "application/merge-patch+json"}
    )
    http.delete(f"{_path(namespace)}/a")
    events = _watch(http, namespace, resourceVersion=revision)
    assert _names(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert revisions == sorted(set(revisions)) and revisions[0] > int(revision)


def test_resuming_from_each_event_gives_the_rest(http: httpx.Client, namespace: str) -> None:
    revision = _revision(http, namespace)
    for name in ("a", "b", "c"):
        _make(http, namespace, name)
    events = _watch(http, namespace, resourceVersion=revision)
    for index, event in enumerate(events):
        rest = _watch(http, namespace, resourceVersion=event["object"]["metadata"]["resourceVersion"])
        assert _names(rest) == _names(events[index + 1 :])


def test_an_object_that_leaves_a_selector_is_deleted_and_one_that_enters_is_added(
    http: httpx.Client, namespace: str
) -> None:
    revision = _revision(http, namespace)
    _make(http, namespace, "a", labels={"in": "yes"})
    for value in ("no", "yes"):
        body = {"metadata": {"labels": {"in": value}}}
        http.patch(f"{_path(namespace)}/a", json=body, headers={"Content-Type": "application/merge-patch+json"})
    events = _watch(http, namespace, resourceVersion=revision, labelSelector="in=yes")
    assert _names(events) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]
    assert events[1]["object"]["metadata"]["labels"] == {"in": "yes"}


def test_watchers_of_the_same_thing_see_the_same_order(http: httpx.Client, namespace: str) -> None:
    revision = _revision(http, namespace)
    seen: list[list[tuple[str, str]]] = []
    watchers = [
        threading.Thread(
            target=lambda: seen.append(_names(_watch(http, namespace, resourceVersion=revision, timeoutSeconds="2")))
        )
        for _ in range(3)
    ]
    for watcher in watchers:
        watcher.start()
    for number in range(20):
        _make(http, namespace, f"c{number}")
    for watcher in watchers:
        watcher.join()
    assert len(seen) == 3 and seen[0] == seen[1] == seen[2] and len(seen[0]) == 20


def test_a_bookmark_comes_before_the_timeout_and_only_when_asked_for(
    http: httpx.Client, namespace: str, pytestconfig: pytest.Config
) -> None:
    revision = _revision(http, namespace)
    plain = _watch(http, namespace, resourceVersion=revision, timeoutSeconds="3")
    marked = _watch(http, namespace, resourceVersion=revision, timeoutSeconds="3", allowWatchBookmarks="true")
    assert plain == []
    # In so short a time a real server sends none where nothing happens, and several where much does.
    assert pytestconfig.getoption("--chaos-context") is not None or len(marked) == 1
    assert {event["type"] for event in marked} <= {"BOOKMARK"}
    assert all(set(event["object"]) == {"kind", "apiVersion", "metadata"} for event in marked)


def test_initial_events_end_with_an_annotated_bookmark(http: httpx.Client, namespace: str) -> None:
    _make(http, namespace, "a")
    query = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    events = _watch(http, namespace, **query)
    marks = [event for event in events if event["type"] == "BOOKMARK"]
    assert marks[0]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert ("ADDED", "a") in _names(events[: events.index(marks[0])])


def test_a_stream_ends_at_its_timeout(http: httpx.Client, namespace: str) -> None:
    began = time.monotonic()
    _watch(http, namespace, timeoutSeconds="1")
    assert 0.9 <= time.monotonic() - began < 2.5


def test_a_revision_from_the_future_is_met_with_silence(http: httpx.Client, namespace: str) -> None:
    assert _watch(http, namespace, resourceVersion="99999999") == []


def test_a_revision_that_is_no_number_is_an_error(http: httpx.Client, namespace: str) -> None:
    answer = http.get(_path(namespace), params={"watch": "true", "resourceVersion": "abc"})
    assert answer.status_code == 500
    assert (
        answer.json()["message"]
        == 'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax'
    )


def test_the_clients_own_watch_yields_typed_objects(kubeconfig: Access, namespace: str) -> None:
    with kubeconfig.api_client() as api:
        core: Any = client.CoreV1Api(api)
        core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}, "data": {"k": "v"}})
        watcher: Any = watch.Watch
        stream = watcher().stream(core.list_namespaced_config_map, namespace, timeout_seconds=1)
        seen = {event["object"].metadata.name: event["object"].data for event in stream}
    assert seen["a"] == {"k": "v"}
