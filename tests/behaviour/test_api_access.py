"""Who may do what: tokens of service accounts, roles, the answers that say no, and reviews."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.behaviour import manifests
from tests.behaviour.access import Access, eventually

GROUP = "rbac.authorization.k8s.io"
RBAC = f"/apis/{GROUP}/v1"
Obj = dict[str, Any]


@pytest.fixture
def admin(kubeconfig: Access) -> Iterator[httpx.Client]:
    with kubeconfig.http() as found:
        yield found


@pytest.fixture
def robot(kubeconfig: Access, admin: httpx.Client, namespace: str) -> Iterator[httpx.Client]:
    """A client with the token of a service account that nothing is granted to yet."""
    created = admin.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", json={"metadata": {"name": "robot"}})
    assert created.status_code == 201
    with kubeconfig.http(anonymous=True) as found:
        found.headers["Authorization"] = f"Bearer {_token(admin, namespace)}"
        yield found


def _token(admin: httpx.Client, namespace: str) -> str:
    asked = {"spec": {"expirationSeconds": 700}}
    answer = admin.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/robot/token", json=asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["status"]["token"])


def _grant(admin: httpx.Client, namespace: str, *rules: Obj, name: str = "r") -> None:
    role = {"metadata": {"name": name}, "rules": list(rules)}
    assert admin.post(f"{RBAC}/namespaces/{namespace}/roles", json=role).status_code == 201
    _bind(admin, namespace, {"kind": "Role", "name": name}, name)


def _bind(admin: httpx.Client, namespace: str, reference: Obj, name: str) -> None:
    subjects = [{"kind": "ServiceAccount", "name": "robot", "namespace": namespace}]
    binding = {"metadata": {"name": name}, "roleRef": reference | {"apiGroup": GROUP}, "subjects": subjects}
    assert admin.post(f"{RBAC}/namespaces/{namespace}/rolebindings", json=binding).status_code == 201


def _rule(resource: str, *verbs: str, group: str = "", names: list[str] | None = None) -> Obj:
    rule: Obj = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return rule | {"resourceNames": names} if names else rule


def _soon(look: Callable[[], httpx.Response], status: int, within_s: float = 5.0) -> httpx.Response:
    """A grant takes effect some 15 ms after it was written."""

    def found() -> httpx.Response | None:
        answer = look()
        return answer if answer.status_code == status else None

    return eventually(found, within_s, f"status {status}")


def test_without_a_role_everything_is_refused_with_the_reason(robot: httpx.Client, namespace: str) -> None:
    user = f"system:serviceaccount:{namespace}:robot"
    refused = robot.get(f"/api/v1/namespaces/{namespace}/pods/x")
    said = f'pods "x" is forbidden: User "{user}" cannot get resource "pods" in API group "" in the namespace "{namespace}"'
    assert refused.status_code == 403 and refused.json()["message"] == said
    assert refused.json()["reason"] == "Forbidden" and refused.json()["details"] == {"name": "x", "kind": "pods"}
    everywhere = robot.get("/apis/apps/v1/deployments").json()["message"]
    cannot = f'User "{user}" cannot list resource "deployments" in API group "apps" at the cluster scope'
    assert everywhere == f"deployments.apps is forbidden: {cannot}"
    assert robot.get("/metrics").json()["message"] == f'forbidden: User "{user}" cannot get path "/metrics"'
    assert robot.get("/apis").status_code == 200 and robot.get("/version").status_code == 200


def test_a_role_grants_its_verbs_on_its_resources_and_no_more(
    robot: httpx.Client, admin: httpx.Client, namespace: str
) -> None:
    _grant(admin, namespace, _rule("configmaps", "get", "list"))
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    assert _soon(lambda: robot.get(maps), 200).json()["kind"] == "ConfigMapList"
    assert robot.get(maps, params={"watch": "true", "timeoutSeconds": "1"}).status_code == 403
    assert "cannot create resource" in robot.post(maps, json={"metadata": {"name": "c"}}).json()["message"]
    assert "cannot deletecollection resource" in robot.delete(maps).json()["message"]
    assert robot.get("/api/v1/namespaces/default/configmaps").status_code == 403


def test_a_role_for_names_covers_those_and_lists_of_them(
    robot: httpx.Client, admin: httpx.Client, namespace: str
) -> None:
    _grant(admin, namespace, _rule("configmaps", "get", "list", names=["only"]))
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    _soon(lambda: robot.get(f"{maps}/only"), 404)
    assert robot.get(f"{maps}/other").status_code == 403 and robot.get(maps).status_code == 403
    assert robot.get(maps, params={"fieldSelector": "metadata.name=only"}).status_code == 200


def test_subresources_are_granted_by_name(robot: httpx.Client, admin: httpx.Client, namespace: str) -> None:
    """`pods` with every verb covers none of them, and `pods/*` is no wildcard."""
    _grant(admin, namespace, _rule("pods", "*"), _rule("pods/*", "*"), _rule("deployments/scale", "get", group="apps"))
    pods = f"/api/v1/namespaces/{namespace}/pods"
    _soon(lambda: robot.get(pods), 200)
    assert 'cannot get resource "pods/log"' in robot.get(f"{pods}/x/log").json()["message"]
    assert 'cannot create resource "pods/eviction"' in robot.post(f"{pods}/x/eviction", json={}).json()["message"]
    assert robot.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/x/scale").status_code == 404


def test_exec_over_a_websocket_needs_get_and_create(robot: httpx.Client, admin: httpx.Client, namespace: str) -> None:
    admin.post(f"/api/v1/namespaces/{namespace}/pods", json=manifests.pod("p"))
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    upgrade |= {"Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode()}
    upgrade |= {"Sec-WebSocket-Protocol": "v5.channel.k8s.io"}
    path = f"/api/v1/namespaces/{namespace}/pods/p/exec?command=true"
    assert 'cannot get resource "pods/exec"' in robot.get(path, headers=upgrade).json()["message"]
    _grant(admin, namespace, _rule("pods/exec", "get"))

    def second() -> bool:
        return bool(robot.get(path, headers=upgrade).json()["message"] == 'pods "p" is forbidden: ')

    eventually(second, 5.0, "the refusal that says nothing")


def test_a_binding_to_a_role_that_is_not_there_says_so(
    robot: httpx.Client, admin: httpx.Client, namespace: str
) -> None:
    _bind(admin, namespace, {"kind": "Role", "name": "nope"}, "missing")
    path = f"/api/v1/namespaces/{namespace}/pods"
    told = 'RBAC: role.rbac.authorization.k8s.io "nope" not found'
    eventually(lambda: robot.get(path).json()["message"].endswith(told), 5.0)


def test_the_default_roles_are_there_and_useful(robot: httpx.Client, admin: httpx.Client, namespace: str) -> None:
    names = {item["metadata"]["name"] for item in admin.get(f"{RBAC}/clusterroles").json()["items"]}
    assert {"cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user"} <= names
    _bind(admin, namespace, {"kind": "ClusterRole", "name": "view"}, "viewer")
    _soon(lambda: robot.get(f"/apis/apps/v1/namespaces/{namespace}/deployments"), 200)
    assert robot.get(f"/api/v1/namespaces/{namespace}/secrets").status_code == 403
    _bind(admin, namespace, {"kind": "ClusterRole", "name": "edit"}, "editor")
    _soon(lambda: robot.get(f"/api/v1/namespaces/{namespace}/secrets"), 200)
    made = robot.post(f"/api/v1/namespaces/{namespace}/configmaps", json={"metadata": {"name": "c"}})
    assert made.status_code == 201
    assert robot.get(f"{RBAC}/namespaces/{namespace}/roles").status_code == 403


def test_nobody_grants_more_than_he_holds(robot: httpx.Client, admin: httpx.Client, namespace: str) -> None:
    _bind(admin, namespace, {"kind": "ClusterRole", "name": "admin"}, "admin")
    roles = f"{RBAC}/namespaces/{namespace}/roles"
    fine = {"metadata": {"name": "fine"}, "rules": [_rule("pods", "get")]}
    _soon(lambda: robot.post(roles, json=fine), 201)
    greedy = {"metadata": {"name": "greedy"}, "rules": [_rule("nodes", "get"), _rule("pods", "get")]}
    refused = robot.post(roles, json=greedy)
    assert refused.status_code == 403
    assert refused.json()["message"].endswith(
        'is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}'
    )
    reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {"metadata": {"name": "greedy"}, "roleRef": reference, "subjects": []}
    assert robot.post(f"{RBAC}/namespaces/{namespace}/rolebindings", json=binding).status_code == 403


def test_roles_and_bindings_are_validated(admin: httpx.Client, namespace: str) -> None:
    roles = f"{RBAC}/namespaces/{namespace}/roles"
    broken = {
        "metadata": {"name": "bad"},
        "rules": [{"resources": ["pods"]}, {"nonResourceURLs": ["/x"], "verbs": ["get"]}],
    }
    fields = [cause["field"] for cause in admin.post(roles, json=broken).json()["details"]["causes"]]
    assert fields == ["rules[0].verbs", "rules[0].apiGroups", "rules[1].nonResourceURLs"]
    _bind(admin, namespace, {"kind": "ClusterRole", "name": "view"}, "b")
    change = {"roleRef": {"name": "edit"}}
    merge = {"Content-Type": "application/merge-patch+json"}
    refused = admin.patch(f"{RBAC}/namespaces/{namespace}/rolebindings/b", content=json.dumps(change), headers=merge)
    assert refused.status_code == 422 and "cannot change roleRef" in refused.json()["message"]


def test_a_token_ends_with_its_account(robot: httpx.Client, admin: httpx.Client, namespace: str) -> None:
    me = robot.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={}).json()["status"]["userInfo"]
    assert me["username"] == f"system:serviceaccount:{namespace}:robot"
    assert me["groups"] == ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    admin.delete(f"/api/v1/namespaces/{namespace}/serviceaccounts/robot")
    refused = _soon(lambda: robot.get("/version"), 401, 20.0)  # a real server remembers a good token for 10 s
    assert refused.json()["message"] == "Unauthorized" and "details" not in refused.json()


def test_a_token_carries_the_usual_claims_and_has_a_shortest_life(
    robot: httpx.Client, admin: httpx.Client, namespace: str
) -> None:
    body = _token(admin, namespace).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert claims["sub"] == f"system:serviceaccount:{namespace}:robot" and claims["exp"] - claims["iat"] == 700
    assert claims["kubernetes.io"]["serviceaccount"]["name"] == "robot"
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/robot/token"
    refused = admin.post(path, json={"spec": {"expirationSeconds": 60}})
    assert refused.status_code == 422 and "may not specify a duration less than 10 minutes" in refused.json()["message"]


def test_reviews_tell_what_is_allowed_and_why(robot: httpx.Client, admin: httpx.Client, namespace: str) -> None:
    _grant(admin, namespace, _rule("pods", "get", names=["only"]), name="reader")
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    asked = {"namespace": namespace, "verb": "get", "resource": "pods", "name": "only"}

    def allowed() -> Obj | None:
        answer = robot.post(reviews, json={"spec": {"resourceAttributes": asked}})
        assert answer.status_code == 201
        status: Obj = answer.json()["status"]
        return status if status["allowed"] else None

    told = f'RBAC: allowed by RoleBinding "reader/{namespace}" of Role "reader" to ServiceAccount "robot/{namespace}"'
    assert eventually(allowed, 5.0)["reason"] == told
    del asked["name"]
    assert robot.post(reviews, json={"spec": {"resourceAttributes": asked}}).json()["status"]["allowed"] is False
    assert admin.post(reviews, json={"spec": {"resourceAttributes": asked}}).json()["status"] == {"allowed": True}
    assert admin.post(reviews, json={"spec": {}}).status_code == 422
    others = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    spec = {"user": "bob", "resourceAttributes": asked}
    assert admin.post(others, json={"spec": spec}).json()["status"] == {"allowed": False}
    assert robot.post(others, json={"spec": spec}).status_code == 403
    rules = robot.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", json={"spec": {"namespace": namespace}})
    assert {"apiGroups": [""], "resourceNames": ["only"], "resources": ["pods"], "verbs": ["get"]} in rules.json()[
        "status"
    ]["resourceRules"]


def test_the_administrator_can_act_as_others_and_others_cannot(
    robot: httpx.Client, admin: httpx.Client, namespace: str
) -> None:
    as_bob = admin.get("/api/v1/pods", headers={"Impersonate-User": "bob"})
    assert as_bob.status_code == 403 and 'User "bob" cannot list resource "pods"' in as_bob.json()["message"]
    as_master = {"Impersonate-User": "bob", "Impersonate-Group": "system:masters"}
    assert admin.get("/api/v1/pods", headers=as_master).status_code == 200
    assert robot.get("/api/v1/pods", headers={"Impersonate-User": "bob"}).status_code == 403
