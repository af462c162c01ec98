"""Probes against real servers, and the worker's rules against a scripted container."""

from __future__ import annotations

import asyncio
import time

from chaoskit.sandbox.node.prober import Kind, Prober
from chaoskit.sandbox.node.probes import Attempt, attempt
from chaoskit.sandbox.node.states import Running, State, Terminated
from tests.sandbox.one_node import condition, first, is_ready, one_node
from tests.sandbox.test_node_pods import POD_IP, POLITE, python, until_up
from tests.sandbox.tiny_api import pod_path

SWITCH = """
import http.server, os, signal, sys
signal.signal(15, lambda *a: os._exit(0))
class H(http.server.BaseHTTPRequestHandler):
    bad = set()
    def do_GET(self):
        if self.path.startswith("/break"): H.bad.add(self.path[6:])
        if self.path.startswith("/mend"): H.bad.discard(self.path[5:])
        self.send_response(503 if self.path in H.bad else 200); self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer((os.environ["POD_IP"], 8080), H).serve_forever()
"""


def probe(path: str, **rest: int) -> dict[str, object]:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "failureThreshold": 2, **rest}


CONTAINER = {
    "env": [POD_IP],
    "ports": [{"name": "http", "containerPort": 8080}],
    "readinessProbe": probe("/ready"),
    "livenessProbe": probe("/live", initialDelaySeconds=2),
}


class Script:
    """A container that does as the test says."""

    def __init__(self) -> None:
        self.instance = "one"
        self.state: State = Running("one", 1, time.time() - 100)
        self.started = True
        self.last_restart = False
        self.terminating = False
        self.told: list[bool] = []

    def probed(self, kind: Kind, ok: bool, message: str) -> None:
        self.told.append(ok)


def run_script(
    kind: Kind, answers: list[bool], spec: dict[str, float], script: Script | None = None
) -> tuple[Script, int]:
    """Let a worker take the answers one by one; what it told, and how many answers are left when it rests or ended."""

    async def scenario() -> tuple[Script, int]:
        container, left = script or Script(), list(answers)

        async def one() -> Attempt:
            return Attempt(left.pop(0))

        task = asyncio.create_task(Prober(kind, spec, container, one, lambda _: None).run())
        await asyncio.wait({task}, timeout=0.01 * (len(answers) + 5))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return container, len(left)

    return asyncio.run(scenario())


def test_a_result_counts_after_a_full_row_of_failures_only() -> None:
    spec = {"periodSeconds": 0.01, "failureThreshold": 3}
    script, _ = run_script(Kind.READINESS, [True, False, False, True, False, False, False], spec)
    assert script.told == [True, True, False]


def test_after_a_failed_liveness_probe_the_worker_rests() -> None:
    script, left = run_script(Kind.LIVENESS, [False, False, True, True], {"periodSeconds": 0.01, "failureThreshold": 2})
    assert (script.told, left) == ([False], 2)


def test_liveness_ends_with_the_pods_deletion_and_readiness_goes_on() -> None:
    ending = Script()
    ending.terminating = True
    assert run_script(Kind.LIVENESS, [True], {"periodSeconds": 0.01}, ending)[1] == 1
    assert run_script(Kind.READINESS, [True], {"periodSeconds": 0.01}, ending)[1] == 0


def test_before_start_up_only_the_startup_probe_works_and_after_it_no_more() -> None:
    young = Script()
    young.started = False
    assert run_script(Kind.READINESS, [True], {"periodSeconds": 0.01}, young)[1] == 1
    assert run_script(Kind.STARTUP, [True], {"periodSeconds": 0.01}, young)[1] == 0
    assert run_script(Kind.STARTUP, [True], {"periodSeconds": 0.01})[1] == 1


def test_the_initial_delay_counts_whole_seconds_from_the_start() -> None:
    young = Script()
    young.state = Running("one", 1, time.time())
    assert run_script(Kind.READINESS, [True], {"periodSeconds": 0.01, "initialDelaySeconds": 2}, young)[1] == 1


def test_a_worker_of_a_container_that_ended_for_good_ends() -> None:
    over = Script()
    over.state, over.last_restart = Terminated("one", 0, "Completed", 0, 0), True
    assert run_script(Kind.READINESS, [True], {"periodSeconds": 0.01}, over)[1] == 1


