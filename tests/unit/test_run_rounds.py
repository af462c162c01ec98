"""A fault injected several times in one run, in virtual time: fresh targets, windows of their own, and the injection as what is counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise

import pytest

from chaoskit.experiments.drain_node import DrainNode
from chaoskit.experiments.fail_readiness import FailReadiness
from chaoskit.experiments.kill_pod import KillPod
from chaoskit.experiments.switches import HttpSwitch
from chaoskit.model.experiment import Guards
from chaoskit.model.target import Target
from chaoskit.model.verdict import Grade
from chaoskit.runner.run import Run
from tests.fake_cluster import FakeCluster, shop
from tests.live_runs import FakeTraffic, Story, at
from tests.virtual_time import START_S, run_virtual

CHECKOUT = Target(namespace="shop", deployment="checkout")


@dataclass
class Repeated(Story):
    """A story of several rounds."""

    rounds: int = 3

    def repeat(self) -> int:
        return self.rounds


def kill(rounds: int = 3, cluster: FakeCluster | None = None, **more: object) -> Repeated:
    return Repeated(cluster or shop(), KillPod(), CHECKOUT, rounds=rounds, **more)  # type: ignore[arg-type]


def test_each_round_kills_another_pod_and_has_windows_of_its_own() -> None:
    story = kill(slos=("availability >= 99%", "replicasRestored", "recoveredWithin 5s"))
    verdict = run_virtual(story.tell())
    assert verdict.passed, verdict
    intents = story.journal.of("stage.intended")
    assert [event.data["round"] for event in intents] == [0, 1, 2]
    assert len({step["do"]["ref"]["uid"] for event in intents for step in event.data["steps"]}) == 3
    assert len({step["id"] for event in intents for step in event.data["steps"]}) == 3
    names = [event.data["name"] for event in story.journal.of("phase")]
    assert names == ["warm-up", "baseline", *["inject", "hold", "revert", "settle"] * 3, "ended"]
    windows = story.history.windows("run")
    assert [window.round for window in windows] == [0, 1, 2]
    assert all(early.end_ns == late.start_ns for early, late in pairwise(windows))
    assert len(story.history.windows("baseline")) == 1


def test_the_recovery_times_of_all_injections_stand_in_the_finding() -> None:
    story = kill(slos=("replicasRestored",))
    verdict = run_virtual(story.tell())
    finding = verdict.findings[0]
    assert len(finding.rounds) == 3
    assert all(seconds is not None and 0.5 < seconds < 3 for seconds in finding.rounds)
    assert "over 3 injections" in finding.because
    assert "0 of 3 broke it: at most 63.2 % would (95 % sure)" in finding.because


def test_one_broken_round_breaks_the_promise_and_is_named() -> None:
    story = kill(slos=("availability >= 99%",))

    def spoil(run: Run) -> None:
        story.traffic = story.traffic or FakeTraffic()
        story.traffic.status_at = lambda t: 503 if _in_round(story, t, 1) else 200

    verdict = run_virtual(story.tell(spoil))
    assert verdict.grade is Grade.FAIL
    assert verdict.because.startswith("round 2 of 3: ")
    assert "1 of 3 broke it" in verdict.because


def _in_round(story: Story, t_s: float, number: int) -> bool:
    begun = [event.t_ns / 1e9 for event in story.journal.of("stage.intended") if event.data["round"] == number]
    return bool(begun) and begun[0] + 1 <= t_s < begun[0] + 3


def test_a_round_that_does_not_settle_is_not_followed_by_another() -> None:
    cluster = shop()
    cluster.world.replaced_after_s = None
    story = kill(cluster=cluster, slos=("replicasRestored",))
    verdict = run_virtual(story.tell())
    assert verdict.grade is Grade.FAIL
    assert len(story.journal.of("stage.intended")) == 1
    assert story.run is not None and "round 1 did not settle" in story.run.aborted


def test_the_guards_hold_in_every_round() -> None:
    async def told() -> Repeated:
        cluster = shop()
        story = kill(cluster=cluster, slos=("availability >= 99%",), guards=Guards(min_ready=2))

        def shrink() -> None:  # while the second round settles, somebody else takes the deployment down to one
            cluster.world.replaced_after_s = None
            for pod in list(cluster.store.of("Pod"))[:1]:
                cluster.world.end_pod(pod, 0)

        await story.play(lambda run: at(30.0, shrink))
        return story

    story = run_virtual(told())
    assert story.run is not None and "minReady" in story.run.aborted
    assert len(story.journal.of("stage.intended")) == 2


@pytest.mark.parametrize("seconds", [18.0, 22.0, 27.0, 31.0, 40.0, 55.0])
def test_an_abort_in_any_round_puts_back(seconds: float) -> None:
    fault = FailReadiness(http=HttpSwitch(port=9090, path="/switches/readiness"))
    cluster = shop()
    story = Repeated(cluster, fault, CHECKOUT, slos=("availability >= 99%",))

    async def told() -> None:
        await story.play(lambda run: at(seconds, lambda: run.abort("SIGINT")))
        await asyncio.sleep(60)

    run_virtual(told())
    assert story.run is not None and story.run.restored == "yes"
    assert story.run.aborted in ("SIGINT", "")
    assert not cluster.world.switches


def test_a_drain_of_several_rounds_uncordons_after_each() -> None:
    cluster = shop()
    story = Repeated(
        cluster, DrainNode(), Target(namespace="shop", node_of="checkout"), slos=("replicasRestored",), rounds=2
    )
    verdict = run_virtual(story.tell())
    assert verdict.restored == "yes"
    assert [event.data["round"] for event in story.journal.of("stage.intended")] in ([0, 0, 1, 1], [0, 0, 0, 1, 1, 1])
    assert not [node for node in cluster.store.of("Node") if node["spec"].get("unschedulable")]


def test_a_fault_that_somebody_else_undoes_early_did_not_last() -> None:
    fault = FailReadiness(http=HttpSwitch(port=9090, path="/switches/readiness"))
    cluster = shop()
    story = Story(cluster, fault, CHECKOUT, slos=("availability >= 99%",))
    verdict = run_virtual(story.tell(lambda run: at(9.0, cluster.world.switches.clear)))
    assert verdict.grade is Grade.INCONCLUSIVE
    assert "the fault did not last" in verdict.because
    assert START_S < 1e6
