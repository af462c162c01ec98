"""Pods through the API: deletion with grace, eviction, logs, commands, and requests through the API server."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from kubernetes import client
from kubernetes.stream import stream

from tests.behaviour import manifests
from tests.behaviour.access import Access, eventually


@pytest.fixture
def core(kubeconfig: Access) -> Iterator[Any]:
    with kubeconfig.api_client() as api:
        yield client.CoreV1Api(api)


@pytest.fixture
def http(kubeconfig: Access) -> Iterator[httpx.Client]:
    with kubeconfig.http() as found:
        yield found


def _running(core: Any, namespace: str, name: str = "p", script: str = manifests.PAUSE, **more: Any) -> Any:
    """A pod whose container has started, and said so."""
    core.create_namespaced_pod(namespace, manifests.pod(name, script, **more))

    def look() -> Any:
        pod = core.read_namespaced_pod(name, namespace)
        return pod if pod.status.phase == "Running" and core.read_namespaced_pod_log(name, namespace) else None

    return eventually(look, what=f"pod {name} is running")


def test_defaults_are_those_of_the_documentation(core: Any, namespace: str) -> None:
    pod = core.create_namespaced_pod(
        namespace, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "python:3.11-slim"}]}}
    )
    assert (pod.spec.restart_policy, pod.spec.termination_grace_period_seconds) == ("Always", 30)
    assert (pod.spec.service_account_name, pod.spec.dns_policy) == ("default", "ClusterFirst")
    assert pod.spec.containers[0].image_pull_policy == "IfNotPresent"
    tolerated = {t.key: t.toleration_seconds for t in pod.spec.tolerations}
    assert set(tolerated) == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    assert (pod.status.phase, pod.status.qos_class) == ("Pending", "BestEffort")


def test_a_graceful_delete_marks_first_and_removes_later(core: Any, http: httpx.Client, namespace: str) -> None:
    pod = _running(core, namespace)
    path = f"/api/v1/namespaces/{namespace}/pods"
    params = {"watch": "true", "resourceVersion": pod.metadata.resource_version, "timeoutSeconds": "8"}
    answer = http.delete(f"{path}/p").json()
    assert answer["kind"] == "Pod" and answer["metadata"]["deletionGracePeriodSeconds"] == 3
    seen = []
    with http.stream("GET", path, params=params) as lines:
        for line in lines.iter_lines():
            seen.append(json.loads(line))
            if seen[-1]["type"] == "DELETED":
                break
    graces = [event["object"]["metadata"].get("deletionGracePeriodSeconds") for event in seen]
    assert graces[-2:] == [0, 0] and 3 in graces
    assert seen[-1]["object"]["status"]["phase"] == "Succeeded"


def test_a_second_delete_may_shorten_the_grace_and_not_lengthen_it(
    core: Any, http: httpx.Client, namespace: str
) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, lambda *_: None); print('up', flush=True)\nwhile True: signal.pause()"
    _running(core, namespace, script=stubborn, terminationGracePeriodSeconds=30)
    path = f"/api/v1/namespaces/{namespace}/pods/p"

    def delete(grace: int) -> int:
        answer = http.request("DELETE", path, json={"gracePeriodSeconds": grace})
        return int(answer.json()["metadata"]["deletionGracePeriodSeconds"])

    assert [delete(20), delete(25), delete(10)] == [20, 20, 10]
    assert delete(0) == 0
    assert http.get(path).status_code == 404


def test_deleting_with_no_grace_shows_modified_and_deleted(core: Any, http: httpx.Client, namespace: str) -> None:
    pod = _running(core, namespace)
    http.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/p", json={"gracePeriodSeconds": 0})
    params = {"watch": "true", "resourceVersion": pod.metadata.resource_version, "timeoutSeconds": "1"}
    lines = http.get(f"/api/v1/namespaces/{namespace}/pods", params=params).text.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events][-2:] == ["MODIFIED", "DELETED"]
    assert events[-2]["object"]["metadata"]["deletionGracePeriodSeconds"] == 0


def test_a_delete_meant_for_another_object_is_a_conflict(core: Any, http: httpx.Client, namespace: str) -> None:
    made = core.create_namespaced_pod(namespace, manifests.pod("p"))
    path = f"/api/v1/namespaces/{namespace}/pods/p"
    stale = "11111111-1111-1111-1111-111111111111"
    answer = http.request("DELETE", path, json={"preconditions": {"uid": stale}})
    assert answer.status_code == 409 and answer.json()["details"] == {"name": "p", "kind": "Pod"}
    assert answer.json()["message"] == (
        f'Operation cannot be fulfilled on Pod "p": the UID in the precondition ({stale}) does not match the UID in '
        f"record ({made.metadata.uid}). The object might have been deleted and then recreated"
    )
    answer = http.request("DELETE", path, json={"preconditions": {"uid": made.metadata.uid}})
    assert answer.status_code == 200


def test_an_eviction_marks_the_disruption_and_deletes(core: Any, http: httpx.Client, namespace: str) -> None:
    pod = _running(core, namespace)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/p/eviction"
    tried = http.post(path, json=eviction, params={"dryRun": "All"})
    assert tried.status_code == 201 and core.read_namespaced_pod("p", namespace).metadata.deletion_timestamp is None
    answer = http.post(path, json=eviction)
    assert answer.status_code == 201
    assert answer.json() == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    params = {"watch": "true", "resourceVersion": pod.metadata.resource_version, "timeoutSeconds": "1"}
    lines = http.get(f"/api/v1/namespaces/{namespace}/pods", params=params).text.splitlines()
    first, second = (json.loads(line)["object"] for line in lines[:2])
    marks = {c["type"]: c.get("reason") for c in first["status"]["conditions"]}
    assert marks["DisruptionTarget"] == "EvictionByEvictionAPI" and "deletionTimestamp" not in first["metadata"]
    assert "deletionTimestamp" in second["metadata"]


def test_evicting_an_absent_pod_is_404_and_another_uid_is_409(core: Any, http: httpx.Client, namespace: str) -> None:
    eviction: dict[str, Any] = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    path = f"/api/v1/namespaces/{namespace}/pods/p/eviction"
    assert http.post(path, json=eviction).json()["message"] == 'pods "p" not found'
    core.create_namespaced_pod(namespace, manifests.pod("p"))
    eviction["deleteOptions"] = {"preconditions": {"uid": "11111111-1111-1111-1111-111111111111"}}
    assert http.post(path, json=eviction).status_code == 409


def test_logs_can_be_cut_and_stamped(core: Any, namespace: str) -> None:
    script = "print('one'); print('two'); print('three', flush=True); import signal; signal.pause()"
    core.create_namespaced_pod(namespace, manifests.pod("p", script))
    eventually(lambda: _log(core, namespace).endswith("three\n"))
    assert _log(core, namespace) == "one\ntwo\nthree\n"
    assert _log(core, namespace, tail_lines=1) == "three\n"
    assert _log(core, namespace, limit_bytes=5) == "one\nt"
    stamped = _log(core, namespace, timestamps=True).splitlines()
    assert all(line[:4].isdigit() and "T" in line.split(" ")[0] for line in stamped)


def _log(core: Any, namespace: str, **options: Any) -> str:
    try:
        return str(core.read_namespaced_pod_log("p", namespace, **options))
    except client.ApiException as refusal:
        assert refusal.status == 400, refusal
        return ""


def test_a_followed_log_ends_with_its_container(core: Any, http: httpx.Client, namespace: str) -> None:
    script = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(0))); print('up', flush=True); signal.pause()"
    _running(core, namespace, script=script, restartPolicy="Never")
    got: list[str] = []

    def follow() -> None:
        with http.stream("GET", f"/api/v1/namespaces/{namespace}/pods/p/log", params={"follow": "true"}) as lines:
            got.extend(lines.iter_lines())

    follower = threading.Thread(target=follow)
    follower.start()
    eventually(lambda: got == ["up"])
    core.delete_namespaced_pod("p", namespace)
    follower.join(10)
    assert got == ["up", "bye"]


def test_the_log_of_a_container_that_does_not_exist_is_a_bad_request(core: Any, namespace: str) -> None:
    core.create_namespaced_pod(namespace, manifests.pod("p"))
    with pytest.raises(client.ApiException) as refusal:
        core.read_namespaced_pod_log("p", namespace, container="nope")
    assert refusal.value.status == 400 and "container nope is not valid for pod p" in str(refusal.value.body)


def test_a_command_in_a_container_gives_output_and_exit_code(core: Any, namespace: str) -> None:
    _running(core, namespace)
    call = {"stdout": True, "stderr": True, "stdin": False, "tty": False, "_preload_content": False}
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    shell = stream(core.connect_get_namespaced_pod_exec, "p", namespace, command=["python", "-c", script], **call)
    shell.run_forever(timeout=10)
    assert (shell.read_stdout(), shell.read_stderr(), shell.returncode) == ("out\n", "err\n", 3)


def test_a_command_reads_what_it_is_sent(core: Any, namespace: str) -> None:
    _running(core, namespace)
    call = {"stdout": True, "stderr": True, "stdin": True, "tty": False, "_preload_content": False}
    script = "print(input()[::-1])"
    shell = stream(core.connect_get_namespaced_pod_exec, "p", namespace, command=["python", "-c", script], **call)
    shell.write_stdin("hello\n")
    shell.run_forever(timeout=10)
    assert (shell.read_stdout(), shell.returncode) == ("olleh\n", 0)


@pytest.fixture
def echo(core: Any, namespace: str) -> str:
    """The proxy path of a pod that answers every request with its body, else its path."""
    core.create_namespaced_pod(
        namespace,
        manifests.pod(
            "p", manifests.ECHO, container={"readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1}}
        ),
    )

    def ready() -> bool:
        conditions = core.read_namespaced_pod("p", namespace).status.conditions or ()
        return any(c.type == "Ready" and c.status == "True" for c in conditions)

    eventually(ready)
    return f"/api/v1/namespaces/{namespace}/pods/p:8080/proxy"


def test_a_pod_is_reached_through_the_api_with_every_method(http: httpx.Client, echo: str) -> None:
    assert http.get(f"{echo}/a/b%20c?q=1&q=2").text == "/a/b%20c?q=1&q=2"
    assert http.get(f"{echo}/").text == "/"
    posted = http.post(f"{echo}/x", content=b"body")
    assert posted.status_code == 207 and posted.text == "body"
    for method in ("PUT", "PATCH", "DELETE"):
        assert http.request(method, f"{echo}/x", content=method.encode()).text == method
    head = http.head(f"{echo}/x")
    assert head.status_code == 200 and head.content == b""


def test_a_pod_never_sees_the_callers_credentials(http: httpx.Client, echo: str) -> None:
    assert http.get(f"{echo}/").headers["x-authorization"] == "None"


def test_the_first_port_is_the_default_and_a_port_is_a_number(http: httpx.Client, echo: str) -> None:
    assert http.get(f"{echo.replace(':8080', '')}/d").text == "/d"
    # Kubernetes 1.36 ends the connection without an answer.
    with contextlib.suppress(httpx.RemoteProtocolError):
        assert http.get(f"{echo.replace(':8080', ':http')}/n").status_code == 400


def test_a_port_nobody_listens_on_is_503_and_an_absent_pod_404(http: httpx.Client, echo: str) -> None:
    refused = http.get(f"{echo.replace(':8080', ':8081')}/")
    assert refused.status_code == 503 and "connection refused" in refused.json()["message"]
    assert http.get(f"{echo.replace('/p:', '/q:')}/").status_code == 404


def test_a_big_body_passes_unchanged(http: httpx.Client, echo: str) -> None:
    body = bytes(range(256)) * 4096
    assert http.post(f"{echo}/", content=body).content == body
