"""Who owns which field: managedFields of updates, and server-side apply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.behaviour import manifests
from tests.behaviour.access import Access

Obj = dict[str, Any]
JSON_PATCH, MERGE = "application/json-patch+json", "application/merge-patch+json"


@pytest.fixture
def api(kubeconfig: Access, namespace: str) -> Iterator[httpx.Client]:
    with kubeconfig.http() as found:
        found.headers["User-Agent"] = "tester/1.0"
        yield found


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def deployments(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


def _patch(api: httpx.Client, path: str, body: Any, media: str = MERGE, **query: str) -> httpx.Response:
    return api.patch(path, content=json.dumps(body), headers={"Content-Type": media}, params=query)


def _apply(api: httpx.Client, path: str, manager: str, body: Obj, **query: str) -> httpx.Response:
    return _patch(api, path, body, "application/apply-patch+yaml", fieldManager=manager, **query)


def _config(data: dict[str, str], **metadata: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"} | metadata, "data": data}


def _owners(obj: Obj) -> dict[tuple[str, str, str], Obj]:
    found = obj["metadata"].get("managedFields", [])
    return {(e["manager"], e["operation"], e.get("subresource", "")): e["fieldsV1"] for e in found}


def test_whoever_creates_owns_everything_by_his_user_agent_or_field_manager(api: httpx.Client, maps: str) -> None:
    made = api.post(maps, json={"metadata": {"name": "c", "labels": {"l": "1"}}, "data": {"a": "1"}}).json()
    fields = {"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}}
    assert _owners(made) == {("tester", "Update", ""): fields}
    entry = made["metadata"]["managedFields"][0]
    assert entry["apiVersion"] == "v1" and entry["fieldsType"] == "FieldsV1" and entry["time"].endswith("Z")
    named = api.post(maps, json={"metadata": {"name": "d"}}, params={"fieldManager": "gold"}).json()
    assert list(_owners(named)) == [] or list(_owners(named)) == [("gold", "Update", "")]


def test_lists_with_keys_are_owned_by_element_and_others_whole(api: httpx.Client, deployments: str) -> None:
    made = api.post(deployments, json=manifests.deployment("d", 0, paused=True)).json()
    spec = _owners(made)["tester", "Update", ""]["f:spec"]
    assert spec["f:selector"] == {} and spec["f:strategy"]["f:rollingUpdate"] == {
        ".": {},
        "f:maxSurge": {},
        "f:maxUnavailable": {},
    }
    container = spec["f:template"]["f:spec"]["f:containers"]['k:{"name":"app"}']
    assert container["f:command"] == {} and "." in container
    assert container["f:ports"]['k:{"containerPort":8080,"protocol":"TCP"}'] == {
        ".": {},
        "f:containerPort": {},
        "f:name": {},
        "f:protocol": {},
    }
    assert container["f:env"]['k:{"name":"POD_IP"}']["f:valueFrom"] == {".": {}, "f:fieldRef": {}}


def test_a_change_takes_the_field_and_undoing_it_does_not_give_it_back(api: httpx.Client, maps: str) -> None:
    api.post(maps, json={"metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}})
    taken = _patch(
        api, f"{maps}/c", [{"op": "replace", "path": "/data/a", "value": "2"}], JSON_PATCH, fieldManager="gold"
    )
    assert _owners(taken.json()) == {
        ("tester", "Update", ""): {"f:data": {".": {}, "f:b": {}}},
        ("gold", "Update", ""): {"f:data": {"f:a": {}}},
    }
    back = _patch(api, f"{maps}/c", {"data": {"a": "1"}}, fieldManager="gold").json()
    assert _owners(back) == _owners(taken.json())


def test_an_entry_goes_when_all_its_fields_are_gone(api: httpx.Client, maps: str) -> None:
    api.post(maps, json={"metadata": {"name": "c"}, "data": {"a": "1"}})
    noted = _patch(api, f"{maps}/c", {"metadata": {"annotations": {"x": "y"}}}, fieldManager="gold").json()
    assert _owners(noted)["gold", "Update", ""] == {"f:metadata": {"f:annotations": {".": {}, "f:x": {}}}}
    gone = _patch(api, f"{maps}/c", {"metadata": {"annotations": {"x": None}}}, fieldManager="gold").json()
    assert ("gold", "Update", "") not in _owners(gone)


def test_a_change_of_nothing_changes_no_owner(api: httpx.Client, maps: str) -> None:
    made = api.post(maps, json={"metadata": {"name": "c"}, "data": {"a": "1"}}).json()
    same = _patch(api, f"{maps}/c", {"data": {"a": "1"}}, fieldManager="gold").json()
    assert same["metadata"] == made["metadata"]


def test_scale_and_status_have_entries_of_their_own(api: httpx.Client, deployments: str) -> None:
    api.post(deployments, json=manifests.deployment("d", 0, paused=True))
    _patch(api, f"{deployments}/d/scale", {"spec": {"replicas": 1}})
    _patch(api, f"{deployments}/d/status", {"status": {"collisionCount": 1}})
    owners = _owners(api.get(f"{deployments}/d").json())
    assert owners["tester", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owners["tester", "Update", ""]["f:spec"]
    assert owners["tester", "Update", "status"]["f:status"]["f:collisionCount"] == {}


def test_an_apply_creates_and_then_owns_what_it_named(api: httpx.Client, maps: str) -> None:
    made = _apply(api, f"{maps}/c", "gold", _config({"a": "1"}))
    assert made.status_code == 201 and _owners(made.json()) == {("gold", "Apply", ""): {"f:data": {"f:a": {}}}}
    again = _apply(api, f"{maps}/c", "gold", _config({"a": "1"}))
    assert again.status_code == 200 and again.json()["metadata"] == made.json()["metadata"]


def test_fields_no_longer_applied_go_unless_others_own_them(api: httpx.Client, maps: str) -> None:
    _apply(api, f"{maps}/c", "gold", _config({"a": "1", "b": "1", "c": "1"}, labels={"l": "1"}))
    _apply(api, f"{maps}/c", "silver", _config({"b": "1"}))
    left = _apply(api, f"{maps}/c", "gold", _config({"a": "1"})).json()
    assert left["data"] == {"a": "1", "b": "1"} and "labels" not in left["metadata"]
    assert _owners(left) == {
        ("gold", "Apply", ""): {"f:data": {"f:a": {}}},
        ("silver", "Apply", ""): {"f:data": {"f:b": {}}},
    }


def test_what_others_own_is_a_conflict_unless_forced(api: httpx.Client, maps: str) -> None:
    api.post(maps, json={"metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}})
    two = _apply(api, f"{maps}/c", "gold", _config({"a": "x", "b": "y"}))
    assert two.status_code == 409 and two.json()["reason"] == "Conflict"
    assert (
        two.json()["message"]
        == 'Apply failed with 2 conflicts: conflicts with "tester" using v1:\n- .data.a\n- .data.b'
    )
    one = _apply(api, f"{maps}/c", "gold", _config({"a": "x"})).json()
    assert one["message"] == 'Apply failed with 1 conflict: conflict with "tester" using v1: .data.a'
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "tester" using v1', "field": ".data.a"}
    assert one["details"] == {"causes": [cause]}
    forced = _apply(api, f"{maps}/c", "gold", _config({"a": "x"}), force="true").json()
    assert forced["data"] == {"a": "x", "b": "2"}
    assert _owners(forced) == {
        ("gold", "Apply", ""): {"f:data": {"f:a": {}}},
        ("tester", "Update", ""): {"f:data": {".": {}, "f:b": {}}},
    }


def test_equal_values_are_shared_and_not_fought_over(api: httpx.Client, maps: str) -> None:
    api.post(maps, json={"metadata": {"name": "c"}, "data": {"a": "1"}})
    shared = _apply(api, f"{maps}/c", "gold", _config({"a": "1"}))
    assert shared.status_code == 200 and len(_owners(shared.json())) == 2


def test_elements_of_lists_are_merged_and_taken_out_by_key(api: httpx.Client, deployments: str) -> None:
    base = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    first = manifests.deployment("d", 0, paused=True)
    spec = first["spec"]["template"]["spec"]
    spec["containers"].append({"name": "side", "image": "python:3.11-slim"})
    spec["containers"][0]["livenessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 3}
    assert _apply(api, f"{deployments}/d", "gold", base | {"spec": first["spec"]}).status_code == 201
    _patch(
        api,
        f"{deployments}/d",
        {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": [{"name": "MINE", "value": "1"}]}]}}}},
        "application/strategic-merge-patch+json",
    )
    second = manifests.deployment("d", 0, paused=True)
    found = _apply(api, f"{deployments}/d", "gold", base | {"spec": second["spec"]}).json()
    containers = found["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["app"] and "livenessProbe" not in containers[0]
    assert {variable["name"] for variable in containers[0]["env"]} == {"POD_IP", "MINE"}


def test_a_dry_run_shows_owners_and_stores_none(api: httpx.Client, maps: str) -> None:
    imagined = _apply(api, f"{maps}/c", "gold", _config({"a": "1"}), dryRun="All")
    assert imagined.status_code == 201 and ("gold", "Apply", "") in _owners(imagined.json())
    assert api.get(f"{maps}/c").status_code == 404
    made = api.post(maps, json={"metadata": {"name": "c"}, "data": {"b": "1"}}).json()
    changed = _patch(api, f"{maps}/c", {"data": {"a": "1"}}, fieldManager="gold", dryRun="All").json()
    assert _owners(changed)["gold", "Update", ""] == {"f:data": {"f:a": {}}}
    assert changed["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_managed_fields_can_be_rewritten_and_reset(api: httpx.Client, maps: str) -> None:
    made = api.post(maps, json={"metadata": {"name": "c"}, "data": {"a": "1"}}).json()
    entries = made["metadata"]["managedFields"]
    entries[0] |= {"manager": "other", "operation": "Apply"}
    renamed = _patch(
        api, f"{maps}/c", [{"op": "replace", "path": "/metadata/managedFields", "value": entries}], JSON_PATCH
    )
    assert list(_owners(renamed.json())) == [("other", "Apply", "")]
    reset = _patch(api, f"{maps}/c", {"metadata": {"managedFields": [{}]}}).json()
    assert _owners(reset) == {}


def test_an_object_without_owners_stays_so_until_the_first_apply(api: httpx.Client, maps: str) -> None:
    api.post(maps, json={"metadata": {"name": "c"}})
    assert _owners(_patch(api, f"{maps}/c", {"data": {"a": "1"}}, fieldManager="gold").json()) == {}
    applied = _apply(api, f"{maps}/c", "silver", _config({"b": "2"})).json()
    assert _owners(applied) == {
        ("silver", "Apply", ""): {"f:data": {"f:b": {}}},
        ("before-first-apply", "Update", ""): {"f:data": {".": {}, "f:a": {}}},
    }


def test_an_apply_says_what_it_lacks(api: httpx.Client, maps: str) -> None:
    unnamed = _patch(api, f"{maps}/c", _config({}), "application/apply-patch+yaml")
    assert unnamed.status_code == 422 and "is required for apply patch" in unnamed.json()["message"]
    with_owners = _apply(api, f"{maps}/c", "gold", _config({}, managedFields=[{"manager": "x"}]))
    assert with_owners.status_code == 400 and with_owners.json()["message"] == "metadata.managedFields must be nil"
    assert (
        _apply(api, f"{maps}/c", "gold", {"metadata": {"name": "c"}}).json()["message"]
        == "invalid object type: /, Kind="
    )
    unknown = _apply(api, f"{maps}/c", "gold", _config({}) | {"foo": {"a": "x"}})
    assert unknown.status_code == 500 and unknown.json()["message"].endswith(".foo: field not declared in schema")
    api.post(maps, json={"metadata": {"name": "c"}})
    forced = _patch(api, f"{maps}/c", {}, force="true")
    assert forced.status_code == 422 and "may not be specified for non-apply patch" in forced.json()["message"]
