"""Pods as real processes on one node: start, configuration, restarts, termination. Each test waits for facts written to the API."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from chaoskit.sandbox.node.processes import marked
from tests.sandbox.one_node import NODE, OneNode, condition, first, is_ready, one_node, until
from tests.sandbox.tiny_api import pod_path

POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
SERVER = ["python", "-S", "-m", "http.server", "8080", "--bind", "$(POD_IP)"]
POLITE = "import signal,sys,time; signal.signal(15, lambda *a: sys.exit(0)); print('up', flush=True); time.sleep(600)"
DEAF = "import time; print('up', flush=True); time.sleep(600)"
READY = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
CONFIG = "/api/v1/namespaces/shop/configmaps/settings"


async def until_up(node: OneNode, name: str) -> None:
    """The app has printed its word: its signal handlers are in place."""
    await node.status(name, lambda status: "running" in status["state"])
    await until(lambda: _says_up(node, name))


async def _says_up(node: OneNode, name: str) -> bool:
    return "up" in await node.log(name)


def python(text: str, *words: str) -> list[str]:
    return ["python", "-S", "-E", "-c", text, *words]


def test_a_node_registers_with_its_facts_and_keeps_its_lease() -> None:
    async def scenario() -> None:
        async with one_node(node_status_update_frequency_s=0.2) as node:
            path = f"/api/v1/nodes/{NODE}"
            status = node.api.objects[path]["status"]
            assert {"type": "InternalIP", "address": node.settings.node_address(1)} in status["addresses"]
            assert status["allocatable"]["cpu"] == "4"
            assert node.api.objects[path]["metadata"]["labels"]["topology.kubernetes.io/zone"] == "zone-1"
            lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
            before = node.api.objects[lease]["spec"]["renewTime"]
            await node.api.until(lambda: node.api.objects[lease]["spec"]["renewTime"] > before, 2)
            conditions = [{**each, "status": "Unknown"} for each in status["conditions"]]
            node.api.put(path, {**node.api.objects[path], "status": {**status, "conditions": conditions}})
            await node.api.until(
                lambda: all(each["status"] != "Unknown" for each in node.api.objects[path]["status"]["conditions"]), 2
            )

    asyncio.run(scenario())


def test_a_server_pod_is_ready_soon_and_its_status_is_whole() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("web", SERVER, container={"env": [POD_IP], "readinessProbe": READY})
            began = time.monotonic()
            await node.status("web", lambda status: "running" in status["state"])
            assert time.monotonic() - began < 1.0
            pod = await node.ready("web")
            status = pod["status"]
            assert status["phase"] == "Running" and status["podIP"] == node.settings.pod_address(1, 2)
            assert {
                "image",
                "imageID",
                "ready",
                "restartCount",
                "started",
                "state",
                "lastState",
                "containerID",
                "name",
            } <= set(first(pod))
            kinds = {each["type"] for each in status["conditions"]}
            assert kinds == {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"}
            states = [first(obj)["state"] for _, path, obj in node.api.history if path == pod_path("web") and obj]
            assert {"waiting": {"reason": "ContainerCreating"}} in states
            assert [event["reason"] for event in node.api.events() if event["reason"] != "Unhealthy"][1:] == [
                "Pulled",
                "Created",
                "Started",
            ]

    asyncio.run(scenario())


def test_files_and_variables_reach_the_process_and_volumes_follow_the_config_map() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.api.put(
                CONFIG, {"metadata": {"name": "settings", "namespace": "shop"}, "data": {"app.py": "one", "k": "v"}}
            )
            show = "import sys,os,time; print(open(sys.argv[1]).read(), os.environ['K'], os.environ['F'], flush=True); time.sleep(600)"
            container = {
                "env": [
                    {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k"}}},
                    {"name": "F", "value": "/etc/app/k"},
                ],
                "volumeMounts": [{"name": "cfg", "mountPath": "/etc/app"}],
            }
            node.run(
                "cfg",
                python(show, "/etc/app/app.py"),
                container=container,
                volumes=[{"name": "cfg", "configMap": {"name": "settings"}}],
            )
            await node.ready("cfg")
            text = await until(lambda: node.log("cfg"))
            body, key, file = text.split()
            assert (body, key) == ("one", "v") and file.endswith("/etc/app/k") and file != "/etc/app/k"
            assert len(node.api.events("MountPathRewritten")) == 1
            shown = (
                node.settings.state_dir
                / NODE
                / "pods"
                / node.api.objects[pod_path("cfg")]["metadata"]["uid"]
                / "volumes/cfg/app.py"
            )
            node.api.put(CONFIG, {**node.api.objects[CONFIG], "data": {"app.py": "two", "k": "w"}})
            await until(lambda: shown.read_text() == "two", 5)

    asyncio.run(scenario())


def test_a_pod_waits_for_what_it_refers_to() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            ref = {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k"}}}
            node.run("late", python(POLITE), container={"env": [ref]})
            node.run("mount", python(POLITE), volumes=[{"name": "cfg", "configMap": {"name": "settings"}}])
            waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'}}
            await node.status("late", lambda status: status["state"] == waiting)
            await node.api.until(lambda: node.api.events("FailedMount"))
            node.api.put(CONFIG, {"metadata": {"name": "settings", "namespace": "shop"}, "data": {"k": "v"}})
            await node.ready("late")
            await node.ready("mount")

    asyncio.run(scenario())


def test_an_unknown_image_is_not_pulled_and_the_pod_stays_pending() -> None:
    async def scenario() -> None:
        async with one_node(image_pull_backoff_initial_s=0.2) as node:
            node.run("bad", [], container={"image": "nosuch:v9"})
            await node.status("bad", lambda status: status["state"].get("waiting", {}).get("reason") == "ErrImagePull")
            pod = await node.status(
                "bad", lambda status: status["state"].get("waiting", {}).get("reason") == "ImagePullBackOff"
            )
            assert pod["status"]["phase"] == "Pending"
            messages = {event["message"] for event in node.api.events()}
            assert {
                'Pulling image "nosuch:v9"',
                "Error: ErrImagePull",
                'Back-off pulling image "nosuch:v9"',
            } <= messages
            node.api.delete_pod("bad", 30)
            await node.api.until(lambda: node.api.pod("bad") is None, 2)

    asyncio.run(scenario())


def test_a_crashing_container_is_restarted_at_once_and_then_with_back_off() -> None:
    async def scenario() -> None:
        async with one_node(crash_loop_initial_s=0.5) as node:
            node.run("crash", python("import sys; sys.exit(3)"))
            await node.status("crash", lambda status: status["state"].get("terminated", {}).get("exitCode") == 3)
            pod = await node.status(
                "crash", lambda status: status["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
            )
            assert first(pod)["lastState"]["terminated"]["reason"] == "Error"
            assert first(pod)["restartCount"] == 1 and pod["status"]["phase"] == "Running"
            began = time.monotonic()
            await node.status("crash", lambda status: status["restartCount"] == 2)
            assert 0.3 < time.monotonic() - began < 1.5
            assert node.api.events("BackOff")[0]["message"].startswith(
                "Back-off restarting failed container app in pod crash_shop("
            )

    asyncio.run(scenario())


def test_restart_policies_decide_the_phase() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("fine", python("pass"), restartPolicy="Never")
            node.run("failed", python("import sys; sys.exit(3)"), restartPolicy="Never")
            node.run("again", python("import sys; sys.exit(3)"), restartPolicy="OnFailure")
            node.run("nosuch", ["nosuch-program"], restartPolicy="Never")
            for name, phase, reason in (
                ("fine", "Succeeded", "PodCompleted"),
                ("failed", "Failed", "PodFailed"),
                ("nosuch", "Failed", "PodFailed"),
            ):
                await node.api.until(lambda n=name, p=phase: (node.api.pod(n) or {})["status"]["phase"] == p, what=name)  # type: ignore[misc]
                assert condition(node.api.pod(name), "Ready")["reason"] == reason
                assert condition(node.api.pod(name), "PodReadyToStartContainers")["status"] == "False"
            lost = first(node.api.pod("nosuch"))["state"]["terminated"]
            assert (lost["exitCode"], lost["reason"]) == (128, "StartError")
            await node.status("again", lambda status: status["restartCount"] >= 1)
            node.api.delete_pod("fine", 30)
            await node.api.until(lambda: node.api.pod("fine") is None, 2)

    asyncio.run(scenario())


def test_init_containers_run_in_order_before_the_rest() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            mount = [{"name": "d", "mountPath": "/d"}]
            inits = [
                {
                    "name": each,
                    "image": "busybox",
                    "command": ["sh", "-c", f"echo {each} >> /d/f"],
                    "volumeMounts": mount,
                }
                for each in ("one", "two")
            ]
            show = ["sh", "-c", "cat /d/f; exec sleep 600"]
            node.run(
                "init",
                show,
                initContainers=inits,
                volumes=[{"name": "d", "emptyDir": {}}],
                container={"image": "busybox", "volumeMounts": mount},
            )
            pod = await node.ready("init")
            assert await until(lambda: node.log("init")) == "one\ntwo\n"
            assert [each["state"]["terminated"]["reason"] for each in pod["status"]["initContainerStatuses"]] == [
                "Completed"
            ] * 2
            bad = [{"name": "bad", "image": "busybox", "command": ["false"]}]
            node.run("never", show, initContainers=bad, restartPolicy="Never")
            await node.api.until(lambda: (node.api.pod("never") or {})["status"]["phase"] == "Failed")
            assert first(node.api.pod("never"))["state"] == {"waiting": {"reason": "PodInitializing"}}

    asyncio.run(scenario())


def test_a_polite_pod_ends_at_sigterm_and_passes_through_succeeded() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("polite", python(POLITE))
            await until_up(node, "polite")
            node.api.delete_pod("polite", 30)
            await node.api.until(lambda: node.api.pod("polite") is None, 2)
            last = [obj for _, path, obj in node.api.history if path == pod_path("polite") and obj][-1]
            assert last["status"]["phase"] == "Succeeded"
            assert first(last)["state"]["terminated"]["reason"] == "Completed"
            assert condition(last, "PodReadyToStartContainers")["status"] == "False"
            assert node.api.events("Killing")[0]["message"] == "Stopping container app"

    asyncio.run(scenario())


def test_a_process_without_a_handler_does_not_see_sigterm_and_is_killed_after_the_grace() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("deaf", python(DEAF), terminationGracePeriodSeconds=3)
            await until_up(node, "deaf")
            began = time.monotonic()
            node.api.delete_pod("deaf", 3)
            await node.api.until(lambda: node.api.pod("deaf") is None, 5)
            assert 2.9 < time.monotonic() - began < 4
            last = [obj for _, path, obj in node.api.history if path == pod_path("deaf") and obj][-1]
            assert last["status"]["phase"] == "Failed" and first(last)["state"]["terminated"]["exitCode"] == 137

    asyncio.run(scenario())


def test_a_second_delete_shortens_the_grace_and_a_forced_one_leaves_two_seconds() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("short", python(DEAF))
            node.run("forced", python(DEAF))
            await until_up(node, "short")
            await until_up(node, "forced")
            node.api.delete_pod("short", 30)
            began = time.monotonic()
            node.api.delete_pod("forced", 0)
            await asyncio.sleep(0.5)
            node.api.delete_pod("short", 1)
            assert len(marked(node.marks())) == 3  # the object is gone, the process is not
            await node.api.until(lambda: node.api.pod("short") is None, 4)
            await until(lambda: len(marked(node.marks())) == 1, 4)
            assert time.monotonic() - began > 1.9

    asyncio.run(scenario())


def test_the_pre_stop_hook_runs_before_sigterm_and_a_failing_one_is_told() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            hook: Any = {"preStop": {"sleep": {"seconds": 1}}}
            node.run("hook", python(POLITE), container={"lifecycle": hook})
            node.run("broken", python(POLITE), container={"lifecycle": {"preStop": {"exec": {"command": ["false"]}}}})
            await until_up(node, "hook")
            await until_up(node, "broken")
            began = time.monotonic()
            node.api.delete_pod("hook", 30)
            node.api.delete_pod("broken", 30)
            await node.api.until(lambda: node.api.pod("broken") is None, 2)
            assert time.monotonic() - began < 0.9
            await node.api.until(lambda: node.api.pod("hook") is None, 3)
            assert 0.95 < time.monotonic() - began < 2
            assert [event["involvedObject"]["name"] for event in node.api.events("FailedPreStopHook")] == ["broken"]

    asyncio.run(scenario())


def test_readiness_gates_hold_ready_back() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("gate", python(POLITE), readinessGates=[{"conditionType": "gold/gate"}])
            await node.api.until(lambda: condition(node.api.pod("gate"), "ContainersReady").get("status") == "True")
            assert condition(node.api.pod("gate"), "Ready")["reason"] == "ReadinessGatesNotReady"
            pod = node.api.objects[pod_path("gate")]
            gate = {"type": "gold/gate", "status": "True"}
            node.api.put(
                pod_path("gate"),
                {**pod, "status": {**pod["status"], "conditions": [*pod["status"]["conditions"], gate]}},
            )
            pod = await node.ready("gate", 1)
            assert condition(pod, "gold/gate") == gate

    asyncio.run(scenario())


def test_a_status_write_that_fails_is_written_again() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.api.fail_next = [500, 503]
            node.run("again", python(POLITE))
            await node.ready("again")
            assert is_ready(node.api.pod("again"))

    asyncio.run(scenario())


def test_a_new_image_restarts_the_container_in_place() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("p", python(POLITE))
            await until_up(node, "p")
            pod = node.api.objects[pod_path("p")]
            container = {**pod["spec"]["containers"][0], "image": "python:3.12"}
            node.api.put(pod_path("p"), {**pod, "spec": {**pod["spec"], "containers": [container]}})
            pod = await node.status("p", lambda status: status["restartCount"] == 1)
            assert first(pod)["image"] == "python:3.12"
            assert node.api.events("Killing")[0]["message"] == "Container app definition changed, will be restarted"

    asyncio.run(scenario())
