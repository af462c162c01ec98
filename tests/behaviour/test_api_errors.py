"""Refusals: their codes, reasons and texts, and what is outside the sandbox."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.behaviour import manifests
from tests.behaviour.access import Access, eventually


@pytest.fixture
def http(kubeconfig: Access) -> Iterator[httpx.Client]:
    with kubeconfig.http() as found:
        yield found


@pytest.fixture
def stranger(kubeconfig: Access) -> Iterator[httpx.Client]:
    with kubeconfig.http(anonymous=True) as found:
        yield found


@pytest.fixture
def sandbox_only(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--chaos-context") is not None:
        pytest.skip("is true of the sandbox only")


def test_an_absent_object_is_named_with_its_group(http: httpx.Client, namespace: str) -> None:
    answer = http.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/nope")
    assert answer.status_code == 404
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "nope" not found',
        "reason": "NotFound",
        "details": {"name": "nope", "group": "apps", "kind": "deployments"},
        "code": 404,
    }


def test_a_name_taken_twice_is_a_conflict(http: httpx.Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    http.post(path, json={"metadata": {"name": "c"}})
    answer = http.post(path, json={"metadata": {"name": "c"}})
    assert answer.status_code == 409 and answer.json()["reason"] == "AlreadyExists"
    assert answer.json()["message"] == 'configmaps "c" already exists'


def test_a_namespace_that_does_not_exist_takes_nothing(http: httpx.Client) -> None:
    answer = http.post("/api/v1/namespaces/nowhere-at-all/configmaps", json={"metadata": {"name": "c"}})
    assert answer.status_code == 404 and answer.json()["message"] == 'namespaces "nowhere-at-all" not found'


def _invalid_deployments() -> list[tuple[str, Any]]:
    found = []
    for field, change in (
        ("spec.replicas", {"replicas": -1}),
        ("spec.selector", {"selector": None}),
        ("spec.template.metadata.labels", {"selector": {"matchLabels": {"app": "other"}}}),
        ("spec.strategy", {"strategy": {"type": "Sideways"}}),
    ):
        manifest = manifests.deployment("d")
        manifest["spec"] |= change
        found.append((field, manifest))
    return found


@pytest.mark.parametrize(("field", "manifest"), _invalid_deployments())
def test_an_invalid_deployment_is_refused_by_field(
    http: httpx.Client, namespace: str, field: str, manifest: Any
) -> None:
    answer = http.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", json=manifest)
    assert answer.status_code == 422 and answer.json()["reason"] == "Invalid"
    assert field in [cause["field"] for cause in answer.json()["details"]["causes"]]
    assert answer.json()["message"].startswith('Deployment.apps "d" is invalid: ')


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("spec.containers[0].image", {"container": {"image": ""}}),
        (
            "spec.containers[0].volumeMounts[0].name",
            {"container": {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}},
        ),
        ("spec.containers[0].livenessProbe", {"container": {"livenessProbe": {"periodSeconds": 1}}}),
        ("spec.containers[0].ports[0].containerPort", {"container": {"ports": [{"containerPort": 70000}]}}),
        ("spec.restartPolicy", {"restartPolicy": "Sometimes"}),
        ("spec.activeDeadlineSeconds", {"activeDeadlineSeconds": -1}),
    ],
)
def test_an_invalid_pod_is_refused_by_field(http: httpx.Client, namespace: str, field: str, spec: Any) -> None:
    answer = http.post(f"/api/v1/namespaces/{namespace}/pods", json=manifests.pod("p", **spec))
    assert answer.status_code == 422
    assert field in [cause["field"] for cause in answer.json()["details"]["causes"]]


def test_a_negative_grace_period_means_one_second(http: httpx.Client, namespace: str) -> None:
    made = http.post(f"/api/v1/namespaces/{namespace}/pods", json=manifests.pod("p", terminationGracePeriodSeconds=-1))
    assert made.status_code == 201 and made.json()["spec"]["terminationGracePeriodSeconds"] == 1
    manifest = manifests.deployment("d", 0)
    manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = -1
    kept = http.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", json=manifest).json()
    assert kept["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == -1


def test_most_of_a_pods_spec_is_immutable_and_its_image_is_not(http: httpx.Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    http.post(path, json=manifests.pod("p"))
    media = {"Content-Type": "application/strategic-merge-patch+json"}
    refused = http.patch(f"{path}/p", json={"spec": {"restartPolicy": "Never"}}, headers=media)
    assert refused.status_code == 422 and "pod updates may not change fields other than" in refused.json()["message"]
    image = {"spec": {"containers": [{"name": "app", "image": "python:3.12-slim"}]}}
    assert http.patch(f"{path}/p", json=image, headers=media).status_code == 200


def test_a_deployments_selector_is_immutable(http: httpx.Client, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    made = http.post(path, json=manifests.deployment("d", 0)).json()
    labels = {"app": "e"}
    made["spec"]["selector"] = {"matchLabels": labels}
    made["spec"]["template"]["metadata"]["labels"] = labels
    del made["metadata"]["resourceVersion"]
    answer = http.put(f"{path}/d", json=made)
    assert answer.status_code == 422 and "field is immutable" in answer.json()["message"]


def test_a_field_of_the_wrong_type_is_a_bad_request(http: httpx.Client, namespace: str) -> None:
    manifest = manifests.deployment("d")
    manifest["spec"]["replicas"] = "three"
    answer = http.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", json=manifest)
    assert answer.status_code == 400 and "cannot unmarshal string into Go struct field" in answer.json()["message"]


def test_an_unknown_field_is_refused_when_strict_and_warned_of_otherwise(http: httpx.Client, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    manifest = manifests.deployment("d", 0, replica=3)
    strict = http.post(path, json=manifest, params={"fieldValidation": "Strict"})
    assert strict.status_code == 400 and 'unknown field "spec.replica"' in strict.json()["message"]
    warned = http.post(path, json=manifest)
    assert warned.status_code == 201 and "replica" not in warned.json()["spec"]
    assert 'unknown field \\"spec.replica\\"' in warned.headers["Warning"]


def test_a_body_that_is_not_json_is_a_bad_request(http: httpx.Client, namespace: str) -> None:
    answer = http.post(
        f"/api/v1/namespaces/{namespace}/pods", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400 and answer.json()["reason"] == "BadRequest"


def test_another_kind_than_the_paths_is_a_bad_request(http: httpx.Client, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}}
    assert http.post(f"/api/v1/namespaces/{namespace}/configmaps", json=body).status_code == 400


def test_yaml_is_read_too(http: httpx.Client, namespace: str) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: written-as-yaml}\ndata: {since: '2026-01-01'}\n"
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    answer = http.post(path, content=text, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 201 and answer.json()["data"] == {"since": "2026-01-01"}


def test_a_wrong_token_is_unauthorized_and_none_is_anonymous(stranger: httpx.Client) -> None:
    wrong = stranger.get("/api/v1/pods", headers={"Authorization": "Bearer wrong"})
    assert wrong.status_code == 401 and wrong.json()["message"] == "Unauthorized"
    nobody = stranger.get("/api/v1/pods")
    assert nobody.status_code == 403 and "system:anonymous" in nobody.json()["message"]


def test_health_and_version_need_no_token(stranger: httpx.Client) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert stranger.get(path).text == "ok"
    assert stranger.get("/version").json()["major"] == "1" and stranger.get("/version/").json()["major"] == "1"


def test_an_unsupported_selector_is_a_bad_request(http: httpx.Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    answer = http.get(path, params={"fieldSelector": "spec.shoeSize=43"})
    assert answer.status_code == 400 and "field label not supported: spec.shoeSize" in answer.json()["message"]
    assert http.get(path, params={"labelSelector": "a in b"}).status_code == 400


def test_a_request_timeout_is_accepted_and_nonsense_is_not(http: httpx.Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    assert http.get(path, params={"timeout": "3s"}).status_code == 200
    assert http.get(path, params={"timeout": "soon"}).status_code == 400


@pytest.mark.usefixtures("sandbox_only")
@pytest.mark.parametrize(
    "path",
    [
        "/apis/batch/v1/namespaces/default/cronjobs",
        "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
        "/api/v1/namespaces/default/services/web/proxy/",
        "/api/v1/persistentvolumes",
    ],
)
def test_what_is_left_out_says_so_with_501(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 501 and answer.json()["reason"] == "NotImplemented"


def test_a_path_no_cluster_has_is_404(http: httpx.Client) -> None:
    assert http.get("/apis/metrics.k8s.io/v1beta1/pods").status_code == 404
    assert http.get("/nonsense").status_code == 404


@pytest.mark.usefixtures("sandbox_only")
def test_host_networking_is_refused(http: httpx.Client, namespace: str) -> None:
    answer = http.post(f"/api/v1/namespaces/{namespace}/pods", json=manifests.pod("p", hostNetwork=True))
    assert answer.status_code == 422 and "spec.hostNetwork" in answer.json()["message"]


@pytest.mark.usefixtures("sandbox_only")
def test_a_field_that_is_not_acted_on_is_warned_of(http: httpx.Client, namespace: str) -> None:
    answer = http.post(f"/api/v1/namespaces/{namespace}/pods", json=manifests.pod("p", shareProcessNamespace=True))
    assert answer.status_code == 201 and "spec.shareProcessNamespace" in answer.headers["Warning"]


@pytest.mark.usefixtures("sandbox_only")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may bind every port")
def test_a_port_this_user_may_not_bind_is_warned_of(http: httpx.Client, namespace: str) -> None:
    manifest = manifests.service("web")
    manifest["spec"]["ports"][0]["port"] = 80
    answer = http.post(f"/api/v1/namespaces/{namespace}/services", json=manifest)
    assert answer.status_code == 201 and "may not bind port 80" in answer.headers["Warning"]


def test_a_node_port_is_given_once(http: httpx.Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    first = http.post(path, json=manifests.service("a", type="NodePort")).json()
    manifest = manifests.service("b", type="NodePort")
    manifest["spec"]["ports"][0]["nodePort"] = first["spec"]["ports"][0]["nodePort"]
    answer = http.post(path, json=manifest)
    assert answer.status_code == 422 and "provided port is already allocated" in answer.json()["message"]


def test_the_empty_selector_of_a_merge_patch_changes_nothing(http: httpx.Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    http.post(path, json=manifests.service("a"))
    media = {"Content-Type": "application/merge-patch+json"}
    kept = http.patch(f"{path}/a", json={"spec": {"selector": {}}}, headers=media).json()
    assert kept["spec"]["selector"] == {"app": "a"}
    gone = http.patch(f"{path}/a", json={"spec": {"selector": None}}, headers=media).json()
    assert "selector" not in gone["spec"]


@pytest.mark.usefixtures("sandbox_only")  # a real server may drop a request whose caller is gone
def test_a_request_lands_although_its_caller_hung_up(http: httpx.Client, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for number in range(10):
        with contextlib.suppress(httpx.ReadTimeout):
            impatient = httpx.Timeout(5.0, read=0.0001)
            http.post(path, json={"metadata": {"name": f"c{number}"}}, timeout=impatient)
    wanted = {f"c{number}" for number in range(10)}
    eventually(lambda: wanted <= {each["metadata"]["name"] for each in http.get(path).json()["items"]})
