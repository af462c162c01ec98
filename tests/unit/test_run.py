"""A run in virtual time: its phases, its ways out, and that each of them puts back. On a fake cluster, with computed traffic."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from chaoskit.experiments.bad_canary import BadCanary, CanaryPatch
from chaoskit.experiments.drain_node import DrainNode
from chaoskit.experiments.fail_readiness import FailReadiness
from chaoskit.experiments.kill_pod import KillPod
from chaoskit.experiments.switches import HttpSwitch
from chaoskit.model.errors import CouldNotRun
from chaoskit.model.event import Event
from chaoskit.model.experiment import Guards
from chaoskit.model.operation import Delete
from chaoskit.model.seams import Reply
from chaoskit.model.target import Target
from chaoskit.model.verdict import Grade
from chaoskit.runner.run import Run
from tests.fake_cluster import FakeCluster, Trouble, answering, shop
from tests.live_runs import FakeTraffic, Story, at
from tests.virtual_time import START_S, run_virtual

CHECKOUT = Target(namespace="shop", deployment="checkout")
SWITCH = HttpSwitch(port=9090, path="/switches/readiness")


def kill(cluster: FakeCluster | None = None, **more: object) -> Story:
    return Story(cluster or shop(), KillPod(), CHECKOUT, **more)  # type: ignore[arg-type]


def drain(cluster: FakeCluster | None = None, **more: object) -> Story:
    return Story(cluster or shop(), DrainNode(), Target(namespace="shop", node_of="checkout"), **more)  # type: ignore[arg-type]


def unready(cluster: FakeCluster | None = None, **more: object) -> Story:
    return Story(cluster or shop(), FailReadiness(http=SWITCH), CHECKOUT, **more)  # type: ignore[arg-type]


def canary(cluster: FakeCluster | None = None, **more: object) -> Story:
    fault = BadCanary(patch=CanaryPatch(env={"BROKEN": "requests"}))
    return Story(cluster or shop(), fault, CHECKOUT, **more)  # type: ignore[arg-type]


def cordoned(cluster: FakeCluster) -> list[str]:
    nodes = [node for node in cluster.store.of("Node") if node["spec"].get("unschedulable")]
    return [node["metadata"]["name"] for node in nodes]


def test_a_killed_pod_that_is_replaced_in_time_passes() -> None:
    story = kill(slos=("availability >= 99%", "replicasRestored", "onlyReadyEndpoints"))
    verdict = run_virtual(story.tell())
    assert verdict.passed, verdict
    assert [event.data["name"] for event in story.journal.of("phase")] == [
        "warm-up",
        "baseline",
        "inject",
        "hold",
        "revert",
        "settle",
        "ended",
    ]


def test_a_durable_intent_precedes_every_mutation() -> None:
    story = kill()
    intents_when_sent: list[int] = []
    story.cluster.at = lambda where, op: (
        intents_when_sent.append(len(story.journal.of("stage.intended"))) if where == "send" else None
    )
    run_virtual(story.tell())
    assert intents_when_sent == [1]


def test_failed_requests_during_the_fault_fail_the_availability() -> None:
    story = kill(traffic=FakeTraffic(status_at=lambda t: 503 if START_S + 8 < t < START_S + 10 else 200))
    verdict = run_virtual(story.tell())
    assert verdict.grade is Grade.FAIL
    assert "503" in verdict.because


def test_a_breached_baseline_is_inconclusive_and_nothing_is_injected() -> None:
    story = kill(traffic=FakeTraffic(status_at=lambda t: 500))
    verdict = run_virtual(story.tell())
    assert verdict.grade is Grade.INCONCLUSIVE
    assert "baseline" in {premise.slo for premise in verdict.premises if premise.grade is not Grade.PASS}
    assert story.cluster.sent == []


def test_a_fault_that_has_no_effect_is_not_injected_whatever_else_was_found() -> None:
    class Idle(FakeCluster):
        async def perform(self, op: object, mark: str, *, undoing: bool = False) -> Reply:
            return Reply(200, {})

    idle = Idle(shop().store)
    verdict = run_virtual(kill(idle).tell())
    assert verdict.grade is Grade.INCONCLUSIVE
    assert "not injected" in verdict.because


def test_traffic_that_stops_before_the_fault_is_no_traffic() -> None:
    traffic = FakeTraffic()
    story = kill(traffic=traffic)

    def fall_silent(event: Event) -> None:
        if event.kind == "phase" and event.data["name"] == "inject":
            traffic.silent_from = event.t_ns / 1e9

    story.journal.listeners.append(fall_silent)
    verdict = run_virtual(story.tell())
    assert verdict.grade is Grade.INCONCLUSIVE
    assert "no traffic" in verdict.because


def test_a_warm_up_that_never_holds_the_rate_ends_without_a_fault() -> None:
    story = kill(traffic=FakeTraffic(rate=10.0))  # planned are 100/s
    verdict = run_virtual(story.tell())
    assert verdict.grade is Grade.INCONCLUSIVE
    assert story.run is not None and "warm-up" in story.run.aborted
    assert story.cluster.sent == []


def test_a_drain_is_uncordoned_and_its_evictions_come_after_the_cordon() -> None:
    story = drain()
    verdict = run_virtual(story.tell())
    assert verdict.passed, verdict
    sent = [type(each.op).__name__ for each in story.cluster.sent]
    assert sent[0] == "Patch" and sent[-1] == "Patch" and set(sent[1:-1]) == {"Evict"}
    assert cordoned(story.cluster) == []


def test_a_node_that_somebody_else_cordoned_is_refused_and_stays_cordoned() -> None:
    cluster = shop(nodes=1)
    node = cluster.store.of("Node")[0]
    cluster.store.put("Node", {**node, "spec": {**node["spec"], "unschedulable": True}})
    with pytest.raises(CouldNotRun, match="cordoned already"):
        run_virtual(drain(cluster).tell())
    assert cluster.sent == [] and len(cordoned(cluster)) == 1


@pytest.mark.parametrize("seconds", [0.5, 3.0, 6.2, 8.0, 12.0, 17.0, 19.0])
@pytest.mark.parametrize("make", [kill, drain, unready, canary])
def test_an_abort_at_any_time_puts_back(make: object, seconds: float) -> None:
    cluster = shop()
    before = snapshot(cluster)

    async def told() -> Story:
        story: Story = make(cluster)  # type: ignore[operator]
        await story.play(lambda run: at(seconds, lambda: run.abort("SIGINT")))
        await asyncio.sleep(60)
        return story

    story = run_virtual(told())
    assert story.run is not None and story.run.aborted == "SIGINT"
    assert story.run.restored == "yes"
    assert snapshot(cluster) == before


@pytest.mark.parametrize("seconds", [3.0, 6.005, 6.02, 12.0])
@pytest.mark.parametrize("make", [drain, unready, canary])
def test_a_cancelled_run_puts_back_even_when_its_answer_is_slow(make: object, seconds: float) -> None:
    cluster = shop()
    cluster.latency_s = 0.4
    before = snapshot(cluster)

    async def told() -> None:
        story: Story = make(cluster)  # type: ignore[operator]
        task = asyncio.ensure_future(story.play())
        at(seconds, task.cancel)
        at(seconds + 0.1, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.sleep(60)

    run_virtual(told())
    assert snapshot(cluster) == before


def test_a_guard_that_is_breached_aborts_within_its_window_and_fails() -> None:
    story = unready(
        guards=Guards(keep=("availability >= 50% over 2s",)),
        traffic=FakeTraffic(status_at=lambda t: 503 if t > START_S + 8 else 200),
    )
    verdict = run_virtual(story.tell())
    assert story.run is not None and "guard" in story.run.aborted
    revert = next(event for event in story.journal.of("phase") if event.data["name"] == "revert")
    assert revert.t_ns / 1e9 - START_S < 8 + 2 + 1
    assert verdict.grade is not Grade.PASS


def test_a_fault_that_crashes_is_put_back_and_said() -> None:
    class Crashing(KillPod):
        async def stages(self, view: object, aim: object):  # type: ignore[no-untyped-def]
            async for stage in KillPod.stages(self, view, aim):  # type: ignore[arg-type]
                if told.journal.of("phase"):
                    raise RuntimeError("a bug in a fault")
                yield stage

    told = Story(shop(), Crashing(), CHECKOUT)
    verdict = run_virtual(told.tell())
    assert verdict.grade is Grade.INCONCLUSIVE
    assert told.run is not None and "a bug in a fault" in told.run.aborted


def test_an_eviction_that_a_budget_refuses_is_asked_again_and_then_an_answer() -> None:
    cluster = shop()
    cluster.budget = lambda pod: "needs 3 healthy pods and has 3 currently"
    story = Story(cluster, DrainNode(timeout="12s"), Target(namespace="shop", node_of="checkout"))
    verdict = run_virtual(story.tell())
    evictions = [sent for sent in cluster.sent if type(sent.op).__name__ == "Evict"]
    assert len(evictions) >= 3
    assert story.journal.of("step.refused")
    assert cordoned(cluster) == []
    assert verdict.restored == "yes"


def test_a_lost_answer_is_read_back_and_the_run_goes_on() -> None:
    cluster = shop()
    cluster.trouble = lambda sent: Trouble(lost=True) if isinstance(sent.op, Delete) else Trouble()
    verdict = run_virtual(kill(cluster, slos=("replicasRestored",)).tell())
    assert verdict.passed, verdict
    assert len([sent for sent in cluster.sent if isinstance(sent.op, Delete)]) == 1


def test_an_undo_that_fails_for_a_while_is_tried_again() -> None:
    failures = iter([answering(503)] * 3)
    cluster = shop()
    cluster.trouble = lambda sent: next(failures, Trouble()) if sent.undoing else Trouble()
    story = unready(cluster)
    run_virtual(story.tell())
    assert story.run is not None and story.run.restored == "yes"
    assert switched(cluster) == []


def test_an_undo_that_never_works_is_not_restored_and_says_what_to_do() -> None:
    cluster = shop()
    cluster.trouble = lambda sent: answering(503) if sent.undoing else Trouble()
    story = drain(cluster)
    verdict = run_virtual(story.tell())
    assert verdict.restored == "no"
    blocked = [event for event in story.journal.of("step.undone") if event.data["how"] == "blocked"]
    assert "kubectl uncordon" in blocked[0].data["because"]


def test_a_target_that_changed_between_plan_and_injection_is_refused() -> None:
    async def told() -> Story:
        story = kill()

        def swap() -> None:
            for pod in story.cluster.store.of("Pod"):
                story.cluster.world.end_pod(pod, 0)

        def later(run: Run) -> None:
            at(4.0, swap)

        await story.play(later)
        return story

    story = run_virtual(told())
    assert story.run is not None
    assert [sent for sent in story.cluster.sent if isinstance(sent.op, Delete)] == []


@pytest.mark.parametrize("min_ready", [0, 1])
def test_the_last_ready_pod_is_touched_only_when_the_file_says_so(min_ready: int) -> None:
    story = kill(shop(replicas=1), guards=Guards(min_ready=min_ready))
    if min_ready:
        with pytest.raises(CouldNotRun, match="minReady"):
            run_virtual(story.tell())
        assert story.cluster.sent == []
    else:
        run_virtual(story.tell())
        assert len(story.cluster.sent) == 1


def switched(cluster: FakeCluster) -> list[str]:
    """The uids of the pods in which a switch is on."""
    return [uid for uid, _ in cluster.world.switches]


def snapshot(cluster: FakeCluster) -> object:
    """The desired state of what no controller owns, and how many pods are switched."""
    kept = {
        (kind, obj["metadata"]["name"]): (
            obj.get("spec"),
            obj["metadata"].get("labels"),
            obj["metadata"].get("annotations") or None,
        )
        for kind in ("Node", "Deployment", "Service")
        for obj in cluster.store.of(kind)
    }
    return kept, switched(cluster)
