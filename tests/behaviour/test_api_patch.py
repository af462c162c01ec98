"""The three patches, with the odd cases that were recorded on a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.behaviour import manifests
from tests.behaviour.access import Access

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture
def http(kubeconfig: Access) -> Iterator[httpx.Client]:
    with kubeconfig.http() as found:
        yield found


@pytest.fixture
def config_map(http: httpx.Client, namespace: str) -> str:
    """The path of a ConfigMap that holds one key and no annotations."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert http.post(path, json={"metadata": {"name": "c"}, "data": {"k": "v"}}).status_code == 201
    return f"{path}/c"


@pytest.fixture
def deployment(http: httpx.Client, namespace: str) -> str:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    assert http.post(path, json=manifests.deployment("d", 0, paused=True)).status_code == 201
    return f"{path}/d"


def _patch(http: httpx.Client, path: str, body: Any, media: str) -> httpx.Response:
    return http.patch(path, json=body, headers={"Content-Type": media})


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "test", "path": "/data/missing", "value": None}, 200),
        ({"op": "test", "path": "/metadata/annotations/missing", "value": None}, 422),
        ({"op": "test", "path": "/data/missing", "value": "x"}, 422),
        ({"op": "test", "path": "/data/k", "value": "other"}, 422),
        ({"op": "test", "path": "/data/k", "value": "v"}, 200),
        ({"op": "add", "path": "/metadata/annotations/x", "value": "y"}, 422),
        ({"op": "remove", "path": "/data/missing"}, 422),
        ({"op": "remove", "path": "/metadata/annotations/x"}, 422),
        ({"op": "replace", "path": "/data/new", "value": "1"}, 200),
        ({"op": "add", "path": "/data/new", "value": None}, 200),
        ({"op": "flip", "path": "/data/k", "value": "1"}, 422),
        ({"op": "test", "path": "/metadata/resourceVersion", "value": "1"}, 422),
        ({"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}, 409),
        ({"op": "replace", "path": "/metadata/uid", "value": "00000000-0000-0000-0000-000000000000"}, 422),
    ],
)
def test_one_json_patch_operation_answers_as_recorded(
    http: httpx.Client, config_map: str, operation: Any, status: int
) -> None:
    answer = _patch(http, config_map, [operation], JSON)
    assert answer.status_code == status, answer.text


def test_a_refused_json_patch_does_not_say_which_operation(http: httpx.Client, config_map: str) -> None:
    answer = _patch(http, config_map, [{"op": "test", "path": "/data/k", "value": "x"}], JSON).json()
    assert answer["message"] == "the server rejected our request due to an error in our request"
    assert answer["reason"] == "Invalid" and answer["details"] == {}


def test_a_refused_json_patch_changes_nothing(http: httpx.Client, config_map: str) -> None:
    operations = [{"op": "add", "path": "/data/a", "value": "1"}, {"op": "test", "path": "/data/k", "value": "x"}]
    _patch(http, config_map, operations, JSON)
    assert http.get(config_map).json()["data"] == {"k": "v"}


def test_null_in_a_string_map_is_an_empty_string(http: httpx.Client, config_map: str) -> None:
    _patch(http, config_map, [{"op": "add", "path": "/data/a", "value": None}], JSON)
    assert http.get(config_map).json()["data"] == {"k": "v", "a": ""}


def test_an_empty_patch_keeps_the_revision(http: httpx.Client, config_map: str) -> None:
    before = http.get(config_map).json()["metadata"]["resourceVersion"]
    for body, media in (([], JSON), ({}, MERGE), ({"data": {"k": "v"}}, MERGE), ({"data": {"k": "v"}}, STRATEGIC)):
        assert _patch(http, config_map, body, media).json()["metadata"]["resourceVersion"] == before


def test_a_json_patch_must_be_a_list(http: httpx.Client, config_map: str) -> None:
    answer = _patch(http, config_map, {}, JSON)
    assert answer.status_code == 400 and "cannot unmarshal object" in answer.json()["message"]


