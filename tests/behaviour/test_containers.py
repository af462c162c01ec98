"""Containers: exit codes and restart policies, back-off, init containers and sidecars, commands and environment."""

from __future__ import annotations

import datetime

import pytest

from tests.behaviour import app
from tests.behaviour.access import eventually
from tests.behaviour.scenario import scenario
from tests.behaviour.space import Obj, Space
from tests.behaviour.trace import Look, condition, ended, holds, ready, state, terminal

RUNTIME = "conformance.yaml: test/e2e/common/node/runtime.go, starting a container that exits"
INIT = "conformance.yaml: test/e2e/common/node/init_container.go"
LIFECYCLE = "kubernetes.io: Pod Lifecycle, Container restart policy"


@scenario("Restart policy and exit code decide about the pod's phase", RUNTIME)
@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        ("Never", 0, "Succeeded"),
        ("Never", 3, "Failed"),
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, "restarted"),
        ("Always", 0, "restarted"),
    ],
    ids=lambda value: str(value),
)
def test_exit_codes(space: Space, policy: str, code: int, phase: str) -> None:
    space.create("pods", app.pod("p", app.container(code=app.exits(code)), restartPolicy=policy))
    if phase == "restarted":
        pod = space.until_pod("p", lambda pod: state(pod).get("restartCount", 0) >= 1)
        assert not terminal(pod)
        return
    pod = space.until_pod("p", terminal)
    assert (pod["status"]["phase"], ended(pod)["exitCode"], state(pod)["restartCount"]) == (phase, code, 0)
    assert condition(pod, "Ready")["reason"] == ("PodCompleted" if code == 0 else "PodFailed")


def _clock(stamp: str) -> float:
    return datetime.datetime.fromisoformat(stamp).timestamp()


def _began(pod: Obj) -> float:
    """When the container last started."""
    now = state(pod)["state"]
    return _clock((now.get("running") or now.get("terminated") or state(pod)["lastState"]["terminated"])["startedAt"])


@scenario(
    "A crash is shown as terminated Error and unready; the first restart is at once, the next waits in CrashLoopBackOff",
    "kubernetes.io: Pod Lifecycle, back-off; recorded on 1.36",
    differs="the fast profile waits 1 s, 2 s, .. instead of 10 s, 20 s, ..",
)
def test_crash_loops(space: Space) -> None:
    trace = space.trace("pods")
    space.create("pods", app.pod("p", app.container(code=app.exits(3, 1.5))))
    first = trace.wait("pods", lambda seen: bool(ended(seen.obj)) and state(seen.obj)["restartCount"] == 0, 60)
    assert (ended(first.obj)["reason"], ended(first.obj)["exitCode"], ready(first.obj)) == ("Error", 3, False)
    second = trace.wait(
        "pods", lambda seen: "running" in state(seen.obj).get("state", {}) and state(seen.obj)["restartCount"] == 1
    )
    waiting = trace.wait(
        "pods",
        lambda seen: state(seen.obj)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff",
        after=second,
    )
    third = trace.wait("pods", lambda seen: state(seen.obj).get("restartCount") == 2, 60, after=waiting)
    # By the node's own clock, in whole seconds: a busy node tells of the wait only when it is nearly over.
    gap = _began(third.obj) - _clock(state(waiting.obj)["lastState"]["terminated"]["finishedAt"])
    unit = 10 if space.real else 1
    space.note("first restart", second.at - first.at)
    assert unit - 1 <= space.note("second restart after the end", gap) <= unit + 30
    assert state(waiting.obj)["lastState"]["terminated"]["exitCode"] == 3
    assert "Back-off restarting failed container app in pod p_" in space.events("p", "BackOff")[0]["message"]


@scenario("Init containers run one after the other, each to its end, before the others start", f"{INIT}, RestartAlways")
def test_init_containers_run_in_order(space: Space) -> None:
    share: Obj = {"volumeMounts": [{"name": "s", "mountPath": "/scratch"}]}
    write = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + ' ')"
    first, second = (
        app.container(name, code=write, args=["/scratch/log", name], **share) for name in ("first", "second")
    )
    trace = space.trace("pods")
    space.start(
        app.pod("p", app.container(**share), initContainers=[first, second], volumes=[{"name": "s", "emptyDir": {}}]),
        "running",
    )
    assert space.read("p", "/scratch/log").split() == ["first", "second"]
    done = trace.wait("pods", lambda seen: holds(seen.obj, "Initialized"))
    for seen in trace.seen("pods"):
        if seen.step < done.step:
            assert "running" not in state(seen.obj).get("state", {})
    assert [ended(done.obj, name)["exitCode"] for name in ("first", "second")] == [0, 0]


