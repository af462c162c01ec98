"""Whatever is killed, nothing of the node is left: processes, grandchildren that went their own way, folders."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from chaoskit.sandbox.node.processes import marked
from tests.sandbox.one_node import NODE, OneNode, first, one_node, start_node, until
from tests.sandbox.test_node_pods import POLITE, python, until_up

RUNAWAY = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv("/bin/sleep", ["sleep", "600"])
    os._exit(0)
os.wait(); print("up", flush=True); time.sleep(600)
"""


async def left(node: OneNode, count: int, within_s: float = 4) -> None:
    await until(lambda: len(marked(node.marks())) == count, within_s)


def test_a_runaway_grandchild_dies_with_its_container() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("run", python(RUNAWAY))
            node.run("other", python(POLITE))
            await until_up(node, "run")
            await until_up(node, "other")
            await left(node, 4)
            first_process = [
                pid for pid in marked(node.marks()) if b"os.wait()" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
            os.kill(first_process[0], signal.SIGKILL)
            pod = await node.status("run", lambda status: status["restartCount"] == 1)
            assert first(pod)["lastState"]["terminated"]["exitCode"] == 137
            await until_up(node, "run")
            await left(node, 4)
            node.api.delete_pod("run", 0)
            await left(node, 2)

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_node_is_the_end_of_its_pods(number: signal.Signals) -> None:
    async def scenario() -> None:
        async with one_node() as node:
            for each in ("a", "b"):
                node.run(each, python(POLITE))
                await until_up(node, each)
            node.process.send_signal(number)
            await left(node, 0)
            assert (node.settings.state_dir / NODE).exists() is (
                number == signal.SIGKILL
            )  # after a SIGKILL the janitor's

    asyncio.run(scenario())


def test_a_node_that_returns_starts_its_pods_anew_and_counts_on() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("p", python(POLITE))
            await until_up(node, "p")
            before = first(node.api.pod("p"))
            node.process.kill()
            await left(node, 0)
            second = start_node(node.settings)
            try:
                pod = await node.status(
                    "p", lambda status: status["restartCount"] == 1 and "running" in status["state"]
                )
                lost = first(pod)["lastState"]["terminated"]
                assert (lost["reason"], lost["exitCode"], lost["containerID"]) == (
                    "Unknown",
                    255,
                    before["containerID"],
                )
            finally:
                second.terminate()
                await asyncio.to_thread(second.wait, 10)

    asyncio.run(scenario())


def test_a_frozen_node_leaves_its_pods_serving() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            chatty = "import time\nfor n in range(10**9): print('up', 'x' * 4000, flush=True); time.sleep(0.001)"
            node.run("chatty", python(chatty))
            await until_up(node, "chatty")
            uid = (node.api.pod("chatty") or {})["metadata"]["uid"]
            log = node.settings.state_dir / NODE / "pods" / uid / "app" / "0.log"
            node.process.send_signal(signal.SIGSTOP)
            size = log.stat().st_size
            await until(lambda: log.stat().st_size > size + 300_000, 5)  # more than a pipe would hold
            node.process.send_signal(signal.SIGCONT)
            await node.log("chatty", tailLines="1")

    asyncio.run(scenario())
