"""The sample application as its users meet it: real processes, real sockets, real signals."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SERVICE = Path(__file__).resolve().parents[2] / "sample-app" / "service.py"
DEADLINE_S = 15.0
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def die_with_the_tests() -> None:
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class Running:
    process: subprocess.Popen[str]
    port: int
    admin_port: int

    def get(self, path: str = "/") -> Reply:
        return ask(self.port, "GET", path)

    def turn_on(self, name: str, run: str = "r1", ttl_s: float = 60, **options: int) -> Reply:
        body = json.dumps({"run": run, "ttlSeconds": ttl_s, **options})
        return ask(self.admin_port, "PUT", f"/switches/{name}", body)

    def turn_off(self, name: str, run: str = "r1") -> Reply:
        return ask(self.admin_port, "DELETE", f"/switches/{name}?run={run}")

    def look_at(self, name: str) -> Reply:
        return ask(self.admin_port, "GET", f"/switches/{name}")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


def ask(port: int, method: str, path: str, body: str | None = None) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        return ask_on(connection, method, path, body)


def ask_on(connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> Reply:
    connection.request(method, path, body)
    response = connection.getresponse()
    return Reply(response.status, dict(response.headers), response.read().decode())


def send_raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def wait_until(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not fact():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.01)


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
    except OSError:
        return True
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def spawn(role: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SERVICE), role, "--host", "127.0.0.1"],
        env={**os.environ, "PORT": "0", "ADMIN_PORT": "0", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_the_tests,
    )


@contextlib.contextmanager
def spawned(role: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    with spawn(role, **env) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def running(role: str, **env: str) -> Iterator[Running]:
    with spawned(role, **env) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], DEADLINE_S)[0], f"{role} did not say within {DEADLINE_S} s"
        ports = re.findall(r"port (\d+)", process.stdout.readline())
        assert len(ports) == 2, process.communicate(timeout=DEADLINE_S)[1]
        yield Running(process, int(ports[0]), int(ports[1]))


@pytest.fixture
def checkout() -> Iterator[Running]:
    with running("checkout") as service:
        yield service


def storefront_of(port: int) -> contextlib.AbstractContextManager[Running]:
    return running("storefront", CHECKOUT_URL=f"http://127.0.0.1:{port}")


# ---- Serving


def test_every_answer_says_which_pod_node_and_version_gave_it() -> None:
    with running("checkout", POD_NAME="checkout-abc", NODE_NAME="node-2", APP_VERSION="1.2.3") as service:
        replies = [service.get(path) for path in ("/", "/healthz", "/readyz", "/nowhere")]
        replies += [service.look_at("slow"), service.turn_on("slow")]
    assert [reply.status for reply in replies] == [200, 200, 200, 404, 404, 400]
    for reply in replies:
        assert [reply.headers[name] for name in ("X-Pod", "X-Node", "X-Version")] == ["checkout-abc", "node-2", "1.2.3"]


def test_checkout_counts_orders_and_a_readiness_probe_takes_none(checkout: Running) -> None:
    assert checkout.get().json["order"] == 1
    assert checkout.get("/readyz").status == 200
    assert checkout.get().json["order"] == 2


def test_the_storefront_shows_the_order_it_got_from_checkout(checkout: Running) -> None:
    with storefront_of(checkout.port) as storefront:
        reply = storefront.get()
    assert reply.status == 200
    assert "Order 1," in reply.text
    assert checkout.get().json["order"] == 2


def test_one_connection_serves_many_requests_and_closes_when_asked(checkout: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", checkout.port, timeout=DEADLINE_S)
    connection.connect()
    kept = connection.sock
    with contextlib.closing(connection):
        replies = [ask_on(connection, "GET", "/") for _ in range(3)]
        assert connection.sock is kept
    assert [reply.headers["Connection"] for reply in replies] == ["keep-alive"] * 3
    assert b"Connection: close" in send_raw(checkout.port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert b"Connection: close" in send_raw(checkout.port, b"GET / HTTP/1.0\r\n\r\n")


def test_pipelined_requests_are_answered_in_order(checkout: Running) -> None:
    answers = send_raw(checkout.port, b"GET / HTTP/1.1\r\n\r\n" * 3)
    assert [int(number) for number in re.findall(rb'"order": (\d+)', answers)] == [1, 2, 3]


def test_a_head_request_gets_the_headers_only(checkout: Running) -> None:
    head, _, body = send_raw(checkout.port, b"HEAD /healthz HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length: 20" in head
    assert body == b""


def test_a_burst_of_connections_is_answered_in_full(checkout: Running) -> None:
    connections = [socket.create_connection(("127.0.0.1", checkout.port), timeout=DEADLINE_S) for _ in range(100)]
    for connection in connections:
        connection.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    answers = []
    for connection in connections:
        with connection:
            answers.append(b"".join(iter(lambda connection=connection: connection.recv(65536), b"")))  # type: ignore[misc]
    assert len({re.findall(rb'"order": (\d+)', answer)[0] for answer in answers}) == 100


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / SPDY/3\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 413),
        (b"PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\n\r\n", 405),
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
    ],
)
def test_a_request_that_cannot_be_served_is_told_why_and_harms_nothing(
    checkout: Running, request_bytes: bytes, status: int
) -> None:
    answer = send_raw(checkout.port, request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b'"error"' in answer
    assert checkout.get().status == 200


# ---- The storefront without a checkout that works


def test_the_storefront_answers_502_when_checkout_refuses_and_stays_ready() -> None:
    with storefront_of(free_port()) as storefront:
        reply = storefront.get()
        assert reply.status == 502
        assert "checkout at http://127.0.0.1" in reply.json["error"]
        assert "refused" in reply.json["error"]
        assert storefront.get("/readyz").status == 200


def test_the_storefront_answers_502_with_the_error_of_a_broken_checkout() -> None:
    with running("checkout", BROKEN="requests") as checkout, storefront_of(checkout.port) as storefront:
        reply = storefront.get()
    assert reply.status == 502
    assert "500 Internal Server Error" in reply.json["error"]


def test_the_storefront_gives_checkout_one_second(checkout: Running) -> None:
    checkout.turn_on("slow", delayMs=5000)
    with storefront_of(checkout.port) as storefront:
        start = time.monotonic()
        reply = storefront.get()
        took_s = time.monotonic() - start
    assert reply.status == 502
    assert "timed out" in reply.json["error"]
    assert 1.0 <= took_s < 4.0


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\n[]", b"\r\n\r\n"])
def test_the_storefront_answers_502_when_checkout_answers_nonsense(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, storefront_of(listener.getsockname()[1]) as storefront:
        with ThreadPoolExecutor(1) as pool:
            reply = pool.submit(storefront.get)
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
        assert reply.result().status == 502


# ---- Switches


@pytest.mark.parametrize(
    ("name", "healthz", "readyz", "front"),
    [("liveness", 500, 200, 200), ("readiness", 200, 503, 200), ("requests", 200, 503, 500)],
)
def test_a_switch_makes_its_own_thing_fail_until_it_is_turned_off(
    checkout: Running, name: str, healthz: int, readyz: int, front: int
) -> None:
    paths = ("/healthz", "/readyz", "/")
    assert [checkout.get(path).status for path in paths] == [200, 200, 200]
    assert checkout.turn_on(name).status == 200
    assert [checkout.get(path).status for path in paths] == [healthz, readyz, front]
    assert checkout.turn_off(name).status == 200
    assert [checkout.get(path).status for path in paths] == [200, 200, 200]


def test_the_slow_switch_delays_serving_and_readiness_but_not_liveness(checkout: Running) -> None:
    def took_s(path: str) -> float:
        start = time.monotonic()
        assert checkout.get(path).status == 200
        return time.monotonic() - start

    checkout.turn_on("slow", delayMs=300)
    assert took_s("/") >= 0.3
    assert took_s("/readyz") >= 0.3
    assert min(took_s("/healthz") for _ in range(5)) < 0.3


def test_the_crash_switch_ends_the_process_right_after_its_answer(checkout: Running) -> None:
    reply = checkout.turn_on("crash", exitCode=42)
    assert reply.status == 200
    assert reply.json["exitCode"] == 42
    assert checkout.process.wait(DEADLINE_S) == 42


def test_a_switch_tells_its_state_while_on_and_404_while_off(checkout: Running) -> None:
    assert checkout.look_at("slow").status == 404
    checkout.turn_on("slow", run="run-7", ttl_s=30, delayMs=5)
    state = checkout.look_at("slow").json
    assert 0 < state.pop("remainingSeconds") <= 30
    assert state == {"switch": "slow", "run": "run-7", "ttlSeconds": 30, "delayMs": 5}
    listed = ask(checkout.admin_port, "GET", "/switches").json["switches"]
    assert [(switch["switch"], switch["run"]) for switch in listed] == [("slow", "run-7")]
    checkout.turn_off("slow", run="run-7")
    assert ask(checkout.admin_port, "GET", "/switches").json == {"switches": []}


def test_a_switch_ends_by_itself_and_may_then_be_taken_by_another_run(checkout: Running) -> None:
    start = time.monotonic()
    checkout.turn_on("readiness", run="first", ttl_s=1)
    assert checkout.get("/readyz").status == 503
    wait_until(lambda: checkout.get("/readyz").status == 200, "ready again when the time is up")
    assert time.monotonic() - start >= 1.0
    assert checkout.look_at("readiness").status == 404
    assert checkout.turn_on("readiness", run="second").status == 200


def test_the_same_run_may_turn_a_switch_on_again_to_start_its_time_afresh(checkout: Running) -> None:
    checkout.turn_on("liveness", ttl_s=5)
    assert checkout.turn_on("liveness", ttl_s=600).status == 200
    assert checkout.look_at("liveness").json["remainingSeconds"] > 5


def test_another_run_can_neither_take_nor_turn_off_a_switch(checkout: Running) -> None:
    checkout.turn_on("slow", run="holder", delayMs=1)
    taken = checkout.turn_on("slow", run="stranger", delayMs=9)
    turned_off = checkout.turn_off("slow", run="stranger")
    assert (taken.status, turned_off.status) == (409, 409)
    assert "held by run holder" in taken.json["error"]
    state = checkout.look_at("slow").json
    assert (state["run"], state["delayMs"]) == ("holder", 1)


def test_turning_off_what_is_off_succeeds_but_needs_a_run(checkout: Running) -> None:
    assert checkout.turn_off("liveness").status == 200
    assert ask(checkout.admin_port, "DELETE", "/switches/liveness").status == 400


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("liveness", "", "not a JSON object"),
        ("liveness", "{", "not a JSON object"),
        ("liveness", "[" * 50000, "not a JSON object"),
        ("liveness", "[]", "not a JSON object"),
        ("liveness", '{"ttlSeconds": 30}', "run: missing"),
        ("liveness", '{"run": "", "ttlSeconds": 30}', "run: missing"),
        ("liveness", '{"run": 7, "ttlSeconds": 30}', "run: missing"),
        ("liveness", '{"run": "r"}', "ttlSeconds: null"),
        ("liveness", '{"run": "r", "ttlSeconds": 0}', "ttlSeconds: 0, expected a number from 1 to 3600"),
        ("liveness", '{"run": "r", "ttlSeconds": 3601}', "ttlSeconds: 3601"),
        ("liveness", '{"run": "r", "ttlSeconds": NaN}', "ttlSeconds: NaN"),
        ("liveness", '{"run": "r", "ttlSeconds": true}', "ttlSeconds: true"),
        ("liveness", '{"run": "r", "ttlSeconds": "30"}', 'ttlSeconds: "30"'),
        ("liveness", '{"run": "r", "ttlSeconds": 30, "delayMs": 1}', "delayMs: unknown"),
        ("slow", '{"run": "r", "ttlSeconds": 30}', "delayMs: null"),
        ("slow", '{"run": "r", "ttlSeconds": 30, "delayMs": 0.5}', "delayMs: 0.5, expected a whole number"),
        ("slow", '{"run": "r", "ttlSeconds": 30, "delayMs": -1}', "delayMs: -1"),
        ("crash", '{"run": "r", "ttlSeconds": 30, "exitCode": 256}', "exitCode: 256"),
    ],
)
def test_a_bad_body_is_refused_with_the_reason_and_turns_nothing_on(
    checkout: Running, name: str, body: str, reason: str
) -> None:
    reply = ask(checkout.admin_port, "PUT", f"/switches/{name}", body)
    assert reply.status == 400
    assert reason in reply.json["error"]
    assert checkout.look_at(name).status == 404


def test_a_chunked_body_is_understood_since_a_proxy_may_send_one(checkout: Running) -> None:
    parts = (b'{"run": "r", ', b'"ttlSeconds": 30}')
    body = b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"
    head = b"PUT /switches/liveness HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = send_raw(checkout.admin_port, head + body + b"GET /switches/liveness HTTP/1.1\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200"]


def test_an_unknown_switch_is_404_and_an_unknown_verb_405(checkout: Running) -> None:
    assert checkout.turn_on("gravity").status == 404
    assert ask(checkout.admin_port, "POST", "/switches/liveness").status == 405
    assert checkout.get("/switches").status == 404, "the port of the service offers no switches"


# ---- The end


def begin(port: int) -> socket.socket:
    """A connection that is accepted, as its first answer shows, and kept alive."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    return connection


