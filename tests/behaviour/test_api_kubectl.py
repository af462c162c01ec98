"""kubectl's everyday verbs against the API; skipped where there is no kubectl."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.behaviour import manifests
from tests.behaviour.access import Access, eventually

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on PATH")

Kubectl = Callable[..., str]


@pytest.fixture
def kubectl(kubeconfig: Access, namespace: str, tmp_path: Path) -> Kubectl:
    """Run kubectl in the test's namespace; answers its output, raises when it fails."""

    def run(*words: str, stdin: str = "", code: int = 0) -> str:
        base = ["kubectl", "--kubeconfig", str(kubeconfig.path), "--context", kubeconfig.context, "-n", namespace]
        done = subprocess.run(
            [*base, "--cache-dir", str(tmp_path), *words], input=stdin, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, f"kubectl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def applied(kubectl: Kubectl) -> str:
    """The YAML of a Deployment and a Service, applied and rolled out."""
    documents: list[Any] = [
        {"apiVersion": "apps/v1", "kind": "Deployment"} | manifests.deployment("web"),
        {"apiVersion": "v1", "kind": "Service"} | manifests.service("web"),
    ]
    text = yaml.safe_dump_all(documents)
    assert kubectl("apply", "-f", "-", stdin=text).splitlines() == [
        "deployment.apps/web created",
        "service/web created",
    ]
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    return text


def test_applying_twice_changes_nothing(kubectl: Kubectl, applied: str) -> None:
    assert kubectl("apply", "-f", "-", stdin=applied).splitlines() == [
        "deployment.apps/web unchanged",
        "service/web unchanged",
    ]
    assert kubectl("diff", "-f", "-", stdin=applied) == ""


def test_get_prints_yaml_and_a_table(kubectl: Kubectl, applied: str) -> None:
    found = yaml.safe_load(kubectl("get", "deployment", "web", "-o", "yaml"))
    assert found["kind"] == "Deployment" and found["status"]["readyReplicas"] == 2
    head, *rows = kubectl("get", "pods").splitlines()
    assert head.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [row.split()[1:4] for row in rows] == [["1/1", "Running", "0"]] * 2
    assert "web" in kubectl("get", "all", "-o", "wide")


def test_get_w_shows_what_happens(kubeconfig: Access, namespace: str, kubectl: Kubectl, applied: str) -> None:
    words = ["kubectl", "--kubeconfig", str(kubeconfig.path), "--context", kubeconfig.context, "-n", namespace]
    with subprocess.Popen(
        [*words, "get", "pods", "-w", "--output-watch-events", "-o", "json"], stdout=subprocess.PIPE, text=True
    ) as watching:
        try:
            events = _documents(watching)
            first = next(events)
            assert first["type"] == "ADDED"
            kubectl("delete", "pod", first["object"]["metadata"]["name"], "--wait=false")
            kinds = {"ADDED"}
            for event in events:
                kinds.add(event["type"])
                if event["type"] == "DELETED":
                    break
            assert kinds == {"ADDED", "MODIFIED", "DELETED"}
        finally:
            watching.kill()


def _documents(process: subprocess.Popen[str]) -> Iterator[Any]:
    """JSON documents as they come."""
    assert process.stdout is not None
    decoder, text = json.JSONDecoder(), ""
    for line in process.stdout:
        text += line
        try:
            found, _ = decoder.raw_decode(text)
        except ValueError:
            continue
        text = ""
        yield found


def test_scale_restart_and_undo(kubectl: Kubectl, applied: str) -> None:
    kubectl("scale", "deployment/web", "--replicas=3")
    kubectl("rollout", "restart", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}") == "3"
    kubectl("set", "image", "deployment/web", "app=python:3.12-slim")
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert kubectl("get", "deployment", "web", "-o", image) == "python:3.11-slim"


def test_labels_annotations_and_patches(kubectl: Kubectl, applied: str) -> None:
    kubectl("label", "deployment", "web", "tier=front")
    kubectl("annotate", "deployment", "web", "note=1")
    kubectl("patch", "deployment", "web", "-p", '{"spec":{"revisionHistoryLimit":4}}')
    found = json.loads(kubectl("get", "deployment", "web", "-o", "json"))
    assert found["metadata"]["labels"]["tier"] == "front" and found["metadata"]["annotations"]["note"] == "1"
    assert found["spec"]["revisionHistoryLimit"] == 4


def test_logs_and_exec(kubectl: Kubectl, applied: str) -> None:
    eventually(lambda: kubectl("logs", "deployment/web") == "up\n")
    assert kubectl("exec", "deployment/web", "--", "python", "-c", "print(1)") == "1\n"
    assert kubectl("exec", "-i", "deployment/web", "--", "python", "-c", "print(input())", stdin="hello\n") == "hello\n"
    kubectl("exec", "deployment/web", "--", "python", "-c", "raise SystemExit(3)", code=3)


def test_describe_tells_of_events(kubectl: Kubectl, applied: str) -> None:
    told = kubectl("describe", "deployment", "web")
    assert "ScalingReplicaSet" in told and "2 available" in told
    assert "Stopping container" not in kubectl("describe", "pods")


def test_wait_and_delete(kubectl: Kubectl, applied: str) -> None:
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=20s")
    kubectl("delete", "-f", "-", "--timeout=30s", stdin=applied)
    eventually(lambda: kubectl("get", "pods", "-o", "name") == "")


def test_create_makes_the_everyday_kinds(kubectl: Kubectl) -> None:
    """Newer kubectl sends these as protobuf."""
    kubectl("create", "configmap", "c", "--from-literal=key=value")
    kubectl("create", "secret", "generic", "s", "--from-literal=password=hush")
    kubectl("create", "serviceaccount", "robot")
    words = ("--image=python:3.11-slim", "--replicas=0", "--port=8080", "--", "python", "-c", "pass")
    kubectl("create", "deployment", "web", *words)
    kubectl("create", "service", "nodeport", "web", "--tcp=80:8080")
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data.key}") == "value"
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.password}") == "aHVzaA=="
    found = json.loads(kubectl("get", "deployment", "web", "-o", "json"))["spec"]
    assert found["replicas"] == 0 and found["template"]["spec"]["containers"][0]["command"] == ["python", "-c", "pass"]
    ports = json.loads(kubectl("get", "service", "web", "-o", "json"))["spec"]["ports"]
    assert ports[0]["targetPort"] == 8080 and ports[0]["nodePort"] >= 30000
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"


def test_a_refused_object_says_why(kubectl: Kubectl) -> None:
    broken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "Bad_Name"}, "spec": {"ports": [{"port": 1}]}}
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(broken), code=1)


def test_api_resources_lists_short_names(kubectl: Kubectl) -> None:
    listed = kubectl("api-resources")
    assert "deploy" in listed and "svc" in listed
