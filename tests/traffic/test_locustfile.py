"""A user's locustfile runs unchanged, and tells what its libraries would have hidden."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from chaoskit.model.requests import Request
from chaoskit.traffic.log import read_requests
from chaoskit.traffic.supervisor import GeneratorError, TrafficPlan, generator
from tests.traffic.app import FIN, OK, RST, SILENCE, App, run_until_seen, serving, until

ONE_GET = """
from locust import {user}, constant_throughput, task

class Shopper({user}):
    wait_time = constant_throughput(20)

    @task
    def browse(self):
        self.client.get("/cart")
"""


async def run(
    folder: Path, source: str, respond: Callable[[int], bytes | Awaitable[bytes]], count: int, **plan: float
) -> tuple[App, list[Request]]:
    (folder / "locustfile.py").write_text(source)
    async with serving(respond) as app:
        fields = TrafficPlan(app.url, locustfile=folder / "locustfile.py", users=10, **plan)  # type: ignore[arg-type]
        async with generator(fields, folder / "run") as traffic:
            await run_until_seen(traffic, app, count)
            assert (traffic.health.error, traffic.health.in_flight) == ("", 0)
    return app, list(read_requests(folder / "run"))


@pytest.mark.parametrize("user", ["HttpUser", "FastHttpUser"])
@pytest.mark.parametrize("drop", [FIN, RST], ids=["fin", "rst"])
def test_ten_dropped_requests_are_ten_failures_and_none_is_sent_twice(tmp_path: Path, user: str, drop: bytes) -> None:
    app, requests = asyncio.run(
        run(tmp_path, ONE_GET.format(user=user), lambda n: drop if n < 100 and n % 10 == 9 else OK, 100)
    )
    failed = [request for request in requests if request.error]
    assert len(failed) == 10, Counter(r.error for r in requests)
    assert {request.error for request in failed} == {"closed.request" if drop == FIN else "reset.request"}
    assert len(requests) == len(app.requests)


@pytest.mark.parametrize("user", ["HttpUser", "FastHttpUser"])
def test_each_request_is_recorded_with_who_answered(tmp_path: Path, user: str) -> None:
    _, requests = asyncio.run(run(tmp_path, ONE_GET.format(user=user), lambda n: OK, 30))
    assert {(r.status, r.error, r.pod, r.version, r.node, r.endpoint, r.policy) for r in requests} == {
        (200, "", "pod-a", "v1", "node-1", "GET /cart", "closed")
    }
    assert all(r.intended_ns == r.start_ns < r.end_ns and r.latency_s < 0.5 for r in requests)


def test_a_bad_status_is_a_status_and_no_error(tmp_path: Path) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    for user in ("HttpUser", "FastHttpUser"):
        (tmp_path / user).mkdir()
        _, requests = asyncio.run(run(tmp_path / user, ONE_GET.format(user=user), lambda n: busy, 20))
        assert {(r.status, r.error) for r in requests} == {(503, "")}


CHECKS = """
from locust import {user}, constant_throughput, task

class Shopper({user}):
    wait_time = constant_throughput(20)

    @task
    def check(self):
        with self.client.get("/said", catch_response=True) as response:
            response.failure("not what was wanted")

    @task
    def stumble(self):
        with self.client.get("/stumbled", catch_response=True) as response:
            response.json()["total"]
"""


@pytest.mark.parametrize("user", ["HttpUser", "FastHttpUser"])
def test_what_the_users_own_checks_reject_is_a_failure_also_when_they_stumble(tmp_path: Path, user: str) -> None:
    """Locust reports nothing of a request whose with-block raises; an outage would vanish that way."""
    app, requests = asyncio.run(run(tmp_path, CHECKS.format(user=user), lambda n: OK, 60))
    assert {(r.status, r.error) for r in requests} == {(200, "failed.check")}
    assert {r.endpoint for r in requests} == {"GET /said", "GET /stumbled"}
    assert len(requests) == len(app.requests)


RETRYING = """
import requests.adapters, urllib3
from locust import HttpUser, constant_throughput, task

class Shopper(HttpUser):
    wait_time = constant_throughput(20)

    def on_start(self):
        self.client.mount("http://", requests.adapters.HTTPAdapter(max_retries=urllib3.Retry(5, backoff_factor=0)))

    @task
    def browse(self):
        self.client.get("/cart")
"""


def test_retries_that_the_locustfile_turns_on_are_turned_off(tmp_path: Path) -> None:
    app, requests = asyncio.run(run(tmp_path, RETRYING, lambda n: FIN if n < 100 and n % 10 == 9 else OK, 100))
    assert sum(1 for request in requests if request.error) == 10
    assert len(requests) == len(app.requests)


HIDING = """
import geventhttpclient.connectionpool
from locust import FastHttpUser, task

geventhttpclient.connectionpool.ConnectionPool.size = 10  # brings the hidden retries back

class Shopper(FastHttpUser):
    @task
    def browse(self):
        self.client.get("/cart")
