"""Probes: liveness restarts in place, readiness takes out and puts in, startup gates both."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import condition, ended, endpoints, holds, pod_ready, ready, state

PROBES = "kubernetes.io: Pod Lifecycle, Container probes"
LIVENESS = "conformance.yaml: test/e2e/common/node/container_probe.go, liveness"
READINESS = "conformance.yaml: test/e2e/common/node/container_probe.go, readiness"


def _restarted(name: str, times: int = 1) -> Any:
    return lambda seen: seen.name == name and state(seen.obj).get("restartCount", 0) >= times


def _unhealthy(space: Space) -> list[str]:
    return [event["message"] for event in space.events("p", "Unhealthy")]


def _live(**more: Any) -> Obj:
    """A liveness probe that gives the program two seconds to listen."""
    return app.probe("/live", failureThreshold=2, initialDelaySeconds=2) | more


@scenario(
    "A failed liveness probe restarts the container in its pod: same uid and node, restartCount 1, the end in lastState",
    f"{LIVENESS} http",
)
def test_liveness_restarts_in_place(space: Space) -> None:
    before = space.start(app.pod("p", app.serving() | {"livenessProbe": _live()}))
    trace = space.trace("pods")
    begun = space.tell("p", live=False)
    again = trace.wait("pods", _restarted("p"), 40)
    space.note("restart after the fault, period 1 s, threshold 2", again.at - begun)
    assert 0.9 <= again.at - begun <= 25
    up = trace.wait("pods", pod_ready("p"), 30, after=again)
    assert up.obj["metadata"]["uid"] == before["metadata"]["uid"]
    assert up.obj["status"]["podIP"] == before["status"]["podIP"]
    last = state(up.obj)["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (0, "Completed")
    assert state(up.obj)["restartCount"] == 1
    assert "Liveness probe failed: HTTP probe failed with statuscode: 500" in _unhealthy(space)
    assert "Container app failed liveness probe, will be restarted" in [
        event["message"] for event in space.events("p", "Killing")
    ]


@scenario(
    "A failing liveness probe alone never makes a pod unready: Ready changes when the container is restarted",
    "recorded on 1.36",
)
@pytest.mark.nightly
def test_liveness_says_nothing_of_readiness(space: Space) -> None:
    space.start(app.pod("p", app.serving(LINGER="1") | {"livenessProbe": _live(failureThreshold=3)}))
    trace = space.trace("pods")
    space.tell("p", live=False)
    again = trace.wait("pods", _restarted("p"), 40)
    unready = next((seen for seen in trace.seen("pods") if not ready(seen.obj)), None)
    assert unready is None or unready.step >= again.step


@scenario("Ways for a liveness probe to fail", LIVENESS)
@pytest.mark.parametrize("way", ["a command", "a port", "a hang"])
@pytest.mark.nightly
def test_ways_to_fail(space: Space, way: str) -> None:
    script = "import os, sys; sys.exit(os.path.exists(sys.argv[1]))"
    probes: dict[str, Obj] = {
        "a command": {"exec": {"command": ["python", "-c", script, "/scratch/sick"]}, "timeoutSeconds": 10},
        "a port": {"tcpSocket": {"port": 9}},
        "a hang": {"httpGet": {"path": "/live", "port": 8080}},
    }
    probe = probes[way] | {"periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 2}
    body = app.container(livenessProbe=probe, volumeMounts=[{"name": "s", "mountPath": "/scratch"}])
    trace = space.trace("pods")
    space.start(app.pod("p", body, volumes=[{"name": "s", "emptyDir": {}}]), "running")
    if way == "a command":
        space.write("p", "/scratch/sick", "x")
    if way == "a hang":
        eventually(lambda: space.log("p").startswith("up"), what="the program listens")
        space.tell("p", hang=True)
    trace.wait("pods", _restarted("p"), 40)
    words = {
        "a command": "Liveness probe failed",
        "a port": "connection refused",
        "a hang": "context deadline exceeded",
    }
    assert any(words[way] in message for message in _unhealthy(space))


@scenario(
    "An unready pod leaves the Service after failureThreshold periods and comes back when ready; it is never restarted",
    f"{READINESS}; recorded on 1.36",
)
def test_readiness_takes_out_and_puts_in(space: Space) -> None:
    space.create("services", app.service("web"))
    space.start(app.pod("p", app.serving(), labels={"app": "web"}))
    space.until_slice("web", lambda found: found.get("p") == (True, True, False))
    trace = space.trace("pods", "endpointslices")
    begun = space.tell("p", ready=False)
    down = trace.wait("pods", lambda seen: not ready(seen.obj))
    assert 1.5 <= space.note("unready after the fault, period 1 s, threshold 3", down.at - begun) <= 15
    out = trace.wait("endpointslices", lambda seen: endpoints(seen.obj).get("p") == (False, False, False))
    assert space.note("endpoint out after unready", out.at - down.at) < 5
    begun = space.tell("p", ready=True)
    up = trace.wait("pods", pod_ready("p"), after=down)
    assert space.note("ready again", up.at - begun) <= 10
    trace.wait("endpointslices", lambda seen: endpoints(seen.obj).get("p") == (True, True, False), after=out)
    assert state(up.obj)["restartCount"] == 0
    assert condition(down.obj, "Ready")["reason"] == "ContainersNotReady"


@scenario("A pod is not ready before initialDelaySeconds", f"{READINESS}, initial delay")
@pytest.mark.nightly
def test_the_initial_delay(space: Space) -> None:
    trace = space.trace("pods")
    body = app.container(readinessProbe=app.probe(initialDelaySeconds=4))
    space.create("pods", app.pod("p", body))
    running = trace.wait("pods", lambda seen: "running" in state(seen.obj).get("state", {}), 60)
    up = trace.wait("pods", pod_ready("p"))
    assert not ready(running.obj) and state(running.obj)["restartCount"] == 0
    assert 2.5 <= space.note("ready after the start, initialDelaySeconds 4", up.at - running.at) <= 15


@scenario(
    "Until the startup probe succeeds, liveness and readiness do not run and the container is not started",
    f"{PROBES}, startupProbe",
)
def test_startup_gates(space: Space) -> None:
    body = app.serving(STARTED="0", LIVE="0") | {
        "startupProbe": app.probe("/started", failureThreshold=60),
        "livenessProbe": app.probe("/live", failureThreshold=1),
    }
    trace = space.trace("pods")
    space.start(app.pod("p", body), "running")
    eventually(lambda: space.log("p").startswith("up"), what="the program listens")
    time.sleep(2.5)
    before = state(space.get("pods", "p"))
    assert before["started"] is False and before["ready"] is False and before["restartCount"] == 0
    space.tell("p", live=True)
    space.tell("p", started=True)
    begun = trace.wait("pods", lambda seen: state(seen.obj).get("started") is True)
    up = trace.wait("pods", pod_ready("p"))
    assert begun.step <= up.step and state(up.obj)["restartCount"] == 0


@scenario(
    "A startup probe that never succeeds restarts the container after failureThreshold periods",
    f"{PROBES}, startupProbe",
)
@pytest.mark.nightly
def test_a_failed_startup_restarts(space: Space) -> None:
    body = app.serving(STARTED="0") | {"startupProbe": app.probe("/started", failureThreshold=3)}
    trace = space.trace("pods")
    space.create("pods", app.pod("p", body))
    trace.wait("pods", _restarted("p"), 60)
    assert not any(ready(seen.obj) for seen in trace.seen("pods"))
    assert any("failed startup probe, will be restarted" in event["message"] for event in space.events("p", "Killing"))


@scenario("A pod that was never ready is listed as not ready, and gets no traffic", READINESS)
def test_a_pod_that_is_not_ready_is_listed(space: Space) -> None:
    space.create("services", app.service("web"))
    space.start(app.pod("p", app.serving(READY="0"), labels={"app": "web"}), "running")
    found = space.until_slice("web", lambda found: "p" in found)
    assert found["p"] == (False, False, False)
    assert condition(space.get("pods", "p"), "Ready")["reason"] == "ContainersNotReady"


@scenario(
    "A readiness gate keeps a running pod unready until its condition is True, and takes it out when it is False",
    "kubernetes.io: Pod Lifecycle, Pod readiness gate",
)
def test_a_readiness_gate(space: Space) -> None:
    space.create("pods", app.pod("p", app.container(), readinessGates=[{"conditionType": "test/gate"}]))
    pod = space.until_pod("p", lambda pod: holds(pod, "ContainersReady"))
    pod = space.until_pod("p", lambda pod: holds(pod, "Ready", "False", "ReadinessGatesNotReady"))
    assert (
        condition(pod, "Ready")["message"]
        == 'corresponding condition of pod readiness gate "test/gate" does not exist.'
    )
    for value in ("True", "False"):
        body = {"status": {"conditions": [{"type": "test/gate", "status": value}]}}
        space.patch("pods", "p", body, "strategic", "status")
        space.until_pod("p", lambda pod, value=value: holds(pod, "Ready", value))
    assert holds(space.get("pods", "p"), "ContainersReady")


@scenario("Restarts by liveness are counted one by one", f"{LIVENESS}, monotonically increasing restart count")
@pytest.mark.nightly
def test_restarts_are_counted(space: Space) -> None:
    body = app.container(env={"LIVE": "0"}, livenessProbe=_live(failureThreshold=1))
    trace = space.trace("pods")
    space.create("pods", app.pod("p", body))
    trace.wait("pods", _restarted("p", 3), 120)
    counts = [state(seen.obj).get("restartCount", 0) for seen in trace.seen("pods")]
    assert counts == sorted(counts) and {0, 1, 2, 3} <= set(counts)


@scenario("A liveness probe's own terminationGracePeriodSeconds bounds its kill, and the exit code is 137", "KEP-2238")
@pytest.mark.nightly
def test_a_probes_own_grace(space: Space) -> None:
    body = app.container(env={"LINGER": "60"}, livenessProbe=_live(failureThreshold=1, terminationGracePeriodSeconds=1))
    trace = space.trace("pods")
    space.start(app.pod("p", body, terminationGracePeriodSeconds=50), "running")
    eventually(lambda: space.log("p").startswith("up"), what="the program listens")
    begun = space.tell("p", live=False)
    again = trace.wait("pods", _restarted("p"), 40)
    assert again.at - begun < 25
    assert (state(again.obj).get("lastState") or {}).get("terminated", ended(again.obj))["exitCode"] == 137
