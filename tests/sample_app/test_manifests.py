"""The manifests of the sample application: what any cluster would say about them, without one."""

from __future__ import annotations

import importlib.util
import inspect
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import kubernetes.client
import pytest
import yaml

APP = Path(__file__).resolve().parents[2] / "sample-app"
SETS = ("sturdy", "fragile")
MODELS = {"ConfigMap": "V1ConfigMap", "Service": "V1Service", "Deployment": "V1Deployment"}


def load(name: str) -> list[dict[str, Any]]:
    """The objects of one set, in the order in which the names of their files sort."""
    files = sorted((APP / "manifests" / name).iterdir())
    return [obj for file in files for obj in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def pod_spec(name: str, deployment: str) -> dict[str, Any]:
    found = [obj for obj in load(name) if obj["kind"] == "Deployment" and obj["metadata"]["name"] == deployment]
    spec: dict[str, Any] = found[0]["spec"]["template"]["spec"]
    return spec


def container(name: str, deployment: str) -> dict[str, Any]:
    only: dict[str, Any]
    (only,) = pod_spec(name, deployment)["containers"]
    return only


def as_model(client: Any, obj: dict[str, Any]) -> Any:
    """The object as the typed model of its kind, read as if it had come from an API server."""
    text, model = json.dumps(obj), MODELS[obj["kind"]]
    if "content_type" in inspect.signature(client.deserialize).parameters:
        return client.deserialize(text, model, "application/json")
    return client.deserialize(SimpleNamespace(data=text), model)  # the official client before version 37


def embed() -> ModuleType:
    spec = importlib.util.spec_from_file_location("embed", APP / "embed.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SETS)
def test_the_config_map_carries_service_py_to_the_letter(name: str) -> None:
    source = (APP / "service.py").read_text(encoding="utf-8")
    assert load(name)[0]["data"] == {"service.py": source}, "run: python sample-app/embed.py"


def test_the_config_maps_are_what_embed_writes_today() -> None:
    module = embed()
    expected = module.render((APP / "service.py").read_text(encoding="utf-8"))
    assert [path.parent.name for path in module.TARGETS] == list(SETS)
    assert [path.read_text(encoding="utf-8") for path in module.TARGETS] == [expected] * 2


@pytest.mark.parametrize("name", SETS)
def test_config_map_and_services_come_before_the_workloads_that_need_them(name: str) -> None:
    assert [obj["kind"] for obj in load(name)] == ["ConfigMap", "Service", "Service", "Deployment", "Deployment"]


@pytest.mark.parametrize("name", SETS)
def test_no_manifest_names_a_namespace(name: str) -> None:
    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    assert all("namespace" not in keys(obj) for obj in load(name))


@pytest.mark.parametrize("name", SETS)
def test_the_official_client_reads_each_object_and_loses_nothing(name: str) -> None:
    client: Any = kubernetes.client.ApiClient()
    for obj in load(name):
        assert client.sanitize_for_serialization(as_model(client, obj)) == obj


def test_the_official_client_would_have_noticed_a_wrong_manifest() -> None:
    service = next(obj for obj in load("sturdy") if obj["kind"] == "Service")
    service["spec"]["ports"] = [{"name": "http"}]
    with pytest.raises(ValueError, match="port"):
        as_model(kubernetes.client.ApiClient(), service)


@pytest.mark.parametrize("name", SETS)
def test_each_service_finds_the_pods_of_its_deployment_at_a_named_port(name: str) -> None:
    objects = load(name)
    services = {obj["metadata"]["name"]: obj["spec"] for obj in objects if obj["kind"] == "Service"}
    deployments = {obj["metadata"]["name"]: obj["spec"] for obj in objects if obj["kind"] == "Deployment"}
    assert services.keys() == deployments.keys() == {"checkout", "storefront"}
    for app, service in services.items():
        labels = deployments[app]["template"]["metadata"]["labels"]
        assert service["selector"].items() <= labels.items()
        assert deployments[app]["selector"]["matchLabels"].items() <= labels.items()
        assert service["type"] == "NodePort"
        assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(8080, "http")]
        assert {"name": "http", "containerPort": 8080} in container(name, app)["ports"]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("app", ["checkout", "storefront"])
def test_each_pod_binds_its_own_address_and_says_where_its_switches_are(name: str, app: str) -> None:
    (deployment,) = [obj for obj in load(name) if obj["kind"] == "Deployment" and obj["metadata"]["name"] == app]
    template = deployment["spec"]["template"]
    assert template["metadata"]["annotations"] == {"chaoskit.dev/switch-port": "9090"}
    assert "app.kubernetes.io/version" in template["metadata"]["labels"]
    assert "app.kubernetes.io/version" not in deployment["spec"]["selector"]["matchLabels"], "a canary has another one"
    assert container(name, app)["args"] == [app, "--host", "$(POD_IP)"]
    fields = {
        e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in container(name, app)["env"] if "valueFrom" in e
    }
    assert fields == {
        "POD_IP": "status.podIP",
        "POD_NAME": "metadata.name",
        "NODE_NAME": "spec.nodeName",
        "APP_VERSION": "metadata.labels['app.kubernetes.io/version']",
    }


@pytest.mark.parametrize("app", ["checkout", "storefront"])
def test_sturdy_has_what_fragile_lacks(app: str) -> None:
    sturdy, fragile = container("sturdy", app), container("fragile", app)
    assert sturdy["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert sturdy["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert "lifecycle" in sturdy and "lifecycle" not in fragile
    assert "topologySpreadConstraints" in pod_spec("sturdy", app)
    assert "topologySpreadConstraints" not in pod_spec("fragile", app)
    assert "tcpSocket" in fragile["livenessProbe"]
    assert "startupProbe" not in fragile, "it would keep the pod unready until it listens"


def test_fragile_checkout_has_no_readiness_probe_and_storefront_one_that_checks_nothing() -> None:
    assert "readinessProbe" not in container("fragile", "checkout")
    assert "tcpSocket" in container("fragile", "storefront")["readinessProbe"]


@pytest.mark.parametrize("name", SETS)
def test_no_pod_is_killed_by_its_liveness_probe_before_it_listens(name: str) -> None:
    for app in ("checkout", "storefront"):
        spec = container(name, app)
        delay_s = max((float(e["value"]) for e in spec["env"] if e["name"] == "STARTUP_DELAY_S"), default=0.0)
        startup = spec.get("startupProbe", {"periodSeconds": 0, "failureThreshold": 0})
        patience_s = spec["livenessProbe"].get("initialDelaySeconds", 0)
        patience_s += startup["periodSeconds"] * startup["failureThreshold"]
        assert patience_s >= delay_s + 5
