"""Verdict and plan on the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console, RenderableType

from chaoskit.experiments.kill_pod import KillPod
from chaoskit.model.experiment import Experiment, Phases, Traffic
from chaoskit.model.operation import rights
from chaoskit.model.plan import LeftOut, Plan, Route, Samples
from chaoskit.model.step import Aim, Gone, Stage, Until, step
from chaoskit.model.target import Target
from chaoskit.model.verdict import Grade
from chaoskit.reports.forecast import Circumstances, render_plan, render_plan_shortly
from chaoskit.reports.terminal import render_verdict
from chaoskit.slos import parse_slo
from tests.histories import kill, shop
from tests.reports.stories import BOUND, killed_pod, verdict


def _shown(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=120, markup=False, highlight=False, emoji=False)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _plan() -> tuple[Experiment, Plan]:
    target = Target(namespace="shop", deployment="shop")
    experiment = Experiment(
        name="shop-survives", target=target, fault=KillPod(), traffic=Traffic(service="shop"), phases=Phases()
    )
    killing = step(kill("a"), Until(Gone(kill("a").ref), 45.0))
    plan = Plan(
        aim=Aim(target, 42, "bcdfghjk"),
        subject=shop(victims=("a",)),
        foreseen=(Stage((killing,)),),
        rights=rights(killing.do),
        promises=(parse_slo("availability >= 99.9%"), parse_slo("replicasRestored")),
        bounds={"replicasRestored": BOUND},
        left_out=(LeftOut("onlyReadyEndpoints", "not named under slos"),),
        samples=(Samples("availability", "fault", 500, 1000),),
        route=Route("nodePort", "http://10.0.0.1:30000", "the first that answered"),
        server="https://127.0.0.1:6443",
        context="staging",
        expected_s=32.0,
        settle_s=20.0,
    )
    return experiment, plan


def test_a_verdict_shows_each_finding_with_numbers_and_what_to_keep() -> None:
    text = _shown(render_verdict(killed_pod(), verdict(), "shop-survives", "runs/x"))
    for part in (
        "✗ shop-survives: FAIL: 95 % of 1000",
        "✓ PASS",
        "95 %",
        "99 %",
        "7 s = 5 s a pod",
        "seed     42",
        "folder   runs/x",
    ):
        assert part in text, part


def test_a_bound_that_the_reason_tells_already_is_not_told_twice() -> None:
    judged = verdict()
    told = replace(judged.findings[1], because=f"back after 3 s, allowed {BOUND}")
    text = _shown(render_verdict(killed_pod(), replace(judged, findings=(told,)), "x", "y"))
    assert "bound:" not in text
    assert "bound:" in _shown(render_verdict(killed_pod(), judged, "x", "y"))


def test_control_characters_of_a_cluster_do_not_reach_the_terminal() -> None:
    text = _shown(render_verdict(killed_pod(), verdict(because="\x1b[2Jgone [bold]now[/bold]"), "x", "y"))
    assert "\x1b" not in text
    assert "[bold]now[/bold]" in text


def test_what_was_not_put_back_is_told() -> None:
    assert "NOT everything was put back" in _shown(
        render_verdict(killed_pod(), verdict(Grade.PASS, restored="no"), "x", "y")
    )


def test_a_plan_tells_whom_what_undo_and_bounds() -> None:
    text = _shown(render_plan(*_plan(), Circumstances("", (("locustfile", "load.py"),))))
    for part in (
        "context staging at https://127.0.0.1:6443",
        "pod   shop/a",
        "replicaset rs",
        "deployment shop/shop  2 ready of 3 pods stay untouched",
        "0.0  delete pod shop/a",
        "if       uid a",
        "undo     irreversible",
        "witness  pod shop/a gone (uid a), within 45 s",
        "delete pods in shop",
        "http://10.0.0.1:30000/ by nodePort",
        "the first that answered",
        "availability >= 99.9 % (500 requests sent, 1000 needed: TOO FEW)",
        "replicasRestored within 7 s = 5 s a pod created (assumed (pod-startup-slo=5s)) + 2 s observation",
        "onlyReadyEndpoints  not named under slos",
        "about 32 s in all",
        "locustfile  load.py",
        "seed     42",
    ):
        assert part in text, part


def test_a_short_plan_tells_the_same_without_sums() -> None:
    text = _shown(render_plan_shortly(*_plan(), Circumstances("fast", (("manifests", "m"),))))
    for part in (
        "profile fast",
        "delete pod shop/a (its own grace period); irreversible",
        "replicasRestored within 7 s",
        "manifests m",
    ):
        assert part in text, part
    assert "a pod created" not in text
