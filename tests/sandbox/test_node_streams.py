"""The node's unix socket: logs and exec sessions, as the API server relays them."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson

from chaoskit.sandbox.node.processes import marked
from tests.sandbox.one_node import OneNode, first, one_node, until
from tests.sandbox.test_node_pods import POLITE, python, until_up

LINES = "import time; [print('line', n, flush=True) for n in range(5)]; time.sleep(0.3); print('late', end='', flush=True); time.sleep(600)"


async def executed(
    node: OneNode, name: str, *argv: str, stdin: bytes | None = None, tty: bool = False
) -> tuple[bytes, bytes, Any]:
    """stdout, stderr and the Status of a command."""
    params = [("command", word) for word in argv] + [("stdout", "true"), ("stderr", "true"), ("tty", str(tty).lower())]
    params += [("stdin", "true")] if stdin is not None else []
    found = {1: b"", 2: b"", 3: b""}
    url = f"http://node/exec/shop/{name}/app"
    async with (
        asyncio.timeout(10),
        node.http.ws_connect(url, params=params, protocols=("v5.channel.k8s.io",)) as socket,
    ):
        if stdin is not None:
            await socket.send_bytes(b"\0" + stdin)
            await socket.send_bytes(bytes([255, 0]))
        async for message in socket:
            assert message.type is aiohttp.WSMsgType.BINARY
            found[message.data[0]] += message.data[1:]
        assert socket.close_code == 1000
    return found[1], found[2], orjson.loads(found[3])


def test_exec_relays_output_input_and_exit_codes() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("p", python(POLITE), container={"env": [{"name": "A", "value": "b"}]})
            await until_up(node, "p")
            out, err, status = await executed(node, "p", "sh", "-c", "echo $A; echo oops >&2; exit 3")
            assert (out, err) == (b"b\n", b"oops\n")
            assert status["reason"] == "NonZeroExitCode" and status["details"]["causes"] == [
                {"reason": "ExitCode", "message": "3"}
            ]
            out, _, status = await executed(node, "p", "cat", stdin=b"x" * 200_000)
            assert out == b"x" * 200_000 and status["status"] == "Success"
            _, _, status = await executed(node, "p", "sh", "-c", "kill -9 $$")
            assert status["details"]["causes"][0]["message"] == "137"
            out, _, _ = await executed(node, "p", "sh", "-c", "test -t 0 && echo terminal", tty=True)
            assert out == b"terminal\r\n"
            _, _, status = await executed(node, "p", "nosuch")
            assert status["reason"] == "InternalError" and "executable file not found in $PATH" in status["message"]

    asyncio.run(scenario())


def test_kill_1_reaches_the_container_and_pkill_nobody() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("p", python(POLITE))
            await until_up(node, "p")
            _, err, status = await executed(node, "p", "pkill", "-f", "python")
            assert b"no PID namespaces" in err and status["details"]["causes"][0]["message"] == "1"
            assert (await executed(node, "p", "kill", "-9", "1"))[2]["status"] == "Success"
            assert first(node.api.pod("p"))["restartCount"] == 0
            assert (await executed(node, "p", "sh", "-c", "kill 1"))[2]["status"] == "Success"
            await node.status("p", lambda status: status["restartCount"] == 1)

    asyncio.run(scenario())


def test_a_client_that_leaves_takes_its_command_with_it() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("p", python(POLITE))
            await until_up(node, "p")
            before = len(marked(node.marks()))
            params = [("command", "sleep"), ("command", "600"), ("stdout", "true")]
            async with node.http.ws_connect("http://node/exec/shop/p/app", params=params):
                await until(lambda: len(marked(node.marks())) == before + 1)
            await until(lambda: len(marked(node.marks())) == before, 3)

    asyncio.run(scenario())


def test_logs_are_filtered_stamped_and_followed_to_the_end() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("p", python(LINES), terminationGracePeriodSeconds=1)
            follow = asyncio.create_task(followed(node, "p"))
            await until(lambda: _late(node))
            assert await node.log("p", tailLines="2") == "line 4\nlate"
            assert await node.log("p", tailLines="0") == ""
            assert await node.log("p", limitBytes="9") == "line 0\nli"
            assert await node.log("p", sinceSeconds="3600") == await node.log("p")
            stamps = [line.split(" ")[0] for line in (await node.log("p", timestamps="true")).splitlines()]
            assert stamps == sorted(stamps) and len(stamps) == 6
            assert stamps[-1] > stamps[0] and all(stamp.endswith("Z") for stamp in stamps)
            assert await node.log("p", sinceTime=stamps[-1].replace("000Z", "Z")) == "late"
            node.api.delete_pod("p", 0)
            assert (await asyncio.wait_for(follow, 5)).endswith("late")

    asyncio.run(scenario())


async def _late(node: OneNode) -> bool:
    return (await node.log("p")).endswith("late")


async def followed(node: OneNode, name: str) -> str:
    await node.status(name, lambda status: "running" in status["state"])
    return await node.log(name, follow="true")


def test_the_previous_instances_log_is_kept_and_errors_say_what_is_missing() -> None:
    async def scenario() -> None:
        async with one_node(crash_loop_initial_s=0.3) as node:
            node.run(
                "p",
                ["sh", "-c", "head -c 8 /proc/sys/kernel/random/uuid; sleep 0.2; exit 1"],
                container={"image": "busybox"},
            )
            await node.status("p", lambda status: status["restartCount"] == 1 and "running" in status["state"])
            current, previous = await node.log("p"), await node.log("p", previous="true")
            assert previous and current != previous
            node.run("bad", [], container={"image": "nosuch"})
            await node.status("bad", lambda status: "waiting" in status["state"])
            assert 'container "app" in pod "bad" is waiting to start' in await node.log("bad")
            assert await node.log("none") == "none"

    asyncio.run(scenario())
