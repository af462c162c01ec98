"""The traffic process: `python -m chaoskit.traffic.child FD`, started by the supervisor with one end of a socket.

The first order is the plan. Then the client is put to the self-test, `hello` goes out, and orders follow: start, stop, kill. When the parent
is gone the traffic stops at once: there is never load without somebody who watches it. Judges nothing and knows no cluster.
"""

from __future__ import annotations

# Locust first: it patches the standard library, and what was imported before would keep the unpatched parts.
import locust

# isort: split
import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any, Protocol

import gevent

from chaoskit.traffic import plan as plans
from chaoskit.traffic import ports, selftest
from chaoskit.traffic.inside import arrivals, locustfile
from chaoskit.traffic.inside.client import Client
from chaoskit.traffic.inside.control import Control
from chaoskit.traffic.inside.recorder import Recorder
from chaoskit.traffic.plan import GeneratorError, TrafficPlan

HEALTH_EVERY_S = 1.0


class Traffic(Protocol):
    """Either kind: built-in arrivals, or a user's locustfile."""

    def ready(self) -> None: ...

    def start(self, t0_ns: int) -> None: ...

    def stop(self) -> None: ...

    @property
    def ended(self) -> str: ...

    @property
    def addresses(self) -> list[str]: ...


def main() -> None:
    """Serve the parent at the other end of the given socket."""
    _die_with_parent()
    control = Control(int(sys.argv[1]))
    orders = control.orders()
    try:
        _serve(control, orders)
    except GeneratorError as error:
        control.tell("refused", why=_one_line(error))
        _leave(3)
    except Exception as error:  # noqa: BLE001  # the border of this process
        traceback.print_exc()
        control.tell("refused", why=f"the traffic process failed: {type(error).__name__}: {_one_line(error)}")
        _leave(1)


def _serve(control: Control, orders: Iterator[dict[str, Any]]) -> None:
    first = next(orders, None)
    if first is None:
        return
    plan, process = plans.from_json(first["plan"]), first["process"]
    _print_into(first["output"])
    recorder = Recorder(Path(first["folder"]), process)
    gevent.signal_handler(signal.SIGTERM, lambda: _leave(143, recorder))
    traffic, reports, untested = _prepare(plan, recorder, process, lambda error: _crash(control, recorder, error))
    traffic.ready()
    gc.collect()
    gc.freeze()  # what is loaded by now stays: later collections need not look at it
    gevent.spawn(recorder.keep_flushing)
    said = [str(report) for report in reports]
    control.tell("hello", pid=os.getpid(), locust=locust.__version__, selftest=said, untested=untested)
    for order in orders:
        _obey(order, control, recorder, traffic)
    _leave(0, recorder)  # nobody is there any more


def _obey(order: dict[str, Any], control: Control, recorder: Recorder, traffic: Traffic) -> None:
    if order["do"] == "start":
        traffic.start(order["t0_ns"])
        gevent.spawn(_keep_telling, control, recorder, traffic)
    elif order["do"] == "stop":
        gevent.spawn(_finish, control, recorder, traffic)
    elif order["do"] == "kill":
        _leave(0, recorder)


def _prepare(
    plan: TrafficPlan, recorder: Recorder, process: int, crashed: Callable[[BaseException], None]
) -> tuple[Traffic, list[selftest.Report], list[str]]:
    """The traffic of the plan, once its clients have shown that they tell of every drop; what they showed, and who was not asked."""
    if plan.locustfile is None:
        reports = [_tested(policy, _attempts(plan, policy)) for policy, share in plan.policies.items() if share > 0]
        return _built_in(plan, recorder, process, crashed), reports, []
    locustfile.disable_hidden_retries()
    users = locustfile.Traffic(plan, recorder, process)
    untested = locustfile.untested(users.user_classes)
    if untested and not plan.trust_client:
        raise GeneratorError(
            f"{', '.join(untested)}: this client is the locustfile's own, so whether it tells of every dropped request cannot be tested; "
            "use HttpUser or FastHttpUser, or say trustClient: true to take it at its word"
        )
    return users, [_tested(client, make) for client, make in locustfile.attempts(users.user_classes).items()], untested


def _built_in(
    plan: TrafficPlan, recorder: Recorder, process: int, crashed: Callable[[BaseException], None]
) -> arrivals.Traffic:
    client = Client(plan, process)
    try:
        client.resolve()
    except OSError as error:
        raise GeneratorError(f"the host of {plan.url} has no address here ({error}); check the url") from error
    if (why := ports.refusal(plan, client.addresses)) is not None:
        raise GeneratorError(why)
    return arrivals.Traffic(plan, client, recorder, process, crashed)


def _tested(client: str, make: Callable[[str], selftest.Attempt]) -> selftest.Report:
    with gevent.Timeout(
        10, GeneratorError(f"the self-test of {client} did not end within 10 s; is loopback filtered?")
    ):
        report = selftest.probe(client, make)
    if not report.honest:
        raise GeneratorError(f"this client hides dropped requests, its traffic would prove nothing: {report}")
    return report


def _attempts(plan: TrafficPlan, policy: str) -> Callable[[str], selftest.Attempt]:
    """The built-in client, with one kept connection, so that the test's drops meet kept and new ones."""

    def make(url: str) -> selftest.Attempt:
        tested = TrafficPlan(url, policies={policy: 1.0}, rate_per_s=0.1, timeout_s=plan.timeout_s)
        client = Client(tested)
        return lambda: client.request(policy, monotonic_ns() + 2_000_000_000).status == 200

    return make


def _keep_telling(control: Control, recorder: Recorder, traffic: Traffic) -> None:
    while True:
        gevent.sleep(HEALTH_EVERY_S)
        control.tell("health", **recorder.health(), error=traffic.ended, addresses=traffic.addresses)


def _finish(control: Control, recorder: Recorder, traffic: Traffic) -> None:
    ended = traffic.ended
    traffic.stop()
    control.tell("bye", **recorder.health(), error=ended, addresses=traffic.addresses)
    _leave(0, recorder)


def _crash(control: Control, recorder: Recorder, error: BaseException) -> None:
    traceback.print_exception(error)
    what = f"the traffic process failed: {type(error).__name__}: {_one_line(error)}"
    control.tell("health", **recorder.health(), error=what, addresses=[])
    _leave(1, recorder)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:1000]


def _leave(code: int, recorder: Recorder | None = None) -> None:
    """End now, with everything on file; without waiting for threads and exit handlers of a user's code."""
    if recorder is not None:
        recorder.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _print_into(path: str) -> None:
    """From now on; what was printed before stays where the parent finds it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    os.close(file)


def _die_with_parent() -> None:
    """Should this process hang so badly that it cannot notice the end of its socket, the kernel ends it."""
    set_death_signal = 1
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(set_death_signal, signal.SIGKILL)


if __name__ == "__main__":
    main()
