"""The API server in this process, over plain HTTP: what needs a small memory of changes, a clock or a look inside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from chaoskit.sandbox import bootstrap, notices
from chaoskit.sandbox.access import rbac
from chaoskit.sandbox.access.identity import ADMINISTRATOR, Tokens, account_of, service_account
from chaoskit.sandbox.access.rbac import Attributes
from chaoskit.sandbox.api.dispatch import MAX_BODY_BYTES, Dispatcher
from chaoskit.sandbox.api.gate import Gate
from chaoskit.sandbox.apiserver import _request
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.settings import ClusterSettings, fast

Obj = dict[str, Any]


def _settings(folder: Path) -> ClusterSettings:
    (folder / "ca.crt").write_text("certificate")
    return ClusterSettings(
        id="test",
        slot=64,
        server="https://127.0.0.1:6443",
        token="secret",
        ca_file=folder / "ca.crt",
        state_dir=folder,
        timings=fast(),
        profile="fast",
        nodes=("node-1",),
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    found = Registry(_settings(tmp_path), ring=5)
    bootstrap.furnish_cluster(found)
    return found


def _serve(registry: Registry, work: Callable[[ClientSession], Awaitable[None]]) -> None:
    async def run() -> None:
        async with ClientSession() as pods:
            server = web.Server(Dispatcher(registry, pods, Gate(registry)), request_factory=_request, access_log=None)
            listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
            port = listening.sockets[0].getsockname()[1]
            headers = {"Authorization": "Bearer secret"}
            async with listening, ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session:
                await work(session)
            await server.shutdown()

    asyncio.run(run())


def _write_maps(registry: Registry, count: int) -> None:
    for number in range(count):
        registry.create("configmaps", "default", {"metadata": {"name": f"c-{number:03}"}}, actor="test")


def test_a_watch_from_a_forgotten_revision_is_told_so(registry: Registry) -> None:
    _write_maps(registry, 10)

    async def work(session: ClientSession) -> None:
        async with session.get("/api/v1/configmaps", params={"watch": "true", "resourceVersion": "5"}) as answer:
            assert answer.status == 200
            lines = (await answer.text()).splitlines()
        assert len(lines) == 1
        event = json.loads(lines[0])
        assert event["type"] == "ERROR" and event["object"]["code"] == 410 and event["object"]["reason"] == "Expired"
        assert event["object"]["message"].startswith("too old resource version: 5 (")

    _serve(registry, work)


def test_an_expired_continue_comes_with_a_token_for_the_rest(registry: Registry) -> None:
    _write_maps(registry, 10)

    async def work(session: ClientSession) -> None:
        maps = "/api/v1/namespaces/default/configmaps"
        async with session.get(maps, params={"limit": "4"}) as answer:
            first = await answer.json()
        _write_maps_again(registry)
        async with session.get(maps, params={"limit": "4", "continue": first["metadata"]["continue"]}) as answer:
            assert answer.status == 410
            refusal = await answer.json()
        assert refusal["reason"] == "Expired" and "inconsistent list" in refusal["message"]
        async with session.get(maps, params={"continue": refusal["metadata"]["continue"]}) as answer:
            rest = await answer.json()
        names = [item["metadata"]["name"] for item in first["items"] + rest["items"]]
        assert names == sorted(set(names)) and len(names) == 11

    _serve(registry, work)


def _write_maps_again(registry: Registry) -> None:
    for number in range(10):
        body = {"data": {"n": "1"}}
        registry.patch("configmaps", "default", f"c-{number:03}", body, style="merge", actor="test")


def test_a_body_beyond_the_limit_is_refused_and_named(registry: Registry) -> None:
    async def work(session: ClientSession) -> None:
        body = b'{"x":"' + b"a" * MAX_BODY_BYTES + b'"}'
        headers = {"Content-Type": "application/json"}
        async with session.post("/api/v1/namespaces/default/configmaps", data=body, headers=headers) as answer:
            assert answer.status == 413
            assert (await answer.json())["message"] == "Request entity too large: limit is 3145728"

    _serve(registry, work)


def test_what_is_not_supported_is_said_and_counted(registry: Registry) -> None:
    asked = {
        "/apis/batch/v1/namespaces/default/cronjobs": "cronjobs.v1.batch",
        "/apis/autoscaling/v2/horizontalpodautoscalers": "horizontalpodautoscalers.v2.autoscaling",
    }
    field = "Pod field spec.hostAliases"
    before = {what: notices.tally[what] for what in [*asked.values(), field]}

    async def work(session: ClientSession) -> None:
        for path, what in asked.items():
            async with session.get(path) as answer:
                assert answer.status == 501 and what in (await answer.json())["message"]
        spec = {"containers": [{"name": "c", "image": "python:3.11-slim"}], "hostAliases": [{"ip": "127.0.0.1"}]}
        pod = {"metadata": {"name": "p"}, "spec": spec}
        async with session.post("/api/v1/namespaces/default/pods", json=pod) as answer:
            assert answer.status == 201 and "spec.hostAliases" in answer.headers["Warning"]

    _serve(registry, work)
    assert all(notices.tally[what] == count + 1 for what, count in before.items())


def test_events_are_seen_under_their_newer_name(registry: Registry) -> None:
    async def work(session: ClientSession) -> None:
        path = "/apis/events.k8s.io/v1/namespaces/default/events"
        regarding = {"kind": "ConfigMap", "namespace": "default", "name": "c"}
        event = {
            "metadata": {"name": "e"},
            "regarding": regarding,
            "reason": "Tested",
            "note": "well",
            "type": "Normal",
        }
        async with session.post(path, json=event) as answer:
            assert answer.status == 201 and (await answer.json())["note"] == "well"
        async with session.get(path, params={"fieldSelector": "regarding.name=c"}) as answer:
            listed = await answer.json()
        assert listed["kind"] == "EventList" and listed["apiVersion"] == "events.k8s.io/v1"
        assert listed["items"][0]["regarding"]["name"] == "c" and "involvedObject" not in listed["items"][0]
        async with session.get("/api/v1/namespaces/default/events/e") as answer:
            assert (await answer.json())["message"] == "well"
        async with session.patch(f"{path}/e", json={}) as answer:
            assert answer.status == 501

    _serve(registry, work)


def test_the_api_server_is_a_service_of_its_cluster(registry: Registry) -> None:
    service = registry.get("services", "default", "kubernetes")
    assert service["spec"]["clusterIP"] == "127.64.128.1" and service["spec"]["ports"][0]["targetPort"] == 6443
    endpoints = registry.get("endpointslices", "default", "kubernetes")
    assert endpoints["endpoints"][0]["addresses"] == ["127.0.0.1"] and endpoints["ports"][0]["port"] == 6443


def test_tokens_are_known_by_their_maker_only_and_not_for_ever(registry: Registry) -> None:
    account = registry.get("serviceaccounts", "default", "default")
    ours, theirs = Tokens(registry.store), Tokens(registry.store)
    token, _ = ours.issue(account, ["https://kubernetes.default.svc.cluster.local"], 600, None)
    user = ours.user(token)
    assert user is not None and user.name == "system:serviceaccount:default:default"
    assert theirs.user(token) is None and ours.user(token[:-2]) is None and ours.user("x") is None
    assert ours.user(ours.issue(account, ["https://kubernetes.default.svc.cluster.local"], -1, None)[0]) is None
    assert ours.user(ours.issue(account, ["somebody-else"], 600, None)[0]) is None


def test_names_of_service_accounts_are_read_strictly() -> None:
    assert account_of("system:serviceaccount:a:b") == ("a", "b")
    assert account_of("system:serviceaccount:a") is None and account_of("bob") is None


@pytest.mark.parametrize(
    ("rule", "asked", "allowed"),
    [
        ({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}, Attributes("get", resource="pods"), True),
        ({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}, Attributes("list", resource="pods"), False),
        ({"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]}, Attributes("get", resource="pods"), False),
        ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, Attributes("x", "g", "r", "s"), True),
        ({"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}, Attributes("get", "", "pods", "log"), False),
        ({"apiGroups": [""], "resources": ["pods/*"], "verbs": ["*"]}, Attributes("get", "", "pods", "log"), False),
        ({"apiGroups": [""], "resources": ["*/log"], "verbs": ["*"]}, Attributes("get", "", "pods", "log"), True),
        ({"nonResourceURLs": ["/api/*"], "verbs": ["get"]}, Attributes("get", path="/api/v1"), True),
        ({"nonResourceURLs": ["/api/*"], "verbs": ["get"]}, Attributes("get", path="/apis"), False),
        ({"nonResourceURLs": ["*"], "verbs": ["get"]}, Attributes("get", resource="pods"), False),
    ],
)
def test_a_rule_allows_what_it_says(rule: Obj, asked: Attributes, allowed: bool) -> None:
    assert rbac.rule_allows(rule, asked) is allowed


def test_masters_need_no_role_and_groups_of_accounts_count(registry: Registry) -> None:
    asked = Attributes("delete", resource="nodes", name="n")
    assert rbac.decide(registry.store, ADMINISTRATOR, asked).allowed
    robot = service_account("default", "robot")
    assert not rbac.decide(registry.store, robot, asked).allowed
    subject = {"kind": "Group", "name": "system:serviceaccounts:default", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"}
    registry.create(
        "clusterrolebindings", "", {"metadata": {"name": "all"}, "subjects": [subject], "roleRef": role}, actor="test"
    )
    assert rbac.decide(registry.store, robot, asked).reason.startswith('RBAC: allowed by ClusterRoleBinding "all" of ')
