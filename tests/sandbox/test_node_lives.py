"""Init containers, sidecars, deadlines, memory limits, last words: how the containers of one pod live and end together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chaoskit.sandbox.node import farewell, memory
from tests.sandbox.one_node import condition, first, one_node, until
from tests.sandbox.test_node_pods import POLITE, python, until_up

Obj = dict[str, Any]
TOLD = """
import signal, sys, time
name, delay = sys.argv[1], float(sys.argv[2])
def end(*_):
    time.sleep(delay); print(f"{name} ends", file=open(sys.argv[3], "a"), flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, end)
print(f"{name} starts", file=open(sys.argv[3], "a"), flush=True)
while True: time.sleep(0.05)
"""


def told(file: Path, name: str, delay: str = "0", **rest: Any) -> Obj:
    """A container that writes to a file of this machine when it starts and when it has ended politely."""
    return {"name": name, "image": "python:3.11-slim", "command": [*python(TOLD), name, delay, str(file)], **rest}


def test_sidecars_start_in_order_and_end_in_reverse_after_the_containers(tmp_path: Path) -> None:
    file = tmp_path / "told"

    async def scenario() -> None:
        async with one_node() as node:
            heard = [
                {"exec": {"command": ["grep", "-q", name, str(file)]}, "periodSeconds": 1} for name in ("one", "two")
            ]
            sidecars = [
                told(file, "one", restartPolicy="Always", startupProbe=heard[0]),
                told(file, "two", restartPolicy="Always", startupProbe=heard[1]),
            ]
            node.bind(
                "s", {"restartPolicy": "Always", "initContainers": sidecars, "containers": [told(file, "app", "0.3")]}
            )
            await until(lambda: file.exists() and len(file.read_text().splitlines()) == 3)
            node.api.delete_pod("s", 20)
            await node.api.until(lambda: node.api.pod("s") is None, 15)

    asyncio.run(scenario())
    began = ["one starts", "two starts", "app starts"]
    assert file.read_text().splitlines() == [*began, "app ends", "two ends", "one ends"]


def test_a_sidecar_does_not_keep_a_finished_pod_and_the_pod_is_not_over_before_it(tmp_path: Path) -> None:
    file = tmp_path / "told"

    async def scenario() -> None:
        async with one_node() as node:
            heard = {"exec": {"command": ["test", "-s", str(file)]}, "periodSeconds": 1}
            sidecars = [told(file, "log", "0.5", restartPolicy="Always", startupProbe=heard)]
            main = {"name": "app", "image": "python:3.11-slim", "command": ["sh", "-c", "sleep 0.3"]}
            node.bind("job", {"restartPolicy": "Never", "initContainers": sidecars, "containers": [main]})
            pod = await node.status("job", lambda status: "terminated" in status["state"])
            assert pod["status"]["phase"] == "Running"  # the sidecar still says goodbye
            await node.api.until(lambda: (node.api.pod("job") or {})["status"]["phase"] == "Succeeded")
            over = (node.api.pod("job") or {})["status"]["initContainerStatuses"][0]["state"]["terminated"]
            assert over["exitCode"] == 0 and condition(node.api.pod("job"), "Initialized")["status"] == "True"

    asyncio.run(scenario())
    assert file.read_text().splitlines() == ["log starts", "log ends"]


def test_a_sidecar_is_restarted_whatever_the_pods_policy_says() -> None:
    async def scenario() -> None:
        async with one_node(crash_loop_initial_s=0.1) as node:
            crash = {
                "name": "side",
                "image": "busybox",
                "command": ["sh", "-c", "sleep 0.3"],
                "restartPolicy": "Always",
            }
            main = {"name": "app", "image": "python:3.11-slim", "command": python(POLITE)}
            node.bind("p", {"restartPolicy": "Never", "initContainers": [crash], "containers": [main]})
            await node.api.until(
                lambda: (
                    ((node.api.pod("p") or {}).get("status", {}).get("initContainerStatuses") or [{}])[0].get(
                        "restartCount", 0
                    )
                    >= 2
                )
            )
            assert first(node.api.pod("p"))["restartCount"] == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("policy", "code", "phase", "restarts"),
    [
        ("Never", 0, "Succeeded", False),
        ("Never", 3, "Failed", False),
        ("OnFailure", 0, "Succeeded", False),
        ("OnFailure", 3, "Running", True),
        ("Always", 0, "Running", True),
        ("Always", 3, "Running", True),
    ],
)
def test_the_restart_policy_and_the_exit_code_decide(policy: str, code: int, phase: str, restarts: bool) -> None:
    async def scenario() -> None:
        async with one_node(crash_loop_initial_s=0.1) as node:
            node.run("p", ["sh", "-c", f"exit {code}"], restartPolicy=policy)
            if restarts:
                await node.status("p", lambda status: status["restartCount"] >= 2)
            await node.api.until(lambda: (node.api.pod("p") or {})["status"]["phase"] == phase)
            assert (first(node.api.pod("p"))["restartCount"] > 0) is restarts

    asyncio.run(scenario())


def test_last_words_come_from_the_file_or_from_the_log_and_only_after_an_error() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            cases = {
                "file": ("echo from the file > /dev/termination-log; exit 1", "File"),
                "log": ("echo from the log; exit 1", "FallbackToLogsOnError"),
                "fine": ("echo from the log; exit 0", "FallbackToLogsOnError"),
            }
            for name, (script, policy) in cases.items():
                more = {"terminationMessagePolicy": policy}
                node.run(name, ["sh", "-c", script], restartPolicy="Never", container=more)
            said = {}
            for name in cases:
                pod = await node.status(name, lambda status: "terminated" in status["state"])
                said[name] = first(pod)["state"]["terminated"].get("message", "")
            assert said == {"file": "from the file\n", "log": "from the log\n", "fine": ""}

    asyncio.run(scenario())


def test_long_last_words_are_cut(tmp_path: Path) -> None:
    file, log = tmp_path / "file", tmp_path / "log"
    file.write_text("x" * 5000)
    log.write_text("".join(f"{number}\n" for number in range(1000)))
    assert len(farewell.message({}, file, log, 0)) == 4096
    file.write_text("")
    tail = farewell.message({"terminationMessagePolicy": "FallbackToLogsOnError"}, file, log, 1).splitlines()
    assert len(tail) == 80 and tail[-1] == "999"


def test_a_pod_past_its_active_deadline_fails_and_stays() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("p", python(POLITE), restartPolicy="Never", activeDeadlineSeconds=2)
            await until_up(node, "p")
            await node.api.until(lambda: (node.api.pod("p") or {})["status"]["phase"] == "Failed", 8)
            pod = node.api.pod("p") or {}
            assert pod["status"]["reason"] == "DeadlineExceeded"
            assert "terminated" in first(pod)["state"] and condition(pod, "Ready")["reason"] == "PodFailed"
            assert len(node.api.events("DeadlineExceeded")) == 1
            await asyncio.sleep(0.3)
            assert first(node.api.pod("p"))["restartCount"] == 0
            node.api.delete_pod("p", 30)
            await node.api.until(lambda: node.api.pod("p") is None)

    asyncio.run(scenario())


def test_a_container_that_outgrows_its_memory_limit_is_killed_and_restarted() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            grow = "import time\ntime.sleep(0.5)\nx = bytearray(120_000_000)\ntime.sleep(600)"
            limits = {"resources": {"limits": {"memory": "64Mi"}}}
            node.run("fat", python(grow), container=limits)
            node.run("thin", python(POLITE), container=limits)
            pod = await node.status("fat", lambda status: status["restartCount"] == 1)
            over = first(pod)["lastState"]["terminated"]
            assert (over["reason"], over["exitCode"]) == ("OOMKilled", 137)
            assert first(node.api.pod("thin"))["restartCount"] == 0

    asyncio.run(scenario())


def test_memory_is_that_of_the_whole_family() -> None:
    async def scenario() -> None:
        held = "x = bytearray(30_000_000); import time; time.sleep(60)"
        parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {held!r}])"
        process = await asyncio.create_subprocess_exec("python3", "-c", parent)
        try:
            async with asyncio.timeout(10):
                await memory.outgrown(process.pid, 25_000_000)
        finally:
            process.kill()
            await process.wait()
        assert memory.used_bytes(process.pid) == 0

    asyncio.run(scenario())