def test_plain_json_is_no_patch(http: httpx.Client, config_map: str) -> None:
    assert _patch(http, config_map, {}, "application/json").status_code == 415


def test_a_merge_patch_removes_with_null_and_replaces_lists(http: httpx.Client, deployment: str) -> None:
    containers = [{"name": "other", "image": "python:3.11-slim"}]
    body = {"metadata": {"labels": None}, "spec": {"template": {"spec": {"containers": containers}}}}
    changed = _patch(http, deployment, body, MERGE).json()
    assert [c["name"] for c in changed["spec"]["template"]["spec"]["containers"]] == ["other"]
    assert "labels" not in changed["metadata"]


def test_a_strategic_patch_merges_containers_and_their_env_by_name(http: httpx.Client, deployment: str) -> None:
    container = {"name": "app", "env": [{"name": "MORE", "value": "1"}]}
    changed = _patch(http, deployment, {"spec": {"template": {"spec": {"containers": [container]}}}}, STRATEGIC).json()
    (found,) = changed["spec"]["template"]["spec"]["containers"]
    assert found["image"] == "python:3.11-slim" and {v["name"] for v in found["env"]} == {"POD_IP", "MORE"}


def test_a_strategic_patch_deletes_an_element_by_its_key(http: httpx.Client, deployment: str) -> None:
    env = [{"name": "POD_IP", "$patch": "delete"}]
    body = {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}}}
    (found,) = _patch(http, deployment, body, STRATEGIC).json()["spec"]["template"]["spec"]["containers"]
    assert "env" not in found


def test_a_strategic_patch_replaces_what_it_says_it_replaces(http: httpx.Client, deployment: str) -> None:
    strategy = {"$retainKeys": ["type"], "type": "Recreate"}
    changed = _patch(http, deployment, {"spec": {"strategy": strategy}}, STRATEGIC).json()
    assert changed["spec"]["strategy"] == {"type": "Recreate"}


def test_a_strategic_patch_keeps_the_order_it_is_told(http: httpx.Client, deployment: str) -> None:
    extra = {"name": "first", "image": "python:3.11-slim"}
    spec = {"$setElementOrder/containers": [{"name": "first"}, {"name": "app"}], "containers": [extra]}
    changed = _patch(http, deployment, {"spec": {"template": {"spec": spec}}}, STRATEGIC).json()
    assert [c["name"] for c in changed["spec"]["template"]["spec"]["containers"]] == ["first", "app"]


def test_taints_are_replaced_whole_also_by_a_strategic_patch(http: httpx.Client) -> None:
    node = http.get("/api/v1/nodes").json()["items"][-1]["metadata"]["name"]
    path = f"/api/v1/nodes/{node}"
    try:
        for key in ("test/one", "test/two"):
            taints = [{"key": key, "effect": "PreferNoSchedule"}]
            changed = _patch(http, path, {"spec": {"taints": taints}}, STRATEGIC).json()
            assert [taint["key"] for taint in changed["spec"]["taints"]] == [key]
    finally:
        _patch(http, path, {"spec": {"taints": None}}, MERGE)


def test_uncordoned_means_that_the_field_is_absent(http: httpx.Client) -> None:
    node = http.get("/api/v1/nodes").json()["items"][-1]["metadata"]["name"]
    path = f"/api/v1/nodes/{node}"
    cordon = [
        {"op": "test", "path": "/spec/unschedulable", "value": None},
        {"op": "add", "path": "/spec/unschedulable", "value": True},
    ]
    uncordon = [
        {"op": "test", "path": "/spec/unschedulable", "value": True},
        {"op": "replace", "path": "/spec/unschedulable", "value": False},
    ]
    assert _patch(http, path, cordon, JSON).json()["spec"]["unschedulable"] is True
    assert _patch(http, path, cordon, JSON).status_code == 422
    assert "unschedulable" not in _patch(http, path, uncordon, JSON).json()["spec"]
