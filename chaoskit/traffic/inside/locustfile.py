"""A user's own locustfile, run unchanged: a closed model. Each request it reports is recorded, and each that it cuts off at the end.

Takes the hidden retries out of the libraries below Locust, so that what the service dropped is told. Judges nothing.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any
from urllib.parse import urlsplit

import gevent
import geventhttpclient.connectionpool
import locust
import requests
import urllib3
from locust import argument_parser, clients
from locust.contrib import fasthttp
from locust.env import Environment
from locust.exception import (
    CatchResponseError,
    InterruptTaskSet,
    RescheduleTask,
    RescheduleTaskImmediately,
    ResponseError,
    StopUser,
)
from locust.util.load_locustfile import load_locustfile

from chaoskit.traffic.inside.recorder import Recorder
from chaoskit.traffic.log import Row
from chaoskit.traffic.plan import GeneratorError, TrafficPlan
from chaoskit.traffic.selftest import Attempt

POLICY = "closed"
CUT = "generator.cut"
"""The error of a request that was cut off at the end before its time was up."""
_CLIENTS = (locust.HttpUser, locust.FastHttpUser)
_SESSIONS = (
    (clients.HttpSession, clients.ResponseContextManager),
    (fasthttp.FastHttpSession, fasthttp.ResponseContextManager),
)
_NO_FAULT = (gevent.GreenletExit, StopUser, RescheduleTask, RescheduleTaskImmediately, InterruptTaskSet)
"""How a task is left without a complaint about the response."""
_SETTINGS = (
    "pool_manager",
    "client_pool",
    "concurrency",
    "max_retries",
    "max_redirects",
    "network_timeout",
    "connection_timeout",
)


def disable_hidden_retries() -> None:
    """Must come before the locustfile: geventhttpclient sends a GET again when its connection breaks, urllib3 when it is told to."""
    # geventhttpclient tries as often as its pool is large, and once more.
    never = property(lambda pool: -1, lambda pool, size: None)
    setattr(geventhttpclient.connectionpool.ConnectionPool, "size", never)  # noqa: B010
    urlopen = urllib3.connectionpool.HTTPConnectionPool.urlopen

    def once(
        pool: Any, method: Any, url: Any, body: Any = None, headers: Any = None, _: Any = None, **more: Any
    ) -> Any:
        return urlopen(pool, method, url, body, headers, **{**more, "retries": urllib3.Retry(0, read=False)})

    setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", once)  # noqa: B010  # an assignment would be a type error


class Traffic:
    """The users of a locustfile, from `start` until `stop`."""

    def __init__(self, plan: TrafficPlan, recorder: Recorder, process: int) -> None:
        assert plan.locustfile is not None
        self._plan = plan
        self._recorder = recorder
        self._users = plan.users // plan.processes + (process < plan.users % plan.processes)
        self._seq = process - plan.processes
        self._stopping = False
        self.user_classes, shapes = _load(plan)
        if shapes and plan.processes > 1:
            raise GeneratorError(
                f"{type(shapes[0]).__name__} of {plan.locustfile} shapes the load of one process; with processes: {plan.processes} each would "
                "make all of it. Leave processes out, or the shape"
            )
        self._environment = _environment(plan, self.user_classes, shapes)
        self._environment.events.request.add_listener(self.record)
        self.request_event = self._environment.events.request
        for session, block in _SESSIONS:
            _watch(session, self)
            _watch_blocks(block, self)

    def ready(self) -> None:
        """Tell the locustfile's listeners that the test is about to be."""
        runner = self._environment.create_local_runner()
        self._environment.events.init.fire(environment=self._environment, runner=runner, web_ui=None)

    def start(self, t0_ns: int) -> None:
        runner = self._environment.runner
        if self._environment.shape_class is not None:
            runner.start_shape()
        else:
            runner.start(self._users, spawn_rate=min(self._users, 100))

    def stop(self) -> None:
        """Ask the users to stop, wait for what is in flight up to the timeout, then cut off and record the rest."""
        self._stopping = True
        self._environment.runner.stop()

    @property
    def ended(self) -> str:
        """Why the traffic ended without having been asked to."""
        if not self._stopping and self._environment.runner.state in ("stopping", "stopped", "cleanup"):
            return "the locustfile ended the test by itself"
        return ""

    @property
    def addresses(self) -> list[str]:
        """Its clients look names up themselves."""
        return []

    def begin(self) -> int:
        self._recorder.sent += 1
        self._recorder.planned += 1
        return monotonic_ns()

    def cut_off(self, method: str, name: str, start_ns: int) -> None:
        """The user was killed in the middle of a request: at the end of the test, past `stop_timeout`."""
        now_ns = monotonic_ns()
        overdue = now_ns - start_ns >= self._plan.timeout_s * 1e9
        self._add(start_ns, now_ns, 0, "timeout.request" if overdue else CUT, ("", "", ""), f"{method} {name}")

    def record(
        self,
        request_type: str,
        name: str,
        response_time: float,
        response: Any = None,
        exception: BaseException | None = None,
        start_time: float | None = None,
        **_: Any,
    ) -> None:
        """Locust's report of one request: its start by the wall clock, which is only trusted for the time until now."""
        now_ns, took_ns = monotonic_ns(), int((response_time or 0) * 1e6)
        age_ns = took_ns if start_time is None else int((time.time() - start_time) * 1e9)
        start_ns = now_ns - max(age_ns, took_ns)
        status = getattr(response, "status_code", 0) or 0
        error = "" if exception is None else _named(exception, status)
        whole = not error or error == "failed.check"
        who = _identity(getattr(response, "headers", None) or {}, self._plan.identity)
        self._add(start_ns, start_ns + took_ns, status if whole else 0, error, who, f"{request_type} {name}")

    def _add(
        self, start_ns: int, end_ns: int, status: int, error: str, who: tuple[str, str, str], endpoint: str
    ) -> None:
        self._seq += self._plan.processes
        self._recorder.add(
            Row(self._seq, start_ns, start_ns, end_ns, status, error, *who, endpoint=endpoint, policy=POLICY, uses=0)
        )