@scenario(
    "A failed init container with restartPolicy Never fails the pod; the app never starts", f"{INIT}, RestartNever fail"
)
def test_a_failed_init_container(space: Space) -> None:
    space.create(
        "pods",
        app.pod("p", app.container(), initContainers=[app.container("init", code="exit(1)")], restartPolicy="Never"),
    )
    pod = space.until_pod("p", terminal)
    assert pod["status"]["phase"] == "Failed" and ended(pod, "init")["exitCode"] == 1
    assert state(pod)["restartCount"] == 0 and "startedAt" not in (ended(pod) or {})
    assert holds(pod, "Initialized", "False", "ContainersNotInitialized")


@scenario(
    "A failed init container with restartPolicy Always is started again; the pod stays Pending",
    f"{INIT}, RestartAlways fail",
)
def test_an_init_container_is_retried(space: Space) -> None:
    space.create("pods", app.pod("p", app.container(), initContainers=[app.container("init", code="exit(1)")]))
    pod = space.until_pod("p", lambda pod: state(pod, "init").get("restartCount", 0) >= 1)
    assert pod["status"]["phase"] == "Pending"
    assert state(pod)["state"] == {"waiting": {"reason": "PodInitializing"}}


@scenario(
    "A sidecar starts before the app and does not keep a finished pod from succeeding", "KEP-753, native sidecars"
)
def test_a_sidecar(space: Space) -> None:
    side = app.container("side", restartPolicy="Always")
    trace = space.trace("pods")
    space.create(
        "pods", app.pod("p", app.container(code=app.exits(0, 1)), initContainers=[side], restartPolicy="Never")
    )
    begun = trace.wait("pods", lambda seen: state(seen.obj, "side").get("started") is True, 60)
    main = trace.wait("pods", lambda seen: bool({"running", "terminated"} & state(seen.obj).get("state", {}).keys()))
    assert begun.step <= main.step
    end = trace.wait("pods", lambda seen: terminal(seen.obj), 60)
    assert end.obj["status"]["phase"] == "Succeeded" and ended(end.obj)["exitCode"] == 0


@scenario(
    "$(NAME) in command, args and env is replaced by earlier variables; $$(NAME) and unknown names stay",
    "kubernetes.io: Define Dependent Environment Variables; conformance: expansion.go",
)
def test_variables_expand(space: Space) -> None:
    code = "import os, sys; print(*sys.argv[1:], os.environ['C'], os.environ['D'])"
    env = [
        {"name": "A", "value": "one"},
        {"name": "C", "value": "$(A)-$(NOPE)-$$(A)"},
        {"name": "D", "value": "$(E)"},
        {"name": "E", "value": "late"},
    ]
    body = app.container(code=code) | {"env": env, "args": ["$(A)", "$$(A)", "$(C)"]}
    space.create("pods", app.pod("p", body, restartPolicy="Never"))
    space.until_pod("p", terminal)
    assert space.log("p").split() == ["one", "$(A)", "one-$(NOPE)-$(A)", "one-$(NOPE)-$(A)", "$(E)"]


@scenario(
    "The downward API tells a container about its pod and itself",
    "conformance.yaml: test/e2e/common/node/downwardapi.go",
)
def test_the_downward_api(space: Space) -> None:
    fields = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "metadata.labels['app']",
        "spec.nodeName",
        "status.podIP",
        "status.hostIP",
    ]
    env: list[Obj] = [
        {"name": f"V{n}", "valueFrom": {"fieldRef": {"fieldPath": path}}} for n, path in enumerate(fields)
    ]
    env.append({"name": "V7", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}})
    body = app.container(
        code="import os; print([os.environ[f'V{n}'] for n in range(8)])", resources={"limits": {"memory": "64Mi"}}
    ) | {"env": env}
    space.create("pods", app.pod("p", body, restartPolicy="Never"))
    pod = space.until_pod("p", terminal)
    meta, status = pod["metadata"], pod["status"]
    expected = [
        "p",
        space.namespace,
        meta["uid"],
        "p",
        pod["spec"]["nodeName"],
        status["podIP"],
        status["hostIP"],
        "64",
    ]
    said = space.log("p")
    assert all(f"'{value}'" in said for value in expected), (said, expected)


@scenario(
    "A message that a container leaves in its termination file is in its status",
    "kubernetes.io: Determine the Reason for Pod Failure",
)
@pytest.mark.parametrize("policy", ["File", "FallbackToLogsOnError"])
def test_termination_messages(space: Space, policy: str) -> None:
    said = "open(sys.argv[1], 'w').write('because')" if policy == "File" else "print('because', end='')"
    body = app.container(
        code=f"import sys; {said}; sys.exit(2)", args=["/dev/termination-log"], terminationMessagePolicy=policy
    )
    space.create("pods", app.pod("p", body, restartPolicy="Never"))
    assert ended(space.until_pod("p", terminal))["message"].strip() == "because"