def test_the_texts_of_failures_are_those_of_a_kubelet() -> None:
    async def scenario() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            await asyncio.sleep(3)
            writer.close()

        async def closing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://other.example/x\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        async def execute(argv: tuple[str, ...], limit_s: float) -> tuple[int, bytes]:
            return 7, b"broken"

        servers = [await asyncio.start_server(each, "127.0.0.1", 0) for each in (silent, closing, moved)]
        hang, closed, elsewhere = (each.sockets[0].getsockname()[1] for each in servers)
        servers[1].close()
        for port, text in (
            (hang, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
            (closed, "connection refused"),
        ):
            found = await attempt(
                {"httpGet": {"path": "/live", "port": port}, "timeoutSeconds": 1}, {}, "127.0.0.1", execute
            )
            assert (
                not found.ok
                and found.message.startswith(f'Get "http://127.0.0.1:{port}/live": ')
                and found.message.endswith(text)
            )
        assert (await attempt({"httpGet": {"port": elsewhere}}, {}, "127.0.0.1", execute)).ok
        assert not (await attempt({"tcpSocket": {"port": closed}}, {}, "127.0.0.1", execute)).ok
        assert (await attempt({"tcpSocket": {"port": elsewhere}}, {}, "127.0.0.1", execute)).ok
        assert await attempt({"exec": {"command": ["x"]}}, {}, "127.0.0.1", execute) == Attempt(False, "broken")
        for each in servers:
            each.close()

    asyncio.run(scenario())


def test_a_failing_liveness_probe_restarts_the_container_in_place() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("live", python(SWITCH), container=CONTAINER)
            before = await node.ready("live")
            await break_path(before["status"]["podIP"], "/break/live")
            pod = await node.status("live", lambda status: status["restartCount"] == 1)
            assert first(pod)["lastState"]["terminated"]["reason"] == "Completed"
            assert "running" in first(pod)["state"] and not is_ready(pod)
            assert first(pod)["containerID"] != first(before)["containerID"]
            assert (
                pod["metadata"]["uid"] == before["metadata"]["uid"]
                and pod["status"]["podIP"] == before["status"]["podIP"]
            )
            # Ready stays True until the successor runs: it never showed a terminated container.
            assert not [
                1
                for _, path, obj in node.api.history
                if path == pod_path("live") and "terminated" in first(obj)["state"]
            ]
            await node.ready("live")
            messages = {event["message"]: event["count"] for event in node.api.events()}
            assert messages["Liveness probe failed: HTTP probe failed with statuscode: 503"] == 2
            assert "Container app failed liveness probe, will be restarted" in messages

    asyncio.run(scenario())


def test_a_failing_readiness_probe_takes_the_pod_out_and_restarts_nothing() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            node.run("shy", python(SWITCH), container=CONTAINER)
            pod = await node.ready("shy")
            began = time.monotonic()
            await break_path(pod["status"]["podIP"], "/break/ready")
            await node.api.until(lambda: condition(node.api.pod("shy"), "Ready")["status"] == "False", 5)
            assert 0.9 < time.monotonic() - began < 2.6  # two failures in a row, a second apart
            assert condition(node.api.pod("shy"), "Ready")["reason"] == "ContainersNotReady"
            assert first(node.api.pod("shy"))["restartCount"] == 0
            await break_path(pod["status"]["podIP"], "/mend/ready")
            await node.ready("shy", 3)

    asyncio.run(scenario())


def test_exec_and_startup_probes_gate_and_kill() -> None:
    async def scenario() -> None:
        async with one_node() as node:
            never = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
            # It ends with 0 when told to: OnFailure restarts it all the same, for it was the probe that ended it.
            node.run("stuck", python(POLITE), container={"startupProbe": never}, restartPolicy="OnFailure")
            ok = {"exec": {"command": ["sh", "-c", "test -d $CHAOSKIT_ROOT"]}, "periodSeconds": 1}
            node.run("slow", python(POLITE), container={"startupProbe": ok, "readinessProbe": ok})
            await until_up(node, "slow")
            await node.ready("slow", 4)
            await node.status("stuck", lambda status: status["restartCount"] >= 1, 6)
            assert first(node.api.pod("stuck"))["started"] is False
            assert "Container app failed startup probe, will be restarted" in {
                event["message"] for event in node.api.events("Killing")
            }

    asyncio.run(scenario())


async def break_path(ip: str, path: str) -> None:
    reader, writer = await asyncio.open_connection(ip, 8080)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    await reader.read()
    writer.close()
