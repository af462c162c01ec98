"""Others work on the same cluster meanwhile: a person, an HPA, a GitOps controller, a second runner, a runner that slept, a node that reboots.

Whatever they do and whenever, chaoskit overwrites nothing of theirs and leaves nothing of its own. A Hypothesis state machine; the nightly report
runs it for thousands of sequences.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from chaoskit.model.errors import ChaosError
from chaoskit.model.resource import Ref
from chaoskit.runner.recover import Scope, recover_all
from tests.fake_cluster import FakeCluster
from tests.live_runs import Story
from tests.safety.dying import FAULTS, Died, Mortal, freed, labelled_shop
from tests.virtual_time import VirtualLoop

DEPLOYMENT = Ref("Deployment", "checkout", "shop")
FOREIGN = "example.com/foreign"


class Others(RuleBasedStateMachine):
    """One cluster with all of them on it. `theirs` is what others set last, and what must therefore still be there in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.theirs: dict[tuple[str, str, str], object] = {}
        self.runs: list[asyncio.Task[Any]] = []
        self.mortals: list[Mortal] = []
        self.began = 0

    @initialize()
    def begin(self) -> None:
        async def made() -> FakeCluster:
            return labelled_shop()

        self.cluster = self._do(made())
        self.nodes = [node["metadata"]["name"] for node in self.cluster.store.of("Node")]

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def _now(self, what: Callable[[], Any]) -> None:
        async def at_once() -> None:
            what()

        self._do(at_once())

    # -- chaoskit

    @rule(name=st.sampled_from([*FAULTS, "scaleTo", "drainNode"]), then_s=st.sampled_from([7.0, 5.1, 5.04, 0.0]))
    @precondition(lambda self: self.began < 3)
    def a_run_begins(self, name: str, then_s: float) -> None:
        """Perhaps while another is under way: then it is refused. The fault comes a little more than 5 s later."""
        self.began += 1
        fault, target = FAULTS[name]
        run = f"run{self.began}"

        async def start() -> None:
            story = Story(self.cluster, fault, target, traffic=None, slos=("replicasRestored",), run_id=run)
            self.runs.append(asyncio.ensure_future(_quietly(story)))
            await asyncio.sleep(then_s)

        self._do(start())

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, 6.0, 12.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self._do(asyncio.sleep(seconds))

    @rule()
    @precondition(lambda self: any(not task.done() for task in self.runs))
    def the_runner_dies(self) -> None:
        """Every runner of now: from here on they do nothing, and what they sent lands."""

        async def die() -> None:
            mortal = Mortal(0)
            mortal.dead = True
            mortal.possess(self.cluster)
            for task in self.runs:
                task.cancel()
            await asyncio.gather(*self.runs, return_exceptions=True)
            freed(self.cluster)

        self._do(die())

    @rule(force=st.booleans())
    def somebody_recovers(self, force: bool) -> None:
        """By force also what is under way: its runner is fenced, as one that slept."""
        self._do(recover_all(self.cluster, Scope("shop"), force=force))

    # -- the others

    @rule(data=st.data())
    def a_person_cordons_or_uncordons_a_node(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.nodes))
        value = data.draw(st.sampled_from([True, None]))

        def change() -> None:
            node = self.cluster.store.find("Node", name)
            assert node is not None
            spec = {key: old for key, old in node["spec"].items() if key != "unschedulable"}
            self.cluster.store.put("Node", {**node, "spec": spec | ({"unschedulable": True} if value else {})})
            # What chaoskit has just set to the same value cannot be told from the person's: no tool could.
            if bool(node["spec"].get("unschedulable")) != bool(value):
                self.theirs["Node", name, "unschedulable"] = value

        self._now(change)

    @rule(replicas=st.integers(1, 6))
    def an_autoscaler_scales(self, replicas: int) -> None:
        self._now(lambda: self._change_deployment("replicas", replicas))

    def _change_deployment(self, what: str, value: Any) -> None:
        live = self.cluster.store.named(DEPLOYMENT)
        if live is None:
            return
        before = live["spec"]["replicas"] if what == "replicas" else live["metadata"]["labels"].get("tier")
        if what == "replicas":
            self.cluster.store.change(live, spec={"replicas": value})
        else:
            self.cluster.store.change(live, metadata={"labels": {**live["metadata"]["labels"], "tier": value}})
        if before != value:
            self.theirs["Deployment", "checkout", what] = value

    @rule(tier=st.sampled_from(["front", "middle", "edge"]))
    def a_gitops_controller_sets_a_label(self, tier: str) -> None:
        self._now(lambda: self._change_deployment("tier", tier))

    @rule(data=st.data())
    def somebody_annotates(self, data: st.DataObject) -> None:
        kind, name, place = data.draw(
            st.sampled_from([("Deployment", "checkout", "shop"), *(("Node", name, "") for name in self.nodes)])
        )
        value = data.draw(st.sampled_from(["a", "b"]))

        def change() -> None:
            live = self.cluster.store.find(kind, name, place)
            assert live is not None
            annotations = {**(live["metadata"].get("annotations") or {}), FOREIGN: value}
            self.cluster.store.change(live, metadata={"annotations": annotations})
            self.theirs[kind, name, FOREIGN] = value

        self._now(change)

    @rule(data=st.data())
    def a_node_reboots(self, data: st.DataObject) -> None:
        """Its pods are gone, and with them what was switched in them; what the API stores stays."""
        name = data.draw(st.sampled_from(self.nodes))

        def reboot() -> None:
            for pod in self.cluster.store.of("Pod"):
                if pod["spec"].get("nodeName") == name:
                    self.cluster.world.end_pod(pod, 0)

        self._now(reboot)

    # -- the end

    def teardown(self) -> None:
        try:
            if hasattr(self, "cluster"):
                self._do(self._ended())
        finally:
            self.runner.close()

    async def _ended(self) -> None:
        await asyncio.gather(*self.runs, return_exceptions=True)
        await asyncio.sleep(10.0)
        report = await recover_all(self.cluster, Scope("shop"))
        assert report.is_clean and not report.alive, report
        await asyncio.sleep(5.0)
        assert not [obj for kind in ("Lease", "ConfigMap") for obj in self.cluster.store.of(kind)]
        assert not any(
            "chaoskit.dev/undo" in (obj["metadata"].get("annotations") or {})
            for obj in self.cluster.store.objects.values()
        )
        living = {uid for uid, _ in self.cluster.world.switches if self.cluster.store.living(uid)}
        assert not living, "a switch is still on"
        for (kind, name, what), value in self.theirs.items():
            assert self._live(kind, name, what) == value, f"{kind} {name}: {what} was {value}, set by others"
        for name in self.nodes:
            if ("Node", name, "unschedulable") not in self.theirs:
                assert self._live("Node", name, "unschedulable") is None

    def _live(self, kind: str, name: str, what: str) -> object:
        live = self.cluster.store.find(kind, name, "shop" if kind == "Deployment" else "")
        assert live is not None
        if what == FOREIGN:
            return live["metadata"]["annotations"].get(FOREIGN)
        if what == "tier":
            return live["metadata"]["labels"].get("tier")
        return live["spec"].get(what)