def test_a_request_in_flight_is_answered_before_the_process_ends(checkout: Running) -> None:
    checkout.turn_on("slow", delayMs=500)
    with begin(checkout.port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        checkout.terminate()
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in answer
    assert checkout.process.wait(DEADLINE_S) == 0
    assert refuses(checkout.port)
    assert refuses(checkout.admin_port)


def test_new_requests_are_answered_while_a_connection_is_open_and_all_are_told_to_close(checkout: Running) -> None:
    with begin(checkout.port) as kept_alive:
        checkout.terminate()
        wait_until(lambda: checkout.get().headers["Connection"] == "close", "a new connection told to close")
        kept_alive.sendall(b"GET / HTTP/1.1\r\n\r\n")
        last = b"".join(iter(lambda: kept_alive.recv(65536), b""))
    assert last.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in last
    assert checkout.process.wait(DEADLINE_S) == 0


def test_a_connection_that_stays_open_delays_the_end_by_a_second_only(checkout: Running) -> None:
    with begin(checkout.port):
        start = time.monotonic()
        checkout.terminate()
        assert checkout.process.wait(DEADLINE_S) == 0
        took_s = time.monotonic() - start
    assert 1.0 <= took_s < 5.0


def test_an_idle_process_ends_at_once(checkout: Running) -> None:
    start = time.monotonic()
    checkout.terminate()
    assert checkout.process.wait(DEADLINE_S) == 0
    assert time.monotonic() - start < 0.9


def test_a_process_told_to_ignore_sigterm_serves_on() -> None:
    with running("checkout", IGNORE_SIGTERM="1") as service:
        service.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(0.3)
        assert service.get().status == 200
        service.process.kill()
        assert service.process.wait(DEADLINE_S) == -signal.SIGKILL


# ---- Bad releases and bad settings


@pytest.mark.parametrize(
    ("broken", "front", "readyz"),
    [("", 200, 200), ("requests", 500, 503), ("readiness", 200, 503), ("requests, readiness", 500, 503)],
)
def test_a_broken_release_shows_what_it_cannot_do_and_stays_alive(broken: str, front: int, readyz: int) -> None:
    with running("checkout", BROKEN=broken) as service:
        assert [service.get(path).status for path in ("/", "/readyz", "/healthz")] == [front, readyz, 200]


def test_a_storefront_release_that_cannot_serve_is_not_ready_either() -> None:
    with running("storefront", BROKEN="requests", CHECKOUT_URL="http://127.0.0.1:9") as service:
        reply = service.get("/readyz")
    assert reply.status == 503
    assert "broken in this release" in reply.json["error"]


def test_a_slow_start_listens_only_after_its_delay() -> None:
    port = free_port()
    start = time.monotonic()
    with spawned("checkout", STARTUP_DELAY_S="0.5", PORT=str(port)):
        wait_until(lambda: not refuses(port), "listening after the delay")
        assert time.monotonic() - start >= 0.5


def test_sigterm_during_a_slow_start_ends_it_with_0() -> None:
    with spawned("checkout", STARTUP_DELAY_S="60") as process:
        status = Path(f"/proc/{process.pid}/status")
        catches_term = 1 << (signal.SIGTERM - 1)
        wait_until(
            lambda: bool(int(re.findall(r"SigCgt:\t(\w+)", status.read_text())[0], 16) & catches_term),
            "a handler for SIGTERM",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("role", "env", "code", "reason"),
    [
        ("checkout", {"BROKEN": "start"}, 1, "does not start"),
        ("checkout", {"BROKEN": "everything"}, 2, "BROKEN: everything"),
        ("checkout", {"PORT": "http"}, 2, "PORT: 'http'"),
        ("checkout", {"STARTUP_DELAY_S": "nan"}, 2, "STARTUP_DELAY_S: 'nan'"),
        ("storefront", {"CHECKOUT_URL": ""}, 2, "CHECKOUT_URL: ''"),
        ("storefront", {"CHECKOUT_URL": "http://$(CHECKOUT_SERVICE_HOST):$(CHECKOUT_SERVICE_PORT)"}, 2, "older"),
        ("market", {}, 2, "usage"),
    ],
)
def test_a_process_that_cannot_start_says_why(role: str, env: dict[str, str], code: int, reason: str) -> None:
    with spawned(role, **env) as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code
    assert reason in output + errors
    assert "Traceback" not in errors


def test_a_taken_port_is_said_in_one_line(checkout: Running) -> None:
    with spawned("checkout", PORT=str(checkout.port)) as process:
        errors = process.communicate(timeout=DEADLINE_S)[1]
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
