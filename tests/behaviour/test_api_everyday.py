"""kubectl's everyday verbs, with two minors of it where the machine has them; skipped where there is none.

With CHAOSKIT_EVERY_KUBECTL set they run with every kubectl from 1.31 on that the machine has.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.behaviour import manifests
from tests.behaviour.access import Access, eventually
from tests.behaviour.kubectls import Kubectl, binaries, minor

pytestmark = pytest.mark.skipif(not binaries(), reason="there is no kubectl on PATH")

Obj = dict[str, Any]


@pytest.fixture(params=binaries() or ("none",), ids=lambda path: str(minor(path)) if binaries() else path)
def any_kubectl(request: pytest.FixtureRequest, kubeconfig: Access, namespace: str, tmp_path: Path) -> Kubectl:
    """Each of them in turn, where what it sends differs between minors."""
    return Kubectl(request.param, kubeconfig, namespace, tmp_path)


@pytest.fixture
def kubectl(kubeconfig: Access, namespace: str, tmp_path: Path) -> Kubectl:
    """The one that PATH finds first."""
    return Kubectl(binaries()[0], kubeconfig, namespace, tmp_path)


def _kind(api_version: str, kind: str, body: Obj) -> Obj:
    return {"apiVersion": api_version, "kind": kind} | body


def _named(name: str, **more: Any) -> Obj:
    return {"metadata": {"name": name}} | more


def _every_kind() -> list[Obj]:
    labels = {"app": "all"}
    template = {"metadata": {"labels": labels}, "spec": manifests.pod_spec()}
    once = {"metadata": {"labels": labels}, "spec": manifests.pod_spec() | {"restartPolicy": "Never"}}
    selector = {"matchLabels": labels}
    group = "rbac.authorization.k8s.io"
    return [
        _kind("v1", "ConfigMap", _named("c", data={"a": "1"})),
        _kind("v1", "Secret", _named("s", data={"a": "MQ=="})),
        _kind("v1", "ServiceAccount", _named("robot")),
        _kind("v1", "Service", manifests.service("all")),
        _kind("v1", "Pod", manifests.pod("p", labels={"l": "1"})),
        _kind("apps/v1", "Deployment", manifests.deployment("d", 0)),
        _kind("apps/v1", "ReplicaSet", _named("r", spec={"replicas": 0, "selector": selector, "template": template})),
        _kind(
            "apps/v1",
            "StatefulSet",
            _named("s", spec={"replicas": 0, "serviceName": "all", "selector": selector, "template": template}),
        ),
        _kind(
            "apps/v1",
            "DaemonSet",
            _named(
                "daemon",
                spec={
                    "selector": selector,
                    "template": template | {"spec": template["spec"] | {"nodeSelector": {"no": "node"}}},
                },
            ),
        ),
        _kind("batch/v1", "Job", _named("j", spec={"suspend": True, "template": once})),
        _kind("policy/v1", "PodDisruptionBudget", _named("b", spec={"minAvailable": "50%", "selector": selector})),
        _kind("v1", "PersistentVolumeClaim", _claim("claim")),
        _kind(group + "/v1", "Role", _named("r", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])),
        _kind(
            group + "/v1",
            "RoleBinding",
            _named(
                "r",
                roleRef={"apiGroup": group, "kind": "Role", "name": "r"},
                subjects=[{"kind": "ServiceAccount", "name": "robot"}],
            ),
        ),
    ]


def _claim(name: str) -> Obj:
    return _named(name, spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}})


def test_applying_any_kind_twice_changes_nothing(any_kubectl: Kubectl) -> None:
    text = yaml.safe_dump_all(_every_kind())
    assert {line.rpartition(" ")[2] for line in any_kubectl("apply", "-f", "-", stdin=text).splitlines()} == {"created"}
    again = any_kubectl("apply", "-f", "-", stdin=text).splitlines()
    assert len(again) == 14 and {line.rpartition(" ")[2] for line in again} == {"unchanged"}
    assert "rolebinding" in any_kubectl("get", "role,rolebinding,pdb,sts,ds,job,pvc", "-o", "wide")


def test_server_side_apply_tells_who_owns_a_field(any_kubectl: Kubectl) -> None:
    text = yaml.safe_dump(_kind("apps/v1", "Deployment", manifests.deployment("d", 0)))
    apply = ("apply", "--server-side", "-f", "-")
    any_kubectl(*apply, stdin=text)
    before = any_kubectl("get", "deployment", "d", "-o", "jsonpath={.metadata.generation}")
    any_kubectl(*apply, stdin=text)
    assert any_kubectl("get", "deployment", "d", "-o", "jsonpath={.metadata.generation}") == before
    any_kubectl("scale", "deployment/d", "--replicas=1")
    refused = any_kubectl(*apply, stdin=text, code=1)
    assert re.search(r'conflict with "kubectl[^"]*" with subresource "scale" using apps/v1: .spec.replicas', refused)
    any_kubectl(*apply, "--force-conflicts", stdin=text)
    assert any_kubectl("get", "deployment", "d", "-o", "jsonpath={.spec.replicas}") == "0"


def test_exec_ends_with_the_exit_code_of_the_command(any_kubectl: Kubectl) -> None:
    any_kubectl("apply", "-f", "-", stdin=yaml.safe_dump(_kind("v1", "Pod", manifests.pod("p"))))
    any_kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=20s")
    assert any_kubectl("exec", "p", "--", "python", "-c", "print('done')") == "done\n"
    any_kubectl("exec", "p", "--", "python", "-c", "raise SystemExit(3)", code=3)
    any_kubectl("exec", "p", "--", "python", "-c", "import os; os.kill(os.getpid(), 9)", code=137)
    assert any_kubectl("exec", "-i", "p", "--", "python", "-c", "print(input())", stdin="hello\n") == "hello\n"


def test_exec_in_a_container_that_is_not_running_says_so(kubectl: Kubectl) -> None:
    finished = manifests.pod("over", "print('bye')", restartPolicy="Never")
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(_kind("v1", "Pod", finished)))
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/over", "--timeout=20s")
    said = kubectl("exec", "over", "--", "true", code=1)
    assert "does not answer" not in said and (
        "not running" in said or "container not found" in said or "completed pod" in said
    )


def test_logs_follow_until_the_container_ends_and_obey_their_filters(kubectl: Kubectl) -> None:
    script = "import time\nfor n in range(5):\n    print('line', n, flush=True); time.sleep(0.2)"
    kubectl(
        "apply", "-f", "-", stdin=yaml.safe_dump(_kind("v1", "Pod", manifests.pod("p", script, restartPolicy="Never")))
    )
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].started}=true", "pod/p", "--timeout=20s")
    assert kubectl("logs", "-f", "p", timeout_s=20).splitlines() == [f"line {n}" for n in range(5)]
    assert kubectl("logs", "p", "--tail=1") == "line 4\n"
    assert kubectl("logs", "p", "--limit-bytes=4") == "line"
    stamped = kubectl("logs", "p", "--timestamps").splitlines()
    assert len(stamped) == 5 and stamped[0].partition(" ")[2] == "line 0" and stamped[0].startswith("20")
    assert len(kubectl("logs", "p", "--since=1h").splitlines()) == 5
    after = stamped[3].partition(" ")[0]
    assert kubectl("logs", "p", f"--since-time={after}").splitlines()[-1] == "line 4"
    assert "previous terminated container" in kubectl("logs", "p", "-p", code=1)


def test_wait_sees_conditions_fields_and_the_end(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(_kind("apps/v1", "Deployment", manifests.deployment("d", 1))))
    kubectl("wait", "--for=condition=Available", "deployment/d", "--timeout=20s")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=1", "deployment/d", "--timeout=20s")
    with kubectl.start("wait", "--for=delete", "deployment/d", "--timeout=20s") as waiting:
        kubectl("delete", "deployment", "d")
        assert waiting.wait(20) == 0
    assert "timed out" in kubectl("wait", "--for=condition=Never", "serviceaccount/default", "--timeout=1s", code=1)


def test_undo_takes_the_old_replica_set_back(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(_kind("apps/v1", "Deployment", manifests.deployment("d", 1))))
    kubectl("rollout", "status", "deployment/d", "--timeout=20s")
    first = kubectl("get", "replicasets", "-o", "name")
    kubectl("set", "image", "deployment/d", "app=nosuch:v1")
    eventually(lambda: len(kubectl("get", "replicasets", "-o", "name").split()) == 2)
    kubectl("rollout", "undo", "deployment/d")
    kubectl("rollout", "status", "deployment/d", "--timeout=20s")
    sizes = json.loads(kubectl("get", "replicasets", "-o", "json"))["items"]
    assert {f"replicaset.apps/{each['metadata']['name']}": each["spec"]["replicas"] for each in sizes}[
        first.strip()
    ] == 1
    revisions = [
        line.split()[0] for line in kubectl("rollout", "history", "deployment/d").splitlines() if line[:1].isdigit()
    ]
    assert revisions == ["2", "3"]
    kubectl("rollout", "pause", "deployment/d")
    assert "paused" in kubectl("rollout", "restart", "deployment/d", code=1)


def test_a_drain_waits_for_the_budget(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(_kind("apps/v1", "Deployment", manifests.deployment("d", 1))))
    kubectl("rollout", "status", "deployment/d", "--timeout=20s")
    kubectl("create", "poddisruptionbudget", "b", "--selector=app=d", "--min-available=1")
    node = kubectl("get", "pods", "-l", "app=d", "-o", "jsonpath={.items[0].spec.nodeName}")
    drain = ("drain", node, "--pod-selector=app=d", "--ignore-daemonsets", "--timeout=30s")
    try:
        with kubectl.start(*drain) as draining:
            line = _line_with(draining, "violate")
            assert "Cannot evict pod as it would violate the pod's disruption budget." in line
            kubectl("patch", "poddisruptionbudget", "b", "--type=merge", "-p", '{"spec":{"minAvailable":0}}')
            assert draining.wait(30) == 0
        assert "SchedulingDisabled" in kubectl("get", "node", node)
    finally:
        kubectl("uncordon", node)
    kubectl("rollout", "status", "deployment/d", "--timeout=20s")


def _line_with(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError(f"it never said {word!r}")


def test_explain_tells_of_everyday_fields(any_kubectl: Kubectl) -> None:
    for path in (
        "pod.spec.containers.livenessProbe.httpGet",
        "pod.status.phase",
        "deployment.spec.strategy.rollingUpdate.maxSurge",
        "service.spec.ports.targetPort",
        "poddisruptionbudget.spec.minAvailable",
        "job.spec.backoffLimit",
        "rolebinding.subjects",
    ):
        told = any_kubectl("explain", path)
        assert "DESCRIPTION:" in told and told.split("DESCRIPTION:")[1].strip(), path
    assert "does not exist" in any_kubectl("explain", "pod.spec.nosuch", code=1)


def test_access_can_be_asked_about_and_lent(any_kubectl: Kubectl) -> None:
    account = f"--as=system:serviceaccount:{any_kubectl.namespace}:robot"
    any_kubectl("create", "serviceaccount", "robot")
    assert any_kubectl("auth", "can-i", "get", "pods", account, code=1).startswith("no")
    any_kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    any_kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={any_kubectl.namespace}:robot")
    assert any_kubectl("auth", "can-i", "get", "pods", account).startswith("yes")
    assert "cannot delete resource" in any_kubectl("delete", "pod", "any", account, code=1)
    assert "pods" in any_kubectl("auth", "can-i", "--list", account)
    assert len(any_kubectl("create", "token", "robot").strip().split(".")) == 3
    assert "may not specify a duration less than 10 minutes" in any_kubectl(
        "create", "token", "robot", "--duration=1m", code=1
    )


def test_what_newer_kubectl_creates_as_protobuf_arrives(any_kubectl: Kubectl) -> None:
    any_kubectl("create", "job", "j", "--image=python:3.11-slim", "--", "python", "-c", "pass")
    any_kubectl("wait", "--for=condition=Complete", "job/j", "--timeout=30s")
    any_kubectl("create", "poddisruptionbudget", "b", "--selector=app=x,tier in (a)", "--max-unavailable=25%")
    found = json.loads(any_kubectl("get", "poddisruptionbudget", "b", "-o", "json"))["spec"]
    assert found["maxUnavailable"] == "25%" and found["selector"]["matchExpressions"][0]["values"] == ["a"]
    any_kubectl(
        "create",
        "clusterrolebinding",
        f"{any_kubectl.namespace}-x",
        "--clusterrole=view",
        "--user=bob",
        "--dry-run=server",
    )
    assert (
        any_kubectl("create", "configmap", "c", "--from-literal=a=1", "--dry-run=server")
        == "configmap/c created (server dry run)\n"
    )
    assert "NotFound" in any_kubectl("get", "configmap", "c", code=1)