async def _quietly(story: Story) -> None:
    with contextlib.suppress(ChaosError, Died, BaseExceptionGroup):
        await story.play()


def sequences(count: int, *, shrinking: bool = True) -> None:
    """Run that many sequences. Raises with one that goes wrong, made as short as can be unless told otherwise."""
    run_state_machine_as_test(
        Others,
        settings=settings(
            max_examples=count,
            stateful_step_count=12,
            deadline=None,
            phases=[Phase.generate, *([Phase.shrink] if shrinking else [])],
            derandomize=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


def test_nothing_of_others_is_overwritten_and_nothing_of_ours_is_left() -> None:
    sequences(30)


def test_an_undo_that_does_not_test_the_value_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sabotage: an undo that overwrites whatever is there."""
    from chaoskit.model.operation import Patch
    from tests import fake_cluster

    def blind(op: Patch, live: Any, mark: str, undoing: bool) -> str:
        return ""

    def forced(op: Patch, live: Any, mark: str, undoing: bool) -> Any:
        from chaoskit.cluster.patch import json_patch

        return [part for part in json_patch(op, live, mark, undoing) if part["op"] != "test"]

    monkeypatch.setattr(fake_cluster, "mismatch", blind)
    monkeypatch.setattr(fake_cluster, "json_patch", forced)
    with pytest.raises(AssertionError):
        sequences(200, shrinking=False)
