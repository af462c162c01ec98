"""Ways to a vacuous PASS, each provoked on purpose: INCONCLUSIVE with that reason, and never PASS. V8 is refused by the plan, V16 is no valid file.

V5 (a check that cannot fail) is what the fragile experiments are for: each of them must FAIL.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from chaoskit.experiments.fail_readiness import FailReadiness
from chaoskit.experiments.kill_pod import KillPod
from chaoskit.experiments.switches import HttpSwitch
from chaoskit.model.errors import CouldNotRun, ExperimentError
from chaoskit.model.requests import DROPPED
from chaoskit.model.seams import Reply
from chaoskit.model.subject import Subject
from chaoskit.model.target import Target
from chaoskit.model.verdict import Grade, Verdict
from chaoskit.runner.judge import judge
from chaoskit.runner.load import load_text
from chaoskit.slos import parse_slo
from chaoskit.traffic.plan import GeneratorError
from chaoskit.traffic.route import RouteError, candidates
from tests.fake_cluster import FakeCluster, shop
from tests.histories import Told, endpoint_slice, kill, pod
from tests.histories import service as a_service
from tests.live_runs import FakeTraffic, Story, at
from tests.virtual_time import run_virtual

CHECKOUT = Target(namespace="shop", deployment="checkout")
AVAILABILITY = (parse_slo("availability >= 99%"),)


def told(subject: Subject | None = None, **traffic: object) -> Told:
    """A run of which nothing is wrong: a at 10 s, killed and replaced."""
    made = Told(subject).settled_shop().phases(baseline=0.5, inject=10, hold=10.1, revert=20, settle=20, ended=30)
    planned = {"rate": 100.0, "timeout": 2.0, "arrivals": "constant", "model": "open", "service": "shop", **traffic}
    made.events[0][2]["traffic"] = planned
    made.health(30, "run.ended", restored="yes", because="")
    made.done_and_seen(10, kill("a")).gone("pods", 10.2, pod("a")).see("endpoints", 10.1, endpoint_slice("b", "c"))
    return made.see("pods", 12, pod("d")).see("endpoints", 12.1, endpoint_slice("b", "c", "d"))


def verdict_of(made: Told, *slos: str) -> Verdict:
    return judge(made.history(), [parse_slo(text) for text in slos] or AVAILABILITY)


def inconclusive(verdict: Verdict, *because: str) -> None:
    assert verdict.grade is Grade.INCONCLUSIVE, verdict
    said = "; ".join(f.because for f in (*verdict.premises, *verdict.findings) if f.grade is Grade.INCONCLUSIVE)
    for part in because:
        assert part in said, said


def test_without_a_threat_it_passes() -> None:
    assert verdict_of(told().traffic(0, 30)).grade is Grade.PASS


def test_v1_a_fault_that_never_happened() -> None:
    class Idle(FakeCluster):
        async def perform(self, op: object, mark: str, *, undoing: bool = False) -> Reply:
            return Reply(200, {})

    verdict = run_virtual(Story(Idle(shop().store), KillPod(), CHECKOUT).tell())
    inconclusive(verdict, "not injected", "its effect was not seen")


def test_v2_no_traffic_during_the_fault() -> None:
    inconclusive(verdict_of(told().traffic(0, 9.99)), "no traffic: no request was sent in the window")


def test_v2_a_fault_on_what_nobody_uses() -> None:
    inconclusive(
        verdict_of(told().traffic(0, 30, who=lambda i: "bc"[i % 2])),
        "shop/a was not in use: it had answered none of 1000 requests in the 10 s before",
    )


def test_v2_without_identity_the_claim_is_weaker_and_says_so() -> None:
    verdict = verdict_of(told().traffic(0, 30, who=lambda i: ""))
    assert verdict.grade is Grade.PASS
    in_use = next(premise for premise in verdict.premises if premise.slo == "in use")
    assert "was a ready endpoint for 10 s under fresh traffic (weaker than having served" in in_use.because
    late = told().see("endpoints", 5, endpoint_slice("b", "c")).see("endpoints", 8, endpoint_slice("a", "b", "c"))
    inconclusive(verdict_of(late.traffic(0, 30, who=lambda i: "")), "it was no ready endpoint for the 10 s before")


def test_v3_too_few_samples() -> None:
    inconclusive(verdict_of(told(rate=5.0).traffic(0, 30, rate=5)), "too few requests to decide, 100 are needed")
    inconclusive(
        verdict_of(told().traffic(0, 30), "availability >= 99.9% with confidence 95%"),
        "2995 without a failure would be needed",
    )


def test_v4_an_unhealthy_baseline() -> None:
    inconclusive(verdict_of(told().traffic(0, 30, bad=lambda t: 3 <= t < 4)), "baseline breached: availability")


def test_v6_a_client_that_hides_errors() -> None:
    made = told().traffic(0, 30).health(30, "traffic.ended", completed=3300, planned=3300, sent=3300)
    inconclusive(verdict_of(made), "it hides requests: 3300 were completed and 3000 reported")
    assert (
        issubclass(GeneratorError, CouldNotRun) and GeneratorError("x").exit_code == 3
    )  # what the self-test refuses with


def test_v7_kept_connections_hide_what_changes_in_a_service() -> None:
    inconclusive(
        verdict_of(told().traffic(0, 30, policy="reuse"), "availability >= 99% on fresh"),
        "no traffic on fresh connections",
    )
    inconclusive(
        verdict_of(told().traffic(0, 30, policy="reuse", who=lambda i: ""), "availability >= 99%"),
        "all connections were kept ones, and no response said which pod answered",
    )
    inconclusive(verdict_of(told().traffic(0, 30, policy="reuse"), "balanced"), "no new connections")


def test_v8_a_path_that_bypasses_the_service_is_refused_by_the_plan() -> None:
    with pytest.raises(RouteError, match="port-forward holds on to one pod"):
        candidates(a_service(), (), "port-forward", None, None)
    with pytest.raises(RouteError, match="headless"):
        candidates(a_service(clusterIP="None"), (), "auto", None, None)


def test_v9_a_saturated_generator() -> None:
    late = told().traffic(0, 30, late=0.45)
    inconclusive(verdict_of(late), "the load generator was not sound: it was 0.45 s late")
    lazy = told().traffic(0, 30).health(10, planned=1000, sent=1000).health(20, planned=2000, sent=1900)
    inconclusive(verdict_of(lazy), "it sent 900 of 1000 planned requests")
    made = told().traffic(0, 30)
    for i in range(1200, 1210):
        made.requests.error[i], made.requests.status[i] = made.requests.index("error", DROPPED), 0
    inconclusive(verdict_of(made), "10 of 1000 arrivals were not sent")


@pytest.mark.parametrize("error", ["generator.no-port", "generator.no-file", "generator.no-address"])
def test_v10_ports_that_ran_out_are_this_machines_doing(error: str) -> None:
    made = told().traffic(0, 30)
    made.requests.error[1500], made.requests.status[1500] = made.requests.index("error", error), 0
    inconclusive(verdict_of(made), f"this machine could not send: 1 {error}")


def test_v11_a_closed_loop_that_waits_hides_an_outage() -> None:
    made = told(rate=None, model="closed").traffic(0, 11, policy="closed")
    made.traffic(11, 14, rate=2, policy="closed", latency=lambda t: 1.5).traffic(14, 30, policy="closed")
    inconclusive(
        verdict_of(made),
        "the users waited instead of asking: only 70",
        "an outage is under-counted; would have been PASS",
    )
    failing = told(rate=None, model="closed").traffic(0, 11, policy="closed")
    failing.traffic(11, 14, rate=20, policy="closed", bad=lambda t: True).traffic(14, 30, policy="closed")
    assert verdict_of(failing).grade is Grade.FAIL  # an outage that was seen in spite of it is one


def test_v12_what_breaks_the_control_too_is_not_the_faults_doing() -> None:
    history = told().traffic(0, 30, bad=lambda t: 12 <= t < 13).history()
    history.plan = {**history.plan, "control": {"service": "other"}}
    assert judge(history, AVAILABILITY).grade is Grade.FAIL
    sick = dataclasses.replace(history, control=told().traffic(0, 30, bad=lambda t: 12 <= t < 13).history().requests)
    inconclusive(judge(sick, AVAILABILITY), "not only the target: other, which was not faulted, broke it too")
    well = dataclasses.replace(history, control=told().traffic(0, 30).history().requests, memo={})
    assert judge(well, AVAILABILITY).grade is Grade.FAIL
    silent = dataclasses.replace(history, control=told().history().requests, memo={})
    inconclusive(judge(silent, AVAILABILITY), "the control other was not measured in the window")


def test_v13_clocks_that_drift_apart() -> None:
    made = told().traffic(0, 30)
    made.events.append((-2.0, "run.began", {"run": "r", "wall": 1_800_000_000.0}))
    inconclusive(verdict_of(made, "detectedWithin 5s"), "no clock")
    made.health(0, "clock", offset=0.0, error=0.1)
    assert verdict_of(made, "detectedWithin 5s").grade is Grade.PASS
    made.health(29, "clock", offset=3.0, error=0.1)
    inconclusive(verdict_of(made, "detectedWithin 5s"), "the clocks drifted apart by 2.8 s during the run")


def test_v14_an_address_that_was_looked_up_once() -> None:
    """Everything goes to the one pod that the name meant at first; the victim is another."""
    made = told().traffic(0, 30, who=lambda i: "b")
    inconclusive(verdict_of(made), "shop/a was not in use", "an address that was looked up once")


def test_v15_a_fault_that_was_undone_early() -> None:
    cluster = shop()
    fault = FailReadiness(http=HttpSwitch(port=9090, path="/switches/readiness"))
    story = Story(cluster, fault, CHECKOUT)
    verdict = run_virtual(story.tell(lambda run: at(9.0, cluster.world.switches.clear)))
    inconclusive(verdict, "the fault did not last", "needed are 90 %")
    kept = run_virtual(Story(shop(), fault, CHECKOUT).tell())
    assert kept.grade is Grade.PASS, kept


@pytest.mark.parametrize("value", [".nan", "'>= nan%'", "'>= .nan'", "'p95 < nan'", "'>= 101%'", "'>= inf%'"])
def test_v16_thresholds_that_are_no_numbers_are_no_valid_file(value: str) -> None:
    text = f"""
