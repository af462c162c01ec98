"""The fake cluster and the virtual clock do what the tests of the runner and of the faults lean on."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing

import pytest

from chaoskit.model.errors import AnswerLost, ClusterError, NotFound
from chaoskit.model.operation import ABSENT, Create, Delete, Evict, Exec, Field, Operation, Patch, Request, inverse
from chaoskit.model.resource import Ref, ref_of
from chaoskit.model.seams import Cluster, Seen
from chaoskit.model.step import Answers, Exits, Gone
from tests.fake_cluster import NAMESPACE, FakeCluster, Trouble, answering, shop
from tests.fake_world import is_ready
from tests.virtual_time import run_virtual

MARK = "run-1/0.0"


def _cordon(cluster: FakeCluster) -> Patch:
    node = cluster.store.find("Node", "node-1")
    assert node is not None
    return Patch(ref_of(node), (Field("/spec/unschedulable", ABSENT, True),))


def _undo(op: Operation) -> Operation:
    undo = inverse(op)
    assert undo is not None
    return undo


def test_an_hour_passes_at_once_and_is_asserted() -> None:
    began = time.monotonic()
    run_virtual(asyncio.sleep(3600), lasting_s=3600)
    assert time.monotonic() - began < 1
    with pytest.raises(AssertionError, match="not 5"):
        run_virtual(asyncio.sleep(6), lasting_s=5)


def test_a_deadlock_is_an_error_and_not_a_hang() -> None:
    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        run_virtual(asyncio.Event().wait())


def test_it_is_a_cluster() -> None:
    async def story() -> None:
        cluster: Cluster = shop()
        assert len(await cluster.list("Pod", NAMESPACE, labels="app=checkout")) == 3
        assert len(await cluster.list("Pod", fields="spec.nodeName=node-1")) == 1
        with pytest.raises(NotFound):
            await cluster.get(Ref("Node", "node-9"))

    run_virtual(story())


def test_a_deleted_pod_is_replaced_and_ready_after_the_configured_times_and_endpoints_follow() -> None:
    async def story() -> None:
        cluster = shop()
        cluster.world.replaced_after_s, cluster.world.ready_after_s = 2.0, 7.0
        victim = cluster.pods()[0]
        assert (await cluster.perform(Delete(victim), MARK)).status == 200
        assert not await cluster.holds(Gone(victim))
        await asyncio.sleep(1.0)
        assert await cluster.holds(Gone(victim)) and len(cluster.pods()) == 2
        await asyncio.sleep(1.0)
        assert len(cluster.pods()) == 3 and len(_ready_endpoints(cluster)) == 2
        await asyncio.sleep(7.1)
        assert len(_ready_endpoints(cluster)) == 3
        deployment = await cluster.get(Ref("Deployment", "checkout", NAMESPACE))
        assert deployment["status"]["availableReplicas"] == 3

    run_virtual(story())


def _ready_endpoints(cluster: FakeCluster) -> list[str]:
    slice_ = cluster.store.find("EndpointSlice", "checkout-1", NAMESPACE)
    assert slice_ is not None
    return [e["targetRef"]["name"] for e in slice_["endpoints"] if e["conditions"]["ready"]]


def test_a_stale_uid_is_refused_and_the_replacement_spared() -> None:
    async def story() -> None:
        cluster = shop()
        pod = cluster.pods()[0]
        for op in (Delete(Ref("Pod", pod.name, NAMESPACE, "older")), Evict(Ref("Pod", pod.name, NAMESPACE, "older"))):
            assert (await cluster.perform(op, MARK)).status == 409
        assert len(cluster.pods()) == 3 and cluster.landed_ops == []

    run_virtual(story())


def test_a_request_lands_although_its_caller_was_cancelled() -> None:
    async def story() -> None:
        cluster = shop()
        caller = asyncio.create_task(cluster.perform(_cordon(cluster), MARK))
        await asyncio.sleep(0.001)
        caller.cancel()
        await asyncio.wait({caller})
        assert caller.cancelled() and "unschedulable" not in cluster.store.of("Node")[0]["spec"]
        await asyncio.sleep(0.004)
        assert cluster.store.of("Node")[0]["spec"]["unschedulable"] is True

    run_virtual(story())


def test_a_request_lands_although_its_caller_died_in_sending() -> None:
    class Died(BaseException):
        pass

    def die(where: str, op: Operation) -> None:
        if where == "send":
            raise Died

    async def story() -> None:
        cluster = shop()
        cluster.at = die
        with pytest.raises(Died):
            await cluster.perform(Delete(cluster.pods()[0]), MARK)
        await asyncio.sleep(1)
        assert len(cluster.landed_ops) == 1

    run_virtual(story())


@pytest.mark.parametrize(
    ("trouble", "lands"),
    [
        (Trouble(lost=True), True),
        (Trouble(lost=True, lands_after_s=None), False),
        (Trouble(lost=True, lands_after_s=4.0), True),
        (Trouble(hangs=True), True),
        (Trouble(hangs=True, lands_after_s=None), False),
    ],
)
def test_a_lost_answer_leaves_the_effect_to_be_read_back(trouble: Trouble, lands: bool) -> None:
    async def story() -> None:
        cluster = shop()
        cordon = _cordon(cluster)
        cluster.trouble = lambda sent: trouble
        with pytest.raises(AnswerLost):
            await cluster.perform(cordon, MARK)
        assert await cluster.landed(cordon, MARK) is lands

    run_virtual(story())


@pytest.mark.parametrize("status", [409, 422, 429, 500, 503])
def test_a_refusal_has_no_effect(status: int) -> None:
    async def story() -> None:
        cluster = shop()
        cluster.trouble = lambda sent: answering(status, retry_after_s=10)
        assert await cluster.perform(Delete(cluster.pods()[0]), MARK) == answering(status, retry_after_s=10).refused
        cluster.trouble = lambda sent: Trouble(unreachable=True)
        with pytest.raises(ClusterError):
            await cluster.perform(Delete(cluster.pods()[0]), MARK)
        await asyncio.sleep(10)
        assert cluster.landed_ops == []

    run_virtual(story())


def test_cordon_and_uncordon_leave_everything_as_it_was_and_a_strangers_cordon_stays() -> None:
    async def story() -> None:
        cluster = shop()
        before = cluster.store.snapshot("Node")
        cordon = _cordon(cluster)
        assert (await cluster.perform(cordon, MARK)).status == 200
        assert await cluster.landed(cordon, MARK) and not await cluster.landed(_undo(cordon), MARK)
        assert cluster.store.snapshot("Node") != before
        assert (await cluster.perform(_undo(cordon), MARK, undoing=True)).status == 200
        assert cluster.store.snapshot("Node") == before
        node = cluster.store.find("Node", "node-1")
        assert node is not None
        cluster.store.change(node, spec={"unschedulable": True})
        assert (await cluster.perform(_undo(cordon), MARK, undoing=True)).status == 422

    run_virtual(story())


def test_a_budget_refuses_an_eviction_until_it_permits_it_and_pods_avoid_a_cordoned_node() -> None:
    async def story() -> None:
        cluster = shop()
        assert (await cluster.perform(_cordon(cluster), MARK)).status == 200
        (pod,) = await cluster.list("Pod", fields="spec.nodeName=node-1")
        evict = Evict(ref_of(pod))
        cluster.budget = lambda pod: "Cannot evict pod as it would violate the pod's disruption budget."
        assert (await cluster.perform(evict, MARK)).status == 429
        cluster.budget = lambda pod: ""
        assert (await cluster.perform(evict, MARK)).status == 201
        await asyncio.sleep(2)
        assert len(cluster.pods()) == 3 and await cluster.list("Pod", fields="spec.nodeName=node-1") == []

    run_virtual(story())


def test_what_is_created_gets_pods_behind_the_same_service_and_goes_with_its_mark_only() -> None:
    async def story() -> None:
        cluster = shop()
        stable = await cluster.get(Ref("Deployment", "checkout", NAMESPACE))
        create = Create(Ref("Deployment", "canary", NAMESPACE), {"spec": {**stable["spec"], "replicas": 1}})
        assert (await cluster.perform(create, MARK)).status == 201
        await asyncio.sleep(2)
        assert len(_ready_endpoints(cluster)) == 4
        assert (await cluster.perform(_undo(create), "run-2/0.0", undoing=True)).status == 409
        assert (await cluster.perform(_undo(create), MARK, undoing=True)).status == 200
        await asyncio.sleep(2)
        assert len(_ready_endpoints(cluster)) == 3

    run_virtual(story())


def _switch(pod: Ref, name: str, method: str = "PUT", run: str = "r", ttl_s: int = 30) -> Request:
    if method == "DELETE":
        return Request(pod, 9090, method, f"/switches/{name}?run={run}")
    return Request(pod, 9090, method, f"/switches/{name}", json.dumps({"run": run, "ttlSeconds": ttl_s}))


@pytest.mark.parametrize("ends", ["by hand", "by itself"])
def test_a_readiness_switch_is_read_back_makes_the_pod_not_ready_and_ends(ends: str) -> None:
    async def story() -> None:
        cluster = shop()
        pod = cluster.pods()[0]
        on = Answers(pod, 9090, "/switches/readiness", 200)
        assert not await cluster.holds(on)
        assert (await cluster.perform(_switch(pod, "readiness"), MARK)).status == 200
        assert await cluster.holds(on)
        assert (await cluster.perform(_switch(pod, "readiness", run="other"), MARK)).status == 409
        await asyncio.sleep(4)
        assert not is_ready(await cluster.get(pod)) and len(_ready_endpoints(cluster)) == 2
        if ends == "by hand":
            assert (await cluster.perform(_switch(pod, "readiness", "DELETE"), MARK, undoing=True)).status == 200
        await asyncio.sleep(4 if ends == "by hand" else 31)
        assert is_ready(await cluster.get(pod)) and not await cluster.holds(on)

    run_virtual(story())


def test_a_liveness_switch_restarts_the_container_in_place() -> None:
    async def story() -> None:
        cluster = shop()
        pod = cluster.pods()[0]
        assert (await cluster.perform(_switch(pod, "liveness"), MARK)).status == 200
        await asyncio.sleep(3.1)
        live = await cluster.get(pod)
        assert live["status"]["containerStatuses"][0]["restartCount"] == 1 and not is_ready(live)
        await asyncio.sleep(1)
        assert is_ready(await cluster.get(pod))

    run_virtual(story())


def test_commands_run_in_a_container() -> None:
    async def story() -> None:
        cluster = shop()
        pod = cluster.pods()[0]
        there = Exits(pod, "app", ("test", "-e", "/tmp/unready"), 0)
        assert not await cluster.holds(there)
        assert (await cluster.perform(Exec(pod, "app", ("touch", "/tmp/unready")), MARK)).status == 200
        assert await cluster.holds(there)

    run_virtual(story())


def test_watches_hear_what_is_there_and_every_change_on_the_loops_clock() -> None:
    async def story() -> None:
        cluster = shop()
        async with aclosing(cluster.store.watch("Pod", NAMESPACE, "")) as stream:
            heard = [await anext(stream) for _ in range(4)]
            await cluster.perform(Delete(cluster.pods()[0], grace_s=0), MARK)
            heard += [await anext(stream), await anext(stream)]
            cluster.store.deafen("Pod", 1, 2)
            gap = await anext(stream)
        assert [s.type for s in heard if isinstance(s, Seen)] == ["LISTED"] * 3 + ["DELETED", "ADDED"]
        assert isinstance(heard[4], Seen) and heard[4].t_ns == 1_000_004_000_000 and not isinstance(gap, Seen)
        assert cluster.store.ears == []

    run_virtual(story())


def test_reads_fail_while_the_cluster_is_blind() -> None:
    async def story() -> None:
        cluster = shop()
        cluster.blind = ClusterError("down", 503)
        with pytest.raises(ClusterError, match="down"):
            await cluster.list("Pod")

    run_virtual(story())