"""


@pytest.mark.parametrize(
    ("source", "because"),
    [
        (HIDING, "hides dropped requests.*FastHttpUser of Shopper"),
        ("import no_such_module", "could not be loaded: ModuleNotFoundError"),
        ("def x(:", "could not be loaded: SyntaxError"),
        ("import sys; sys.exit(3)", "ended the process while it was loaded"),
        ("import os; os._exit(3)", "died before it was ready: exit code 3"),
        ("x = 1", "no user class"),
    ],
)
def test_a_locustfile_that_cannot_be_trusted_or_run_is_refused_in_one_line(
    tmp_path: Path, source: str, because: str
) -> None:
    (tmp_path / "locustfile.py").write_text(source)

    async def scenario() -> None:
        async with generator(TrafficPlan("http://127.0.0.1:1", locustfile=tmp_path / "locustfile.py"), tmp_path):
            pass

    with pytest.raises(GeneratorError, match=because) as refusal:
        asyncio.run(scenario())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("user", ["HttpUser", "FastHttpUser"])
def test_requests_in_flight_at_the_end_are_awaited(tmp_path: Path, user: str) -> None:
    async def slowly(n: int) -> bytes:
        await asyncio.sleep(0.5)
        return OK

    app, requests = asyncio.run(run(tmp_path, ONE_GET.format(user=user), slowly, 15))
    assert len(requests) == len(app.requests)
    assert {r.status for r in requests} == {200}


@pytest.mark.parametrize("user", ["HttpUser", "FastHttpUser"])
def test_requests_that_never_end_are_failures_too(tmp_path: Path, user: str) -> None:
    """Locust would cut them off at the end without a report."""
    app, requests = asyncio.run(run(tmp_path, ONE_GET.format(user=user), lambda n: SILENCE, 10, timeout_s=0.6))
    assert {(r.status, r.error) for r in requests} == {(0, "timeout.request")}
    assert len(requests) == len(app.requests)


ENDING = """
from locust import HttpUser, task

class Shopper(HttpUser):
    @task
    def browse(self):
        self.client.get("/cart")
        self.environment.runner.quit()
"""


def test_a_locustfile_that_ends_the_test_by_itself_is_told_in_health(tmp_path: Path) -> None:
    (tmp_path / "locustfile.py").write_text(ENDING)

    async def scenario() -> None:
        async with serving() as app:
            plan = TrafficPlan(app.url, locustfile=tmp_path / "locustfile.py", users=1)
            async with generator(plan, tmp_path) as traffic:
                await traffic.start()
                await until(lambda: "ended the test by itself" in traffic.health.error, 5, "an error in health")

    asyncio.run(scenario())


UNCHANGED = """
from locust import HttpUser, LoadTestShape, between, events, task

@events.init_command_line_parser.add_listener
def options(parser):
    parser.add_argument("--basket", default="full")

@events.test_start.add_listener
def started(environment, **_):
    print("started with", environment.parsed_options.basket, environment.host, flush=True)

class Waves(LoadTestShape):
    def tick(self):
        return (3, 3) if self.get_run_time() < 60 else None

class Shopper(HttpUser):
    wait_time = between(0.01, 0.02)

    @task
    def browse(self):
        self.client.get("/cart", name="the cart")
"""


def test_listeners_options_and_shapes_of_a_locustfile_work(tmp_path: Path) -> None:
    app, requests = asyncio.run(run(tmp_path, UNCHANGED, lambda n: OK, 30))
    assert {r.endpoint for r in requests} == {"GET the cart"}
    assert f"started with full {app.url}" in (tmp_path / "run" / "traffic.log").read_text()


OWN_CLIENT = """
import gevent
from locust import User, task

class Shopper(User):
    @task
    def browse(self):
        with self.environment.events.request.measure("RPC", "buy"):
            gevent.sleep(0.05)
"""


def test_a_client_of_the_users_own_making_is_refused_unless_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "locustfile.py").write_text(OWN_CLIENT)

    async def scenario(trusted: bool) -> None:
        plan = TrafficPlan("http://127.0.0.1:1", locustfile=tmp_path / "locustfile.py", users=2, trust_client=trusted)
        async with generator(plan, tmp_path) as traffic:
            await traffic.start()
            await until(lambda: traffic.health.completed > 5, 5, "requests")
            health = await traffic.stop()
            assert (health.in_flight, health.error, traffic.selftest) == (0, "", ())
            assert traffic.facts["untested"] == ["Shopper"]

    with pytest.raises(GeneratorError, match=r"Shopper: this client is the locustfile's own.*trustClient: true"):
        asyncio.run(scenario(trusted=False))
    (tmp_path / "requests.bin").unlink()
    (tmp_path / "requests.strings.jsonl").unlink()
    asyncio.run(scenario(trusted=True))
    assert {(r.endpoint, r.error) for r in read_requests(tmp_path)} == {("RPC buy", "")}


def test_a_shape_is_refused_in_several_processes(tmp_path: Path) -> None:
    """Each of them would make the whole of it."""
    (tmp_path / "locustfile.py").write_text(UNCHANGED)

    async def scenario() -> None:
        plan = TrafficPlan("http://127.0.0.1:1", locustfile=tmp_path / "locustfile.py", users=2, processes=2)
        async with generator(plan, tmp_path):
            pass

    with pytest.raises(GeneratorError, match=r"Waves of .*locustfile\.py shapes the load of one process"):
        asyncio.run(scenario())
