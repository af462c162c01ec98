"""One runner at a time, told apart by epoch; a halt stops it, a sleeper stops itself, and whoever may write in one namespace only can still run."""

from __future__ import annotations

import asyncio

import pytest

from chaoskit.model.errors import ClusterError, CouldNotRun
from chaoskit.model.resource import Obj, Ref
from chaoskit.runner.claim import claiming
from chaoskit.runner.halt import lift_halt, set_halt
from chaoskit.runner.holder import Holder, is_dead_here, this_process
from chaoskit.runner.recover import Scope, recover_all
from chaoskit.runner.run import Run
from tests.fake_cluster import FakeCluster
from tests.live_runs import Story, at
from tests.safety.dying import FAULTS, labelled_shop, snapshot
from tests.virtual_time import run_virtual


def story_of(name: str, cluster: FakeCluster, run: str = "first") -> Story:
    fault, target = FAULTS[name]
    return Story(cluster, fault, target, traffic=None, slos=("replicasRestored",), run_id=run)


@pytest.mark.parametrize("name", FAULTS)
def test_a_second_runner_is_refused_with_who_is_at_work_and_a_recovery_leaves_the_first_alone(name: str) -> None:
    async def told() -> None:
        cluster = labelled_shop()
        first = asyncio.ensure_future(story_of(name, cluster).play())
        await asyncio.sleep(8.0)
        with pytest.raises(CouldNotRun, match=r"first \(a story\)|cordoned already"):
            await story_of(name, cluster, "second").play()
        report = await recover_all(cluster, Scope("shop"))
        assert "first" in report.alive and not report.recovered
        await first

    run_virtual(told())


def test_a_run_that_is_fenced_sends_no_mutation_any_more_and_stops() -> None:
    async def told() -> None:
        cluster = labelled_shop()
        before = snapshot(cluster)
        story = story_of("drainNode", cluster)
        playing = asyncio.ensure_future(story.play())
        await asyncio.sleep(5.02)
        await recover_all(cluster, Scope("shop"), force=True)
        fenced_at = asyncio.get_running_loop().time()
        await playing
        late = [sent for sent in cluster.sent if not sent.undoing and sent.at_s > fenced_at]
        assert late == [] and story.run is not None and story.run.aborted
        await asyncio.sleep(5.0)
        assert snapshot(cluster) == before

    run_virtual(told())


def test_a_run_that_slept_stops_by_itself() -> None:
    async def told() -> None:
        cluster = labelled_shop()
        slept = {"s": 0.0}
        loop = asyncio.get_running_loop()
        async with claiming(
            cluster, "sleeper", holder=Holder("sleeper", "x"), now_s=lambda: loop.time() + slept["s"]
        ) as claim:
            await claim.check()
            slept["s"] = 600.0
            with pytest.raises(Exception, match="not renewed"):
                await claim.check()
            assert claim.lost

    run_virtual(told())


def test_a_halt_stops_a_run_within_a_second_and_lets_none_begin_until_it_is_lifted() -> None:
    async def told() -> None:
        cluster = labelled_shop()
        story = story_of("failReadiness", cluster)
        playing = asyncio.ensure_future(story.play())
        await asyncio.sleep(8.0)
        halted_at = asyncio.get_running_loop().time()
        await set_halt(cluster, "chaoskit", "an incident")
        await playing
        undone = [sent.at_s - halted_at for sent in cluster.sent if sent.undoing]
        assert undone and max(undone) < 1.0
        assert story.run is not None and "an incident" in story.run.aborted
        with pytest.raises(Exception, match="halted"):
            await story_of("killPod", cluster, "next").play()
        assert await lift_halt(cluster, "chaoskit")
        await story_of("killPod", cluster, "after").play()

    run_virtual(told())


def test_whoever_has_rights_in_one_namespace_only_can_run_what_needs_no_more() -> None:
    class OneNamespace(FakeCluster):
        async def find(self, ref: Ref) -> Obj | None:
            if ref.namespace == "chaoskit" or (ref.kind == "Namespace" and ref.name != "shop"):
                raise ClusterError("forbidden", 403, "Forbidden")
            return await super().find(ref)

        async def keep(self, obj: Obj, within_s: float = 10.0) -> Obj:
            if obj["metadata"].get("namespace") != "shop":
                raise ClusterError("forbidden", 403, "Forbidden")
            return await super().keep(obj, within_s)

    async def told() -> None:
        cluster = OneNamespace(labelled_shop().store)
        before = snapshot(cluster)
        story = story_of("failReadiness", cluster)
        await story.play()
        assert story.run is not None and story.run.aborted == "" and story.run.restored == "yes"
        assert snapshot(cluster) == before

    run_virtual(told())


def test_a_front_that_fails_does_not_keep_the_undo_from_being_done() -> None:
    async def told() -> None:
        cluster = labelled_shop()
        before = snapshot(cluster)
        story = story_of("drainNode", cluster)

        def breaks(name: str) -> None:
            raise ValueError(f"cannot draw {name}")

        def meanwhile(run: Run) -> None:
            run._on_phase = breaks
            at(9.0, lambda: run.abort("SIGINT"))

        await story.play(meanwhile)
        assert "cannot draw revert" in str([event.data for event in story.journal.of("phase")])
        await asyncio.sleep(1.0)
        assert snapshot(cluster) == before

    run_virtual(told())


def test_a_journal_that_cannot_be_written_does_not_keep_the_undo_from_being_done() -> None:
    async def told() -> None:
        cluster = labelled_shop()
        story = story_of("failReadiness", cluster)

        def full(kind: str) -> None:
            if kind == "step.undone":
                raise OSError(28, "No space left on device")

        story.journal.on_commit = full
        with pytest.raises(OSError, match="No space"):
            await story.play()
        assert cluster.world.switches == {}

    run_virtual(told())


def test_a_process_is_known_to_be_dead_only_on_its_own_machine() -> None:
    here = this_process("r").process
    boot, namespace, pid, started = here.split("/")
    assert not is_dead_here(here)
    assert is_dead_here(f"{boot}/{namespace}/{pid}/{int(started) + 1}")
    assert not is_dead_here(f"another-boot/{namespace}/{pid}/1")
    assert not is_dead_here("") and not is_dead_here("x")