@scenario(
    "An image that cannot be pulled leaves the pod Pending in ErrImagePull and ImagePullBackOff",
    "kubernetes.io: Images, ImagePullBackOff; recorded on 1.36",
)
def test_an_image_that_is_not_there(space: Space) -> None:
    trace = space.trace("pods")
    space.create("pods", app.pod("p", app.container() | {"image": "nosuch:v9"}))

    def waits(reason: str) -> object:
        return lambda seen: state(seen.obj).get("state", {}).get("waiting", {}).get("reason") == reason

    failed = trace.wait("pods", waits("ErrImagePull"), 60)  # type: ignore[arg-type]
    trace.wait("pods", waits("ImagePullBackOff"), 60, after=failed)  # type: ignore[arg-type]
    assert space.get("pods", "p")["status"]["phase"] == "Pending"
    assert any('Back-off pulling image "nosuch:v9"' in event["message"] for event in space.events("p", "BackOff"))


@scenario(
    "A pod past its activeDeadlineSeconds fails with DeadlineExceeded", "kubernetes.io: Pod, activeDeadlineSeconds"
)
def test_a_pods_deadline(space: Space) -> None:
    trace = space.trace("pods")
    space.create("pods", app.pod("p", app.container(), activeDeadlineSeconds=3))
    end = trace.wait("pods", lambda seen: terminal(seen.obj), 60)
    assert (end.obj["status"]["phase"], end.obj["status"]["reason"]) == ("Failed", "DeadlineExceeded")


def _tells(kind: str) -> Look:
    return lambda seen: holds(seen.obj, kind)


@scenario(
    "The conditions of a new pod come true in order: PodScheduled, Initialized, then ContainersReady with Ready",
    "kubernetes.io: Pod Lifecycle, Pod conditions; recorded on 1.36",
)
def test_the_order_of_conditions(space: Space) -> None:
    trace = space.trace("pods")
    space.start(app.pod("p", app.serving()))
    steps = [
        trace.wait("pods", _tells(kind)).step for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    assert steps == sorted(steps) and steps[2] == steps[3] > steps[1]
    phases = [seen.obj["status"].get("phase") for seen in trace.seen("pods")]
    assert phases[0] == "Pending" and "Running" in phases and phases == sorted(phases)


@scenario(
    "A command in a container ends with its own exit code, also one that a signal ended",
    "KEP-4006, exec over websockets",
)
@pytest.mark.parametrize(
    ("code", "expected"),
    [("pass", 0), ("exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
    ids=["0", "3", "137"],
)
def test_exec_exit_codes(space: Space, code: str, expected: int) -> None:
    from kubernetes import client
    from kubernetes.stream import stream

    space.start(app.pod("p", app.container()), "running")
    with space.access.api_client() as api:
        core = client.CoreV1Api(api)
        talk = stream(
            core.connect_get_namespaced_pod_exec, "p", space.namespace, command=["python", "-c", code], stdout=True, stderr=True, _preload_content=False
        )  # fmt: skip
        talk.run_forever(timeout=30)
        assert talk.returncode == expected


@scenario(
    "A pod that no node can take waits, and says what is missing",
    "kube-scheduler; conformance: scheduling/predicates.go",
)
@pytest.mark.parametrize(
    ("what", "words"),
    [("a selector", "didn't match Pod's node affinity/selector"), ("too much", "Insufficient cpu")],
)
def test_what_cannot_be_scheduled(space: Space, what: str, words: str) -> None:
    body = app.container(resources={"requests": {"cpu": "100000"}} if what == "too much" else {})
    space.create(
        "pods", app.pod("p", body, **({"nodeSelector": {"chaoskit.test/nowhere": "1"}} if what == "a selector" else {}))
    )
    pod = space.until_pod("p", lambda pod: holds(pod, "PodScheduled", "False", "Unschedulable"))
    assert words in condition(pod, "PodScheduled")["message"] and pod["status"]["phase"] == "Pending"
    assert words in space.events("p", "FailedScheduling")[0]["message"]


@scenario(
    "Pods that repel each other by host name share no node; the one too many waits",
    "conformance: scheduling/predicates.go, inter-pod anti-affinity",
)
def test_anti_affinity(space: Space) -> None:
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
    repels = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    nodes = [node for node in space.items("nodes") if ready(node)]
    space.create(
        "replicasets", app.workload("web", app.spec(app.container(), affinity=repels), replicas=len(nodes) + 1)
    )

    def look() -> list[Obj] | None:
        pods = space.pods(app="web")
        stuck = [pod for pod in pods if holds(pod, "PodScheduled", "False")]
        return pods if len(pods) == len(nodes) + 1 and len(stuck) == 1 else None

    placed = [pod["spec"]["nodeName"] for pod in eventually(look, 60, "one pod too many") if "nodeName" in pod["spec"]]
    assert sorted(placed) == sorted(node["metadata"]["name"] for node in nodes)


@scenario(
    "A pod that is bound to a node gets its zone and region as labels",
    "plugin/pkg/admission/podtopologylabels; seen on 1.36",
)
def test_a_pod_learns_its_zone(space: Space) -> None:
    pod = space.start(app.pod("p", app.container()), "running")
    place = space.get("nodes", pod["spec"]["nodeName"])["metadata"]["labels"]
    keys = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
    assert [pod["metadata"]["labels"].get(key) for key in keys] == [place.get(key) for key in keys]
