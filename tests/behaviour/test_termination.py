"""The end of a pod: hooks, TERM, KILL, what the status says, and when the object goes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import condition, dying, ended, endpoints, gone, ready, terminal

TERMINATION = "kubernetes.io: Pod Lifecycle, Termination of Pods"
HOOKS = "kubernetes.io: Container Lifecycle Hooks"


def _started(space: Space, *containers: Obj, **more: Any) -> None:
    """A pod `p` whose program listens."""
    space.start(app.pod("p", *containers, **more), "up")


@scenario(
    "A gracefully ended pod shows its phase and exit code before it is DELETED", "recorded on 1.36; pkg/kubelet/status"
)
@pytest.mark.parametrize(("code", "phase", "reason"), [(0, "Succeeded", "Completed"), (3, "Failed", "Error")])
def test_the_end_is_shown(space: Space, code: int, phase: str, reason: str) -> None:
    _started(space, app.container(env={"EXIT": str(code)}))
    trace = space.trace("pods")
    answer = space.delete("pods", "p")
    assert answer["kind"] == "Pod" and answer["metadata"]["deletionGracePeriodSeconds"] == 5
    marked = trace.wait("pods", dying("p"))
    ending = trace.wait("pods", lambda seen: terminal(seen.obj))
    end = trace.wait("pods", gone("p"))
    assert marked.step < ending.step < end.step
    assert ending.obj["status"]["phase"] == phase
    assert (ended(ending.obj)["exitCode"], ended(ending.obj)["reason"]) == (code, reason)
    assert condition(ending.obj, "Ready")["reason"] == ("PodCompleted" if code == 0 else "PodFailed")
    assert end.obj["metadata"]["deletionGracePeriodSeconds"] == 0
    space.note("DELETED after the request", end.at - marked.at)


@scenario(
    "When the grace is over the process is killed: exit code 137, phase Failed, not before the grace",
    f"{TERMINATION}; recorded on 1.36",
)
def test_the_grace_ends_with_kill(space: Space) -> None:
    _started(space, app.container(env={"LINGER": "60"}), terminationGracePeriodSeconds=2)
    trace = space.trace("pods")
    space.delete("pods", "p")
    marked = trace.wait("pods", dying("p"))
    ending = trace.wait("pods", lambda seen: terminal(seen.obj))
    assert (ending.obj["status"]["phase"], ended(ending.obj)["exitCode"]) == ("Failed", 137)
    assert 1.7 <= space.note("killed after a grace of 2 s", ending.at - marked.at) <= 12


@scenario(
    "Process 1 of a container sees TERM when it handles or awaits it; without a handler only KILL ends it",
    "pid_namespaces(7)",
)
@pytest.mark.parametrize(("how", "code"), [("a handler", 4), ("sigwait", 4), ("nothing", 137)])
def test_who_sees_term(space: Space, how: str, code: int) -> None:
    words = {
        "a handler": "signal.signal(15, lambda *_: os._exit(4)); print('up'); time.sleep(60)",
        "sigwait": "signal.pthread_sigmask(signal.SIG_BLOCK, [15]); print('up'); signal.sigwait([15]); os._exit(4)",
        "nothing": "print('up'); time.sleep(60)",
    }
    _started(space, app.container(code=f"import os, signal, time; {words[how]}"), terminationGracePeriodSeconds=2)
    trace = space.trace("pods")
    space.delete("pods", "p")
    assert ended(trace.wait("pods", lambda seen: terminal(seen.obj)).obj)["exitCode"] == code


@scenario("The preStop hook runs to its end before TERM is sent", f"{HOOKS}; conformance: lifecycle_hook.go")
@pytest.mark.parametrize("kind", ["exec", "httpGet", "sleep"])
def test_pre_stop_comes_first(space: Space, kind: str) -> None:
    hooks: dict[str, Obj] = {
        "exec": {"exec": {"command": ["python", "-c", "import time; time.sleep(1)"]}},
        "httpGet": {"httpGet": {"path": "/set/live/0", "port": 8080}},
        "sleep": {"sleep": {"seconds": 1}},
    }
    _started(
        space, app.container(env={"LINGER": "1"}, lifecycle={"preStop": hooks[kind]}), terminationGracePeriodSeconds=20
    )
    log = space.follow("p")
    log.at("up")
    began = time.monotonic()
    space.delete("pods", "p")
    waited = space.note("TERM after the deletion", log.at("TERM") - began)
    if kind == "httpGet":
        assert space.ask("p", "/live").status_code == 500
    else:
        assert waited >= 0.9
    assert waited < 15


@scenario("A preStop hook that outlives the grace is cut off; the whole takes no longer than the grace and 2 s", HOOKS)
@pytest.mark.nightly
def test_pre_stop_is_cut_off(space: Space) -> None:
    hook = {"exec": {"command": ["python", "-c", "import time; time.sleep(60)"]}}
    _started(space, app.container(env={"LINGER": "60"}, lifecycle={"preStop": hook}), terminationGracePeriodSeconds=2)
    trace = space.trace("pods")
    space.delete("pods", "p")
    marked = trace.wait("pods", dying("p"))
    end = trace.wait("pods", gone("p"))
    assert 1.7 <= space.note("DELETED, grace 2 s, endless hook", end.at - marked.at) <= 15


@scenario(
    "Grace 0 removes the object at once; the process still gets TERM, and KILL 2 s later",
    "recorded on 1.36; pkg/kubelet/kuberuntime, minimum grace",
)
def test_a_forced_deletion_and_the_processs_real_end(space: Space) -> None:
    _started(space, app.container(env={"LINGER": "60"}))
    log = space.follow("p")
    log.at("up")
    trace = space.trace("pods")
    began = time.monotonic()
    space.delete("pods", "p", gracePeriodSeconds=0)
    end = trace.wait("pods", gone("p"))
    assert space.note("DELETED after a forced deletion", end.at - began) < 1.5
    assert log.over.wait(20)
    term, last = log.at("TERM"), log.lines[-1][0]
    assert end.at < last, "the process lives longer than its object"
    assert 1.3 <= space.note("KILL after TERM", last - term) <= 5
    assert not any(terminal(seen.obj) for seen in trace.seen("pods"))
    assert [seen.type for seen in trace.seen("pods")] == ["MODIFIED", "DELETED"]


@scenario(
    "A dying pod stays Ready until its process ended: its endpoint turns not ready, serving, terminating, and goes before DELETED",
    "recorded on 1.36; KEP-1672",
)
def test_a_terminating_endpoint(space: Space) -> None:
    space.create("services", app.service("web"))
    space.start(app.pod("p", app.serving(LINGER="2"), labels={"app": "web"}))
    space.until_slice("web", lambda found: found.get("p") == (True, True, False))
    trace = space.trace("pods", "endpointslices")
    space.delete("pods", "p")
    leaving = trace.wait("endpointslices", lambda seen: endpoints(seen.obj).get("p") == (False, True, True))
    ending = trace.wait("pods", lambda seen: terminal(seen.obj))
    out = trace.wait("endpointslices", lambda seen: "p" not in endpoints(seen.obj))
    assert leaving.step < ending.step < out.step
    assert all(ready(seen.obj) for seen in trace.seen("pods") if seen.step < ending.step)
    trace.wait("pods", gone("p"))


@scenario(
    "A second deletion with a shorter grace is shown at once in the object",
    "pkg/registry/core/pod/strategy.go; recorded on 1.36",
    differs="the sandbox's node then keeps to the shorter grace; the node of the recorded cluster killed only after the first one",
)
@pytest.mark.nightly
def test_a_shorter_second_grace(space: Space) -> None:
    _started(space, app.container(env={"LINGER": "25"}), terminationGracePeriodSeconds=20)
    trace = space.trace("pods")
    space.delete("pods", "p")
    trace.wait("pods", dying("p"))
    space.delete("pods", "p", gracePeriodSeconds=2)
    shorter = trace.wait("pods", lambda seen: seen.obj["metadata"].get("deletionGracePeriodSeconds") == 2)
    ending = trace.wait("pods", lambda seen: terminal(seen.obj), 60)
    assert ended(ending.obj)["exitCode"] == 137
    waited = space.note("killed after the second deletion, graces 20 s and 2 s", ending.at - shorter.at)
    assert 1.5 <= waited <= (45 if space.real else 15)


@scenario("All containers of a pod get TERM at once, each its own end in the status", TERMINATION)
def test_containers_end_together(space: Space) -> None:
    fast = app.container("fast", env={"PORT": "8081", "EXIT": "7"})
    _started(space, app.container(env={"LINGER": "2"}), fast, terminationGracePeriodSeconds=20)
    log, other = space.follow("p"), space.follow("p", "fast")
    log.at("up")
    other.at("up")
    trace = space.trace("pods")
    space.delete("pods", "p")
    assert abs(log.at("TERM") - other.at("TERM")) < 1.5
    ending = trace.wait("pods", lambda seen: terminal(seen.obj))
    assert (ended(ending.obj)["exitCode"], ended(ending.obj, "fast")["exitCode"]) == (0, 7)
    assert ending.obj["status"]["phase"] == "Failed"


@scenario("A sidecar is sent TERM only when the main containers have ended", "KEP-753, native sidecars")
def test_sidecars_end_last(space: Space) -> None:
    side = app.container("side", env={"PORT": "8081"}, restartPolicy="Always")
    _started(space, app.container(env={"LINGER": "1.5"}), initContainers=[side], terminationGracePeriodSeconds=20)
    log, other = space.follow("p"), space.follow("p", "side")
    log.at("up")
    other.at("up")
    space.delete("pods", "p")
    assert log.at("TERM") < log.at("bye") < other.at("TERM") + 0.3


@scenario("A deleted pod is not restarted, whatever its restart policy", TERMINATION)
def test_no_restart_while_dying(space: Space) -> None:
    two = app.container("two", env={"PORT": "8081", "LINGER": "2"})
    _started(space, app.container(env={"EXIT": "1"}), two, terminationGracePeriodSeconds=20)
    eventually(lambda: space.log("p", "two").startswith("up"), 20, "the other listens")
    trace = space.trace("pods")
    space.delete("pods", "p")
    end = trace.wait("pods", gone("p"))
    assert [one["restartCount"] for one in end.obj["status"]["containerStatuses"]] == [0, 0]


@scenario(
    "A pod that was never scheduled is deleted at once, without grace",
    "pkg/registry/core/pod/strategy.go, CheckGracefulDelete",
)
def test_an_unscheduled_pod_goes_at_once(space: Space) -> None:
    space.create("pods", app.pod("p", app.container(), nodeSelector={"chaoskit.test/nowhere": "1"}))
    trace = space.trace("pods")
    space.delete("pods", "p")
    trace.wait("pods", gone("p"), 5)


@scenario("A finished pod is deleted at once, without grace", "pkg/registry/core/pod/strategy.go, CheckGracefulDelete")
def test_a_finished_pod_goes_at_once(space: Space) -> None:
    space.create(
        "pods", app.pod("p", app.container(code="pass"), restartPolicy="Never", terminationGracePeriodSeconds=60)
    )
    space.until_pod("p", terminal)
    trace = space.trace("pods")
    space.delete("pods", "p")
    trace.wait("pods", gone("p"), 10)


@scenario(
    "A DELETE meant for another uid or revision is a 409 and deletes nothing",
    "kubernetes.io: API concepts, preconditions; recorded on 1.36",
)
@pytest.mark.parametrize("precondition", ["uid", "resourceVersion"])
def test_a_stale_precondition(space: Space, precondition: str) -> None:
    space.create("pods", app.pod("p", app.container(), nodeSelector={"chaoskit.test/nowhere": "1"}))
    stale = {"uid": "11111111-1111-1111-1111-111111111111", "resourceVersion": "1"}[precondition]
    answer = space.try_delete("pods", "p", preconditions={precondition: stale})
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
    assert "in the precondition" in answer.json()["message"]
    assert "deletionTimestamp" not in space.get("pods", "p")["metadata"]
