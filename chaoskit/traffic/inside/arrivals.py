"""Built-in traffic: an open model inside Locust. Each arrival is sent when the timetable says so, whether or not earlier ones have ended.

Hands arrivals to waiting greenlets and records how each ended. Knows no HTTP, that is the client's.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, ClassVar

import gevent
from gevent.event import Event
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from chaoskit.model.requests import DROPPED
from chaoskit.traffic.inside.client import Client
from chaoskit.traffic.inside.recorder import Recorder
from chaoskit.traffic.log import Row
from chaoskit.traffic.plan import TrafficPlan
from chaoskit.traffic.timetable import Arrival, share_of, timetable

LATE = "generator.late"
"""The error of an arrival that was taken up only after its own deadline: nothing was sent."""
_SPARE_FILES = 100


class ArrivalUser(User):
    """The one Locust user of built-in traffic; its task follows the timetable."""

    fixed_count = 1
    follow: ClassVar[Callable[[], None]]

    @task
    def arrive(self) -> None:
        type(self).follow()
        raise StopUser


class Traffic:
    """Arrivals from `start` until `stop`."""

    def __init__(
        self,
        plan: TrafficPlan,
        client: Client,
        recorder: Recorder,
        process: int,
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._plan = plan
        self._client = client
        self._recorder = recorder
        self._process = process
        self._endpoint = f"{plan.method} {plan.path}"
        self._timeout_ns = int(plan.timeout_s * 1e9)
        self._most = most_in_flight(plan)
        self._hub = gevent.get_hub()
        self._idle: list[Any] = []
        self._workers = 0
        self._go = Event()
        self._t0_ns = 0
        self._stopping = False
        self._crashed = crashed
        ArrivalUser.follow = self._follow
        self._environment = Environment(user_classes=[ArrivalUser])

    def ready(self) -> None:
        """Let Locust start its user, so that the first arrival does not wait for it."""
        self._environment.create_local_runner().start(1, spawn_rate=1)

    def start(self, t0_ns: int) -> None:
        self._t0_ns = t0_ns
        self._go.set()

    def stop(self) -> None:
        """End the timetable and wait for what is in flight: each request ends by its own deadline."""
        self._stopping = True
        give_up_ns = monotonic_ns() + self._timeout_ns + 500_000_000
        while self._recorder.sent > self._recorder.completed and monotonic_ns() < give_up_ns:
            gevent.sleep(0.005)

    @property
    def ended(self) -> str:
        """Why it ended by itself: it never does."""
        return ""

    def _follow(self) -> None:
        self._go.wait()
        try:
            self._keep_timetable()
        except Exception as error:  # noqa: BLE001  # Locust would log it and start the timetable afresh
            self._crashed(error)

    def _keep_timetable(self) -> None:
        plan, ticker = self._plan, Ticker()
        arrivals = timetable(plan.rate_per_s, plan.arrivals, plan.policies, plan.seed)
        for arrival in share_of(arrivals, self._process, plan.processes):
            due_ns = self._t0_ns + arrival.after_ns
            if due_ns > monotonic_ns():
                ticker.wait_until(due_ns)
            if self._stopping:
                return
            self._recorder.planned += 1
            self._hand_out(arrival, due_ns)

    def _hand_out(self, arrival: Arrival, due_ns: int) -> None:
        """To a worker that rests, else to a new one, else to nobody: then the generator is too small, and says so."""
        if self._idle:
            self._recorder.sent += 1
            self._hub.loop.run_callback(self._idle.pop().switch, (arrival, due_ns))
        elif self._workers < self._most:
            self._recorder.sent += 1
            self._workers += 1
            gevent.spawn(self._work, arrival, due_ns).link_exception(lambda worker: self._crashed(worker.exception))
        else:
            now_ns = monotonic_ns()
            self._recorder.drop(self._row(arrival, due_ns, now_ns, now_ns, 0, DROPPED))

    def _work(self, arrival: Arrival, due_ns: int) -> None:
        waiter = gevent.hub.Waiter(self._hub)
        while True:
            self._send(arrival, due_ns)
            waiter.clear()
            self._idle.append(waiter)
            arrival, due_ns = waiter.get()

    def _send(self, arrival: Arrival, due_ns: int) -> None:
        start_ns, deadline_ns = monotonic_ns(), due_ns + self._timeout_ns
        if start_ns >= deadline_ns:
            self._recorder.add(self._row(arrival, due_ns, start_ns, start_ns, 0, LATE))
            return
        answer = self._client.request(arrival.policy, deadline_ns)
        self._recorder.add(
            Row(
                arrival.seq,
                due_ns,
                start_ns,
                monotonic_ns(),
                answer.status,
                answer.error,
                answer.pod,
                answer.version,
                answer.node,
                self._endpoint,
                arrival.policy,
                answer.uses,
            )
        )

    def _row(self, arrival: Arrival, due_ns: int, start_ns: int, end_ns: int, status: int, error: str) -> Row:
        return Row(
            arrival.seq, due_ns, start_ns, end_ns, status, error, "", "", "", self._endpoint, arrival.policy, uses=0
        )


def most_in_flight(plan: TrafficPlan) -> int:
    """What a service that answers nothing would leave in flight, and half as much again; as far as open files allow."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = 2**20 if hard == resource.RLIM_INFINITY else hard
    wanted = math.ceil(plan.rate_per_s * plan.timeout_s * 1.5 / plan.processes) + 32
    return max(1, min(wanted, files - _SPARE_FILES))


class _Spec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class Ticker:
    """Waits until a moment of the monotonic clock, to a tenth of a millisecond.

    gevent's own sleep goes through epoll's timeout in whole milliseconds, a timerfd does not. Where there is none, sleep has to do.
    """

    def __init__(self) -> None:
        self._hub = gevent.get_hub()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = _timerfd(self._libc)
        self._watcher = None if self._fd < 0 else self._hub.loop.io(self._fd, 1)

    def wait_until(self, due_ns: int) -> None:
        at_s, at_ns = divmod(due_ns, 1_000_000_000)
        spec = _Spec(0, 0, at_s, at_ns)
        if self._watcher is None or self._libc.timerfd_settime(self._fd, 1, ctypes.byref(spec), None) != 0:
            gevent.sleep(max(0.0, (due_ns - monotonic_ns()) / 1e9))
            return
        self._hub.wait(self._watcher)
        os.read(self._fd, 8)


def _timerfd(libc: ctypes.CDLL) -> int:
    if not hasattr(libc, "timerfd_create"):
        return -1
    monotonic, flags = 1, os.O_CLOEXEC | os.O_NONBLOCK
    return int(libc.timerfd_create(monotonic, flags))