def attempts(user_classes: list[type]) -> dict[str, Callable[[str], Attempt]]:
    """For the self-test: each kind of client that the locustfile's users have, with the users' own settings of it."""
    makers: dict[str, Callable[[str], Attempt]] = {}
    for user in user_classes:
        for client in _CLIENTS:
            if issubclass(user, client):
                makers[f"{client.__name__} of {user.__name__}"] = _maker(client, user)
    return makers


def untested(user_classes: list[type]) -> list[str]:
    """The users with a client of their own making: only its maker knows whether it hides anything."""
    return [user.__name__ for user in user_classes if not issubclass(user, _CLIENTS)]


def _maker(client: type, user: type) -> Callable[[str], Attempt]:
    settings = {name: getattr(user, name) for name in _SETTINGS if hasattr(user, name)}

    def make(url: str) -> Attempt:
        events: Any = locust.event.Events()  # type: ignore[no-untyped-call]
        told: list[bool] = []
        events.request.add_listener(lambda exception=None, **_: told.append(exception is None))
        tester = type("SelfTest", (client,), {**settings, "host": url})(Environment(events=events, host=url))

        def attempt() -> bool:
            told.clear()
            tester.client.get("/")
            return told != [False]  # exactly one report, and that of a failure; anything else hides it

        return attempt

    return make


def _load(plan: TrafficPlan) -> tuple[list[type], list[Any]]:
    try:
        users, shapes = load_locustfile(str(plan.locustfile))
    except SystemExit as error:
        raise GeneratorError(f"locustfile {plan.locustfile} ended the process while it was loaded: {error}") from error
    except Exception as error:  # a border: the user's code
        raise GeneratorError(
            f"locustfile {plan.locustfile} could not be loaded: {type(error).__name__}: {error}"
        ) from error
    if not users:
        raise GeneratorError(f"locustfile {plan.locustfile} has no user class; Locust would find nothing to run either")
    return list(users.values()), shapes


