"""What is sent for each operation, that it is sent once, and what is said when the answer does not come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from chaoskit.cluster import execution, operations, transport
from chaoskit.cluster.live import LiveCluster
from chaoskit.model.errors import AnswerLost, ClusterError, CouldNotRun
from chaoskit.model.operation import ABSENT, Create, Delete, Evict, Exec, Field, Item, Patch, Request, inverse
from chaoskit.model.resource import Ref
from chaoskit.model.step import Answers, FieldIs, Gone
from tests.cluster.served_api import ServedApi, connected, reset, status

POD = "/api/v1/namespaces/shop/pods/web-0"
POD_REF = Ref("Pod", "web-0", "shop", "uid-web-0")
NODE = "/api/v1/nodes/node-1"
NODE_REF = Ref("Node", "node-1", uid="uid-node-1")
CORDON = Patch(NODE_REF, (Field("/spec/unschedulable", ABSENT, True),))
UNCORDON = inverse(CORDON)
assert UNCORDON is not None
MARK = "run-1/0.0"
NOTE = "/metadata/annotations/chaoskit.dev~1undo"


def run(story: Callable[[ServedApi, LiveCluster], Awaitable[None]]) -> None:
    async def told() -> None:
        async with connected() as (api, cluster):
            await story(api, cluster)

    asyncio.run(told())


def test_a_delete_is_sent_once_when_the_connection_is_reset_and_read_back_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operations, "ACT_S", 0.3)

    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(POD, {})
        api.trouble = lambda request: reset(request) if request.method == "DELETE" else _no_trouble()
        with pytest.raises(AnswerLost):
            await cluster.perform(Delete(POD_REF), MARK)
        assert len(api.sent("DELETE")) == 1
        assert not await cluster.landed(Delete(POD_REF), MARK)
        del api.objects[POD]
        assert await cluster.landed(Delete(POD_REF), MARK)

    run(story)


def test_an_effect_that_comes_after_its_connection_broke_is_waited_for() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(POD, {})
        api.trouble = lambda request: reset(request) if request.method == "DELETE" else _no_trouble()
        with pytest.raises(AnswerLost):
            await cluster.perform(Delete(POD_REF), MARK)
        asyncio.get_running_loop().call_later(0.5, api.objects.pop, POD)
        assert await cluster.landed(Delete(POD_REF), MARK)

    run(story)


async def _no_trouble() -> None:
    return None


def test_a_delete_carries_the_uid_and_spares_the_replacement_of_the_same_name() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(POD, {"metadata": {"uid": "replacement"}})
        reply = await cluster.perform(Delete(POD_REF, grace_s=0), MARK)
        assert reply.status == 409 and POD in api.objects
        body = api.sent("DELETE")[0].body
        assert body["preconditions"] == {"uid": "uid-web-0"} and body["gracePeriodSeconds"] == 0
        assert api.sent("DELETE")[0].query == {"timeout": "3s"}

    run(story)


def test_a_server_that_hangs_leaves_the_request_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ACT_S", 0.2)

    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(POD, {})
        api.trouble = lambda request: asyncio.Event().wait() if request.method == "POST" else _no_trouble()  # type: ignore[assignment, return-value]
        with pytest.raises(AnswerLost, match="no answer within"):
            await cluster.perform(Evict(POD_REF), MARK)
        assert len(api.sent("POST")) == 1

    run(story)


def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        from dataclasses import replace

        api.put(POD, {})
        nowhere = replace(cluster.transport.access, server="https://127.0.0.1:1")
        async with transport.opened(nowhere) as closed:
            with pytest.raises(ClusterError, match="cannot be reached") as caught:
                await LiveCluster(closed).perform(Delete(POD_REF), MARK)
        assert not isinstance(caught.value, AnswerLost)

    run(story)


@pytest.mark.parametrize(
    ("code", "reason", "lost"), [(429, "TooManyRequests", False), (500, "", False), (504, "Timeout", True)]
)
def test_an_answer_is_a_reply_unless_it_leaves_the_outcome_open(code: int, reason: str, lost: bool) -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        async def answer(request: web.Request) -> web.Response | None:
            return status(code, reason, "said so", **{"Retry-After": "10"}) if request.method == "POST" else None

        api.put(POD, {})
        api.trouble = answer
        if lost:
            with pytest.raises(AnswerLost):
                await cluster.perform(Evict(POD_REF), MARK)
            return
        reply = await cluster.perform(Evict(POD_REF), MARK)
        assert (reply.status, reply.retry_after_s, reply.body["message"]) == (code, 10.0, "said so")

    run(story)


def test_an_eviction_names_the_uid_and_one_without_a_uid_is_refused() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        assert (await cluster.perform(Evict(POD_REF), MARK)).status == 404
        api.put(POD, {"metadata": {"uid": "replacement"}})
        assert (await cluster.perform(Evict(POD_REF), MARK)).status == 409 and api.sent("POST") == []
        api.put(POD, {})
        assert (await cluster.perform(Evict(POD_REF), MARK)).status == 201
        sent = api.sent("POST")[0]
        assert sent.path == POD + "/eviction"
        assert sent.body["apiVersion"] == "policy/v1" and sent.body["deleteOptions"] == {
            "preconditions": {"uid": "uid-web-0"}
        }
        with pytest.raises(CouldNotRun):
            await cluster.perform(Evict(Ref("Pod", "web-0", "shop")), MARK)

    run(story)


def test_a_cordon_tests_uid_value_and_note_and_its_undo_leaves_the_node_as_it_was() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        before = api.put(NODE, {"spec": {"podCIDR": "x"}, "metadata": {"annotations": {"a": "b"}}})
        assert (await cluster.perform(CORDON, MARK)).status == 200
        patch = api.sent("PATCH")[0]
        assert patch.headers["Content-Type"] == "application/json-patch+json"
        assert patch.query == {"fieldManager": "chaoskit", "timeout": "3s"}
        assert patch.body[:3] == [
            {"op": "test", "path": "/metadata/uid", "value": "uid-node-1"},
            {"op": "test", "path": "/spec/unschedulable", "value": None},
            {"op": "add", "path": "/spec/unschedulable", "value": True},
        ]
        assert [(op["op"], op["path"]) for op in patch.body[3:]] == [("test", NOTE), ("add", NOTE)]
        note = json.loads(api.objects[NODE]["metadata"]["annotations"]["chaoskit.dev/undo"])
        assert note == {"v": 1, "run": "run-1", "steps": {"0.0": [{"field": "/spec/unschedulable", "after": True}]}}
        assert await cluster.holds(FieldIs(NODE_REF, "/spec/unschedulable", True))
        assert await cluster.landed(CORDON, MARK)
        assert (await cluster.perform(_undo(), MARK, undoing=True)).status == 200
        assert _without_version(api.objects[NODE]) == _without_version(before)
        assert await cluster.landed(_undo(), MARK)

    run(story)


def _undo() -> Patch:
    assert isinstance(UNCORDON, Patch)
    return UNCORDON


def _without_version(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}


def test_a_node_that_somebody_else_cordoned_is_neither_cordoned_nor_uncordoned() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(NODE, {"spec": {"unschedulable": True}})
        for op, undoing in ((CORDON, False), (_undo(), True)):
            reply = await cluster.perform(op, MARK, undoing=undoing)
            assert reply.status == 422 and reply.body["message"]
        assert api.sent("PATCH") == []

    run(story)


def test_an_undo_leaves_a_value_that_changed_since_and_takes_only_its_note_away() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        ref = Ref("ConfigMap", "c", "shop", "uid-c")
        path = "/api/v1/namespaces/shop/configmaps/c"
        api.put(path, {"data": {"k": "old"}})
        change = Patch(ref, (Field("/data/k", "old", "ours"),))
        undo = inverse(change)
        assert undo is not None and (await cluster.perform(change, MARK)).status == 200
        api.objects[path]["data"]["k"] = "theirs"
        reply = await cluster.perform(undo, MARK, undoing=True)
        assert reply.status == 422 and "'theirs'" in reply.body["message"]
        assert api.objects[path]["data"] == {"k": "theirs"} and api.objects[path]["metadata"]["annotations"] == {}

    run(story)


def test_an_object_that_another_run_has_still_to_put_back_is_refused_and_steps_of_one_run_share_the_note() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(NODE, {"spec": {}})
        taint = Patch(NODE_REF, (Item("/spec/taints", {"key": "k", "effect": "NoSchedule"}, adding=True),))
        assert (await cluster.perform(CORDON, MARK)).status == 200
        assert (await cluster.perform(taint, "run-2/0.0")).status == 422
        assert (await cluster.perform(taint, "run-1/1.0")).status == 200
        assert (await cluster.perform(_undo(), MARK, undoing=True)).status == 200
        note = json.loads(api.objects[NODE]["metadata"]["annotations"]["chaoskit.dev/undo"])
        assert list(note["steps"]) == ["1.0"]

    run(story)


def test_a_list_item_is_found_by_value_and_the_whole_list_is_tested() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        theirs = {"key": "theirs", "effect": "NoSchedule"}
        ours = {"key": "k", "effect": "NoExecute"}
        api.put(NODE, {"spec": {"taints": [theirs]}})
        taint = Patch(NODE_REF, (Item("/spec/taints", ours, adding=True),))
        undo = inverse(taint)
        assert undo is not None
        assert (await cluster.perform(taint, MARK)).status == 200
        assert {"op": "test", "path": "/spec/taints", "value": [theirs]} in api.sent("PATCH")[0].body
        api.objects[NODE]["spec"]["taints"] = [theirs, {**ours, "timeAdded": "2026-11-25T00:00:00Z"}, {"key": "new"}]
        assert (await cluster.perform(undo, MARK, undoing=True)).status == 200
        assert api.objects[NODE]["spec"]["taints"] == [theirs, {"key": "new"}]

    run(story)


def test_a_patch_that_fails_only_because_our_look_was_stale_is_composed_again() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(NODE, {"spec": {"taints": [{"key": "a"}]}})

        async def raced(request: web.Request) -> None:
            if request.method == "PATCH" and len(api.sent("PATCH")) == 1:
                api.objects[NODE]["spec"]["taints"].append({"key": "b"})

        api.trouble = raced
        taint = Patch(NODE_REF, (Item("/spec/taints", {"key": "k"}, adding=True),))
        assert (await cluster.perform(taint, MARK)).status == 200
        assert [t["key"] for t in api.objects[NODE]["spec"]["taints"]] == ["a", "b", "k"]

    run(story)


def test_a_scale_is_patched_through_its_subresource_without_a_note() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        path = "/apis/apps/v1/namespaces/shop/deployments/web/scale"
        api.put(path, {"spec": {"replicas": 3}, "metadata": {"uid": "uid-web"}})
        scale = Patch(Ref("Deployment", "web", "shop", "uid-web"), (Field("/spec/replicas", 3, 0),), "scale")
        undo = inverse(scale)
        assert undo is not None and (await cluster.perform(scale, MARK)).status == 200
        # Recorded on 1.36.2: a Scale of no replicas has no such key.
        del api.objects[path]["spec"]["replicas"]
        assert await cluster.landed(scale, MARK)
        assert (await cluster.perform(undo, MARK, undoing=True)).status == 200
        assert "annotations" not in api.objects[path]["metadata"] and api.objects[path]["spec"]["replicas"] == 3

    run(story)


def test_what_we_create_carries_our_mark_and_only_that_is_deleted_without_a_uid() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        path = "/apis/apps/v1/namespaces/shop/deployments/web-canary"
        create = Create(Ref("Deployment", "web-canary", "shop"), {"spec": {"replicas": 1}})
        undo = inverse(create)
        assert undo is not None
        assert (await cluster.perform(create, MARK)).status == 201
        meta = api.objects[path]["metadata"]
        assert meta["labels"] == {"chaoskit.dev/run": "run-1"} and meta["annotations"] == {"chaoskit.dev/mark": MARK}
        assert (await cluster.perform(create, MARK)).status == 200, "there already, with our mark"
        assert (await cluster.perform(create, "run-2/0.0")).status == 409
        assert (await cluster.perform(undo, "run-2/0.0", undoing=True)).status == 409 and path in api.objects
        assert (await cluster.perform(undo, MARK, undoing=True)).status == 200 and path not in api.objects
        assert (await cluster.perform(undo, MARK, undoing=True)).status == 404

    run(story)


def test_a_request_to_a_pod_checks_the_uid_and_passes_path_and_body_on() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(POD, {})
        put = Request(POD_REF, 9090, "PUT", "/switches/liveness?a=b", '{"run":"r"}')
        assert (await cluster.perform(put, MARK)).status == 200
        sent = api.sent("PUT")[0]
        assert (sent.path, sent.query, sent.body) == (POD + ":9090/proxy/switches/liveness", {"a": "b"}, {"run": "r"})
        api.put(POD, {"metadata": {"uid": "replacement"}})
        assert (await cluster.perform(put, MARK)).status == 409 and len(api.sent("PUT")) == 1
        with pytest.raises(AnswerLost):
            await cluster.landed(put, MARK)

    run(story)


def test_the_servers_complaint_about_a_pod_does_not_pass_for_the_pods_answer() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(POD, {})
        seen = Answers(POD_REF, 9090, "/switches/liveness", 503)

        async def unreached(request: web.Request) -> web.Response | None:
            words = "error trying to reach service: dial tcp 127.0.0.1:9090: connect: connection refused"
            return status(503, "ServiceUnavailable", words) if "/proxy/" in request.path else None

        async def app(request: web.Request) -> web.Response | None:
            return web.json_response({"error": "no"}, status=503) if "/proxy/" in request.path else None

        api.trouble = unreached
        assert not await cluster.holds(seen)
        api.trouble = app
        assert await cluster.holds(seen)

    run(story)


def test_gone_means_that_very_uid() -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        assert await cluster.holds(Gone(POD_REF))
        api.put(POD, {})
        assert not await cluster.holds(Gone(POD_REF))
        api.put(POD, {"metadata": {"uid": "replacement"}})
        assert await cluster.holds(Gone(POD_REF)) and not await cluster.holds(Gone(Ref("Pod", "web-0", "shop")))

    run(story)


@pytest.mark.parametrize("name", ["../nodes", "a/b", "A", "", "x?y"])
def test_a_name_that_is_none_is_never_put_into_a_url(name: str) -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        with pytest.raises(CouldNotRun):
            await cluster.perform(Delete(Ref("Pod", name, "shop", "u")), MARK)
        assert api.asked == []

    run(story)


@pytest.mark.parametrize("path", ["switches", "/a/../../x", "/a b", "/a\r\nX: y", "/a#b"])
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(POD, {})
        with pytest.raises(CouldNotRun):
            await cluster.perform(Request(POD_REF, 9090, "GET", path), MARK)

    run(story)


def test_a_command_that_the_server_refuses_is_a_reply_and_one_it_does_not_answer_is_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(api: ServedApi, cluster: LiveCluster) -> None:
        api.put(POD, {})
        touch = Exec(POD_REF, "app", ("touch", "/tmp/x"))

        async def forbidden(request: web.Request) -> web.Response | None:
            return status(403, "Forbidden", "pods is forbidden") if request.path.endswith("/exec") else None

        async def silent(request: web.Request) -> None:
            if request.path.endswith("/exec"):
                await asyncio.Event().wait()

        api.trouble = forbidden
        reply = await cluster.perform(touch, MARK)
        assert reply.status == 403 and "Forbidden" in reply.body["message"]
        assert [a.path for a in api.asked] == [POD, POD + "/exec"]
        monkeypatch.setattr(execution, "CONNECT_S", 0.3)
        api.trouble = silent
        with pytest.raises(AnswerLost):
            await cluster.perform(touch, MARK)
        assert (await cluster.perform(Exec(Ref("Pod", "web-0", "shop", "older"), "app", ("true",)), MARK)).status == 409

    run(story)
