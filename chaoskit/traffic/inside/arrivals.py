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
AT_ONCE = 64
"""How many arrivals that are due already are begun before answers are looked for again."""
_SPARE_FILES = 100


class ArrivalUser(User):
    """The one Locust user of built-in traffic; its task lasts as long as the timetable is followed."""

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
        self._client = client
        self._recorder = recorder
        self._endpoints = [kind.endpoint for kind in plan.kinds]
        self._timeout_ns = int(plan.timeout_s * 1e9)
        self._most = most_in_flight(plan)
        self._hub = gevent.get_hub()
        self._idle: list[Any] = []
        self._workers = 0
        weights = [kind.weight for kind in plan.kinds]
        arrivals = timetable(plan.rate_per_s, plan.arrivals, plan.policies, plan.seed, weights)
        self._arrivals = share_of(arrivals, process, plan.processes)
        self._next = next(self._arrivals)
        self._ticker = Ticker(self._tick)
        self._go, self._over = Event(), Event()
        self._t0_ns = 0
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
        self._ticker.stop()
        self._over.set()
        give_up_ns = monotonic_ns() + self._timeout_ns + 500_000_000
        while self._recorder.sent > self._recorder.completed and monotonic_ns() < give_up_ns:
            gevent.sleep(0.005)

    @property
    def ended(self) -> str:
        """Why it ended by itself: it never does."""
        return ""

    @property
    def addresses(self) -> list[str]:
        return self._client.addresses

    def _follow(self) -> None:
        self._go.wait()
        self._ticker.at(self._t0_ns + self._next.after_ns)
        self._over.wait()

    def _tick(self) -> None:
        """In the loop itself, which saves a switch for each arrival: begin all that is due, and be called again for the next."""
        try:
            self._begin_due()
        except Exception as error:  # noqa: BLE001  # the loop would print it and go on
            self._crashed(error)

    def _begin_due(self) -> None:
        now_ns = monotonic_ns()
        for _ in range(AT_ONCE):
            arrival = self._next
            due_ns = self._t0_ns + arrival.after_ns
            if due_ns > now_ns:
                break
            self._recorder.planned += 1
            self._hand_out(arrival, due_ns)
            self._next = next(self._arrivals)
        self._ticker.at(self._t0_ns + self._next.after_ns)

    def _hand_out(self, arrival: Arrival, due_ns: int) -> None:
        """To a worker that rests, else to a new one, else to nobody: then the generator is too small, and says so."""
        if self._idle:
            self._recorder.sent += 1
            self._idle.pop().switch((arrival, due_ns))
        elif self._workers < self._most:
            self._recorder.sent += 1
            self._workers += 1
            gevent.spawn(self._work, arrival, due_ns).link_exception(lambda worker: self._crashed(worker.exception))
        else:
            now_ns = monotonic_ns()
            self._record(arrival, due_ns, now_ns, now_ns, DROPPED)

    def _work(self, arrival: Arrival, due_ns: int) -> None:
        me, switch, rest = gevent.getcurrent(), self._hub.switch, self._idle.append
        while True:
            self._send(arrival, due_ns)
            rest(me)
            arrival, due_ns = switch()

    def _send(self, arrival: Arrival, due_ns: int) -> None:
        start_ns, deadline_ns = monotonic_ns(), due_ns + self._timeout_ns
        if start_ns >= deadline_ns:
            self._record(arrival, due_ns, start_ns, start_ns, LATE)
            return
        status, error, pod, version, node, uses = self._client.request(arrival.policy, deadline_ns, arrival.kind)
        end_ns, endpoint = monotonic_ns(), self._endpoints[arrival.kind]
        self._recorder.add(
            Row(
                arrival.seq,
                due_ns,
                start_ns,
                end_ns,
                status,
                error,
                pod,
                version,
                node,
                endpoint,
                arrival.policy,
                uses,
            )
        )

    def _record(self, arrival: Arrival, due_ns: int, start_ns: int, end_ns: int, error: str) -> None:
        """What was not sent."""
        endpoint = self._endpoints[arrival.kind]
        row = Row(arrival.seq, due_ns, start_ns, end_ns, 0, error, "", "", "", endpoint, arrival.policy, uses=0)
        if error == DROPPED:
            self._recorder.drop(row)
        else:
            self._recorder.add(row)


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
    """Calls at a moment of the monotonic clock, to a tenth of a millisecond; in the loop, where nothing may wait.

    gevent's own timers go through epoll's timeout in whole milliseconds, a timerfd does not. Where there is none, they have to do.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._loop = gevent.get_hub().loop
        self._spec = _Spec()
        self._arguments = (ctypes.c_int(1), ctypes.byref(self._spec), ctypes.c_void_p(None))
        libc = ctypes.CDLL(None, use_errno=True)
        fd = _timerfd(libc)
        self._fd = ctypes.c_int(fd)
        self._set = getattr(libc, "timerfd_settime", None)
        self._timer: Any = None
        self._watcher = None if fd < 0 else self._loop.io(fd, 1)

    def at(self, due_ns: int) -> None:
        """Call then, or as soon as possible; setting it anew also takes back what was due."""
        if self._watcher is None:
            self._timer = self._loop.timer(max(0.0, (due_ns - monotonic_ns()) / 1e9))
            self._timer.start(self._call)
            return
        if not self._watcher.active:
            self._watcher.start(self._call)
        self._spec.at_s, self._spec.at_ns = divmod(due_ns, 1_000_000_000)
        if self._set is not None and self._set(self._fd, *self._arguments) != 0:
            raise OSError(ctypes.get_errno(), "the timer cannot be set")

    def stop(self) -> None:
        for watcher in (self._watcher, self._timer):
            if watcher is not None:
                watcher.stop()


def _timerfd(libc: ctypes.CDLL) -> int:
    if not hasattr(libc, "timerfd_create"):
        return -1
    monotonic, flags = 1, os.O_CLOEXEC | os.O_NONBLOCK
    return int(libc.timerfd_create(monotonic, flags))