def _environment(plan: TrafficPlan, user_classes: list[type], shapes: list[Any]) -> Any:
    options = argument_parser.get_parser(default_config_files=[]).parse_args(
        ["-f", str(plan.locustfile), "--headless", "-u", str(plan.users), "-H", plan.url]
    )
    return Environment(
        user_classes=user_classes,
        shape_class=shapes[0] if shapes else None,
        events=locust.events,
        host=plan.url,
        stop_timeout=plan.timeout_s + 0.1,
        parsed_options=options,
        locustfile=plan.locustfile.name if plan.locustfile else None,
    )


def _watch(session: Any, traffic: Traffic) -> None:
    """Count a session's requests as they begin, and notice those that never get as far as Locust's report."""
    request = session.request

    def watched(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if self.request_event is not traffic.request_event:  # the self-test's
            return request(self, method, url, *args, **kwargs)
        start_ns = traffic.begin()
        try:
            return request(self, method, url, *args, **kwargs)
        except gevent.GreenletExit:
            traffic.cut_off(method, kwargs.get("name") or urlsplit(url).path or "/", start_ns)
            raise

    session.request = watched


def _watch_blocks(block: Any, traffic: Traffic) -> None:
    """Record what Locust leaves out: a request whose with-block was left by an exception of the user's code, a failed check that is."""
    leave = block.__exit__

    def watched(self: Any, kind: Any, value: Any, trace: Any) -> Any:
        left_out = self._manual_result is None and value is not None and not isinstance(value, ResponseError)
        handled = leave(self, kind, value, trace)
        if left_out and self._request_event is traffic.request_event:
            fault = None if isinstance(value, _NO_FAULT) else ResponseError(repr(value))
            traffic.record(**{**self.request_meta, "exception": getattr(self, "error", None) or fault})
        return handled

    block.__exit__ = watched


_BAD_STATUS = (requests.exceptions.HTTPError, fasthttp.LocustBadStatusCode)
_CLASSES: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "refused.connect"),
    (http.client.RemoteDisconnected, "closed.request"),  # also a ConnectionResetError, whatever really happened
    (ConnectionResetError, "reset.request"),
    (BrokenPipeError, "reset.request"),
    (TimeoutError, "timeout.request"),
    (requests.exceptions.Timeout, "timeout.request"),
    (geventhttpclient.response.HTTPConnectionClosed, "closed.request"),
    (urllib3.exceptions.ProtocolError, "closed.request"),
    (requests.exceptions.ConnectionError, "failed.request"),
)


def _named(exception: BaseException, status: int) -> str:
    """The error as class.phase; of these clients the phase is mostly unknown. A bad status is no error, the status tells."""
    causes = list(_causes(exception))
    for kind, name in _CLASSES:
        if any(isinstance(cause, kind) for cause in causes):
            return name
    if isinstance(exception, CatchResponseError | ResponseError):
        return "failed.check"
    return "" if status and isinstance(exception, _BAD_STATUS) else "failed.request"


def _causes(exception: BaseException | None) -> list[BaseException]:
    """The exception and what is wrapped in it, by chaining or, as urllib3 does, as an argument."""
    found: list[BaseException] = []
    waiting = [exception]
    while waiting and len(found) < 16:
        one = waiting.pop()
        if one is None or one in found:
            continue
        found.append(one)
        inner = [arg for arg in (*one.args, getattr(one, "reason", None)) if isinstance(arg, BaseException)]
        waiting += [*inner, one.__cause__, one.__context__]
    return found


def _identity(headers: Mapping[str, str], names: Mapping[str, str]) -> tuple[str, str, str]:
    pod, version, node = (headers.get(names[who], "") if who in names else "" for who in ("pod", "version", "node"))
    return pod, version, node
