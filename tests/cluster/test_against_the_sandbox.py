"""The whole door on a served cluster: set up an application, do and undo each operation, watch it, take it away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaoskit.cluster import setup
from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import LiveCluster, connect
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.operation import (
    ABSENT,
    Create,
    Delete,
    Evict,
    Exec,
    Field,
    Item,
    Operation,
    Patch,
    Request,
    inverse,
)
from chaoskit.model.resource import Obj, Ref, ref_of
from chaoskit.model.seams import Seen
from chaoskit.model.step import Answers, Condition, Exits, FieldIs, Gone
from chaoskit.runner.recover import find_leftovers
from tests.behaviour.access import Access

STURDY = Path(__file__).parents[2] / "sample-app/manifests/sturdy"
MARK = "run-1/0.0"


def run(kubeconfig: Access, story: Callable[[LiveCluster], Awaitable[None]]) -> None:
    async def told() -> None:
        async with asyncio.timeout(60), connect(read_access(kubeconfig.context, kubeconfig.path)) as cluster:
            await story(cluster)

    asyncio.run(told())


def manifests() -> Sequence[Obj]:
    return [obj for path in sorted(STURDY.glob("*.yaml")) for obj in yaml.safe_load_all(path.read_text())]


@asynccontextmanager
async def app(cluster: LiveCluster, namespace: str) -> AsyncIterator[Sequence[Obj]]:
    """The sample application, available; its checkout pods."""
    applied = await setup.apply(cluster, manifests(), namespace, "run-1")
    try:
        await setup.wait_until_available(cluster, applied, 30)
        yield [pod for pod in await cluster.list("Pod", namespace) if pod["metadata"]["name"].startswith("checkout-")]
    finally:
        assert await setup.remove(cluster, applied, "run-1") == []


async def seen(cluster: LiveCluster, condition: Condition, within_s: float = 15) -> None:
    async with asyncio.timeout(within_s):
        while True:
            if await cluster.holds(condition):
                return
            await asyncio.sleep(0.05)


def undo_of(op: Operation) -> Operation:
    undo = inverse(op)
    assert undo is not None
    return undo


def test_an_application_is_set_up_switched_run_in_evicted_and_taken_away(kubeconfig: Access) -> None:
    async def story(cluster: LiveCluster) -> None:
        async with app(cluster, "door") as pods:
            assert len(pods) >= 2
            one, two = ref_of(pods[0]), ref_of(pods[1])
            on = Answers(one, 9090, "/switches/readiness", 200)
            assert not await cluster.holds(on)
            body = json.dumps({"run": "run-1", "ttlSeconds": 30})
            assert (await cluster.perform(Request(one, 9090, "PUT", "/switches/readiness", body), MARK)).status == 200
            assert await cluster.holds(on)
            off = Request(one, 9090, "DELETE", "/switches/readiness?run=run-1")
            assert (await cluster.perform(off, MARK, undoing=True)).status == 200
            assert not await cluster.holds(on)
            container = pods[0]["spec"]["containers"][0]["name"]
            assert await cluster.holds(Exits(one, container, ("python3", "-c", "raise SystemExit(7)"), 7))
            reply = await cluster.perform(Exec(one, container, ("python3", "-c", "print('hello')")), MARK)
            assert (reply.status, reply.body["stdout"].strip()) == (200, "hello")
            reply = await cluster.perform(Exec(one, container, ("python3", "-c", "raise SystemExit('no')")), MARK)
            assert reply.status == 422 and reply.body["exitCode"] == 1 and "no" in reply.body["message"]
            assert (await cluster.perform(Evict(one), MARK)).status == 201
            assert (await cluster.perform(Delete(two, grace_s=1), MARK)).status == 200
            await seen(cluster, Gone(one))
            await seen(cluster, Gone(two))
        await seen(cluster, Gone(Ref("Namespace", "door")))

    run(kubeconfig, story)


def test_the_next_setup_waits_until_the_namespace_of_the_last_one_is_gone(kubeconfig: Access) -> None:
    async def story(cluster: LiveCluster) -> None:
        uids = set()
        for _ in range(2):
            async with app(cluster, "again"):
                uids.add((await cluster.get(Ref("Namespace", "again")))["metadata"]["uid"])
            leaving = await cluster.get(Ref("Namespace", "again"))
            assert "deletionTimestamp" in leaving["metadata"], "the pods' grace period keeps it for a while"
        assert len(uids) == 2

    run(kubeconfig, story)


def test_leftovers_of_a_namespace_are_those_in_it_and_itself(kubeconfig: Access) -> None:
    async def story(cluster: LiveCluster) -> None:
        config = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "settings"}}
        one = await setup.apply(cluster, [config], "one", "run-1")
        two = await setup.apply(cluster, [config], "two", "run-2")
        found, unseen = await find_leftovers(cluster, "one")
        assert {str(left.step.do.ref) for left in found} == {"namespace one", "configmap one/settings"} and not unseen
        await setup.remove(cluster, one, "run-1")
        await setup.remove(cluster, two, "run-2")

    run(kubeconfig, story)


def test_what_was_there_before_is_neither_changed_nor_taken_away(kubeconfig: Access) -> None:
    async def story(cluster: LiveCluster) -> None:
        config = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "settings"}, "data": {"a": "1"}}
        first = await setup.apply(cluster, [config], "before", "run-1")
        second = await setup.apply(cluster, [config], "before", "run-2")
        assert second.ours == () and {str(ref) for ref in second.found} == {
            "namespace before",
            "configmap before/settings",
        }
        with pytest.raises(CouldNotRun, match="differs at /data/a"):
            await setup.apply(cluster, [{**config, "data": {"a": "2"}}], "before", "run-3")
        await setup.remove(cluster, second, "run-2")
        assert (await cluster.get(Ref("ConfigMap", "settings", "before")))["data"] == {"a": "1"}
        await setup.remove(cluster, first, "run-1")

    run(kubeconfig, story)


def test_an_application_that_cannot_start_says_why(kubeconfig: Access) -> None:
    async def story(cluster: LiveCluster) -> None:
        container: dict[str, Any] = {
            "name": "app",
            "image": "python:3.12-slim",
            "command": ["python3", "-c", "raise SystemExit(3)"],
        }
        # Without a probe a pod counts as available for the moment before it ends.
        container |= {"readinessProbe": {"exec": {"command": ["false"]}}}
        labels = {"app": "broken"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        deployment = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        manifest = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "broken"}, "spec": deployment}
        applied = await setup.apply(cluster, [manifest], "broken", "run-1")
        with pytest.raises(CouldNotRun, match=r"deployment broken/broken: 0 of 1 available after 2 s \(broken-\S+: "):
            await setup.wait_until_available(cluster, applied, 2)
        await setup.remove(cluster, applied, "run-1")

    run(kubeconfig, story)


def _cordon(node: Obj) -> Patch:
    return Patch(ref_of(node), (Field("/spec/unschedulable", ABSENT, True),))


def _taint(node: Obj) -> Patch:
    return Patch(ref_of(node), (Item("/spec/taints", {"key": "chaos", "effect": "NoSchedule"}, adding=True),))


@pytest.mark.parametrize("change", [_cordon, _taint])
def test_a_node_is_as_before_once_a_patch_is_undone(kubeconfig: Access, change: Callable[[Obj], Patch]) -> None:
    async def story(cluster: LiveCluster) -> None:
        before = (await cluster.list("Node"))[0]
        do = change(before)
        assert (await cluster.perform(do, MARK)).status == 200
        assert (await cluster.perform(do, MARK)).status == 422, "its premise holds no more"
        assert await cluster.landed(do, MARK)
        assert (await cluster.perform(undo_of(do), "run-2/0.0", undoing=True)).status == 422
        assert (await cluster.perform(undo_of(do), MARK, undoing=True)).status == 200
        after = await cluster.get(ref_of(before))
        assert _without(after["spec"], "taints") == _without(before["spec"], "taints")
        assert after["metadata"].get("annotations") == before["metadata"].get("annotations")
        assert not any(taint["key"] == "chaos" for taint in after["spec"].get("taints", ()))

    run(kubeconfig, story)


def _without(obj: Obj, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in keys}


def test_a_deployment_is_scaled_created_and_deleted_by_its_mark(kubeconfig: Access) -> None:
    async def story(cluster: LiveCluster) -> None:
        async with app(cluster, "scaled"):
            stable = await cluster.get(Ref("Deployment", "checkout", "scaled"))
            wanted = stable["spec"]["replicas"]
            scale = Patch(ref_of(stable), (Field("/spec/replicas", wanted, 0),), "scale")
            assert (await cluster.perform(scale, MARK)).status == 200 and await cluster.landed(scale, MARK)
            assert await cluster.holds(FieldIs(ref_of(stable), "/spec/replicas", 0))
            assert (await cluster.perform(undo_of(scale), MARK, undoing=True)).status == 200
            labels = {"chaoskit.dev/canary": "run-1"}
            template = {**stable["spec"]["template"], "metadata": {"labels": labels}}
            spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
            create = Create(Ref("Deployment", "canary", "scaled"), {"spec": spec})
            assert [(await cluster.perform(create, MARK)).status for _ in range(2)] == [201, 200]
            assert (await cluster.perform(create, "run-2/0.0")).status == 409
            assert [
                ref_of(d).name
                for d in await cluster.list("Deployment", "scaled", labels="chaoskit.dev/run=run-1")
                if d["metadata"]["name"] == "canary"
            ]
            assert (await cluster.perform(undo_of(create), "run-2/0.0", undoing=True)).status == 409
            assert (await cluster.perform(undo_of(create), MARK, undoing=True)).status == 200
            await seen(cluster, Gone(create.ref))

    run(kubeconfig, story)


def test_a_watch_hears_the_life_of_an_object(kubeconfig: Access) -> None:
    async def story(cluster: LiveCluster) -> None:
        ref = Ref("ConfigMap", "watched", "default")
        async with aclosing(cluster.watch("ConfigMap", "default", labels="chaoskit.dev/run=watching")) as stream:
            first = asyncio.ensure_future(anext(stream))
            await cluster.perform(Create(ref, {"data": {"a": "1"}}), "watching/0")
            heard = [await first]
            live = ref_of(await cluster.get(ref))
            await cluster.perform(Patch(live, (Field("/data/a", "1", "2"),)), "watching/1")
            await cluster.perform(Delete(live), "watching/2")
            while len([s for s in heard if isinstance(s, Seen)]) < 3:
                heard.append(await anext(stream))
        types = [s.type for s in heard if isinstance(s, Seen)]
        assert types[0] in ("LISTED", "ADDED") and types[1:] == ["MODIFIED", "DELETED"]
        assert all(s.obj["metadata"]["uid"] == live.uid for s in heard if isinstance(s, Seen))

    run(kubeconfig, story)