apiVersion: chaoskit.dev/v1alpha1
kind: Experiment
metadata: {{name: x}}
spec:
  target: {{namespace: shop, deployment: checkout}}
  fault: {{killPod: {{}}}}
  slos:
    - availability: {value}
"""
    with pytest.raises(ExperimentError):
        load_text(text, "x.yaml", Path())


def test_null_controls_are_not_injected_and_never_fail() -> None:
    """Fifty runs whose fault is a no-op, on an application that is well: each says so."""
    verdicts = [run_virtual(_null(number).tell()) for number in range(50)]
    assert {verdict.grade for verdict in verdicts} == {Grade.INCONCLUSIVE}
    assert all("not injected" in verdict.because for verdict in verdicts)
    assert not [finding for verdict in verdicts for finding in verdict.findings if finding.grade is Grade.FAIL]


def _null(number: int) -> Story:
    class Idle(FakeCluster):
        async def perform(self, op: object, mark: str, *, undoing: bool = False) -> Reply:
            await asyncio.sleep(0.01 * number)
            return Reply(200, {})

    fault = KillPod() if number % 2 else FailReadiness(http=HttpSwitch(port=9090, path="/switches/readiness"))
    slos = (
        "availability >= 99%",
        "latency p95 < 300ms",
        "replicasRestored",
        "onlyReadyEndpoints",
        "recoveredWithin 5s",
    )
    return Story(Idle(shop(replicas=3 + number % 3).store), fault, CHECKOUT, slos=slos, traffic=FakeTraffic(rate=100.0))
