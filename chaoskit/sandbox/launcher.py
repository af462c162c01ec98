"""The process that begins a cluster and outlives it: forks its parts, then only waits for a reason to end it.

Reasons: the lifeline or the process that holds it is gone, a part died, a signal. Then everything of the cluster ends.
Serves nothing, runs no loop and no thread.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from chaoskit.sandbox import apiserver, janitor, kubeconfig, node, outages, proxy, tls
from chaoskit.sandbox.node import simulation
from chaoskit.sandbox.power import LOOK_AGAIN, Machine, Power
from chaoskit.sandbox.processes import adopt_orphans, fork_child
from chaoskit.sandbox.settings import MARK, PROFILES, SLOTS, ClusterSettings, first_service_address

_log = logging.getLogger(__name__)
_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Order:
    """What to launch. `lifeline` is a descriptor whose end ends the cluster; without it, it runs until it is told.

    `keeper` is the process that holds the other end. `record` is where to describe a running cluster, `merge_into` a
    kubeconfig of the user's to carry its context meanwhile.
    """

    nodes: int
    profile: str
    lifeline: int | None = None
    keeper: int | None = None
    record: str | None = None
    merge_into: str | None = None
    simulate: bool = False
    """Whether pods run no process."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        return cls(**json.loads(text))


def main(order: Order) -> int:
    """Launch, wait, end. Prints one line of JSON on stdout when all nodes are Ready, or when that will never be."""
    janitor.sweep()
    cluster = os.environ[MARK]
    folder = janitor.state_dir(cluster)
    folder.mkdir(mode=0o700)
    launch = _Launch(order, cluster, folder)
    try:
        launch.begin()
        because = launch.wait()
        _log.info("ending: %s", because)
    except Exception as error:  # noqa: BLE001 - a front: whoever asked is told
        _log.exception("the cluster could not be started")
        launch.say({"error": f"{type(error).__name__}: {error}"})
        return 1
    finally:
        launch.end()
    return 0


class _Launch:
    """One cluster, from its first child to its last trace."""

    def __init__(self, order: Order, cluster: str, folder: Path) -> None:
        self._order, self._cluster, self._folder = order, cluster, folder
        self._settings: ClusterSettings | None = None
        self._children: dict[int, str] = {}
        self._power: Power | None = None
        self._orders: socket.socket | None = None
        self._lifeline = -1
        self._not_for_children: list[int] = []
        self._ready = -1
        self._announced = False
        self._signals = -1

    def begin(self) -> None:
        lock = janitor.hold(self._folder)
        adopt_orphans()
        janitor.memory_dir(self._cluster).mkdir(mode=0o700, exist_ok=True)
        slot = claim_slot()
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        credentials = tls.issue(("127.0.0.1", first_service_address(_slot_of(slot))))
        settings = self._settings = self._describe(listener, _slot_of(slot), credentials)
        self._watch_signals()
        self._ready, ready_writer = os.pipe()
        self._lifeline, lifeline_writer = os.pipe()
        self._orders, asking = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._not_for_children = [lock, lifeline_writer, self._ready, self._orders.fileno()]
        context = tls.server_context(self._folder / "server.crt", self._folder / "server.key")
        self._fork("api", lambda: apiserver.serve(settings, listener, context, ready_writer, asking), last=True)
        listener.close()
        asking.close()
        os.close(ready_writer)
        told = [self._fork("proxy", lambda: proxy.serve(settings))]
        if settings.simulated_pods:
            told.append(self._fork("nodes", lambda: simulation.serve(settings)))
        self._power = Power(settings, lambda machine: self._boot(settings, machine), told)
        for _ in settings.nodes:
            self._power.add()

    def _fork(self, name: str, work: Callable[[], Any], *, last: bool = False) -> int:
        at_end = self._end_alone if last else None
        pid = fork_child(name, work, lifeline=self._lifeline, close=self._not_for_children, at_end=at_end)
        self._children[pid] = name
        return pid

    def _boot(self, settings: ClusterSettings, machine: Machine) -> int:
        name, index, boots = machine.name, machine.index, machine.boots
        return fork_child(
            name,
            lambda: node.serve(settings, name, index, boots),
            lifeline=self._lifeline,
            close=self._not_for_children,
        )

    def _describe(self, listener: socket.socket, slot: int, credentials: tls.Credentials) -> ClusterSettings:
        for name, content in (("ca.crt", credentials.authority), ("server.crt", credentials.certificate)):
            (self._folder / name).write_bytes(content)
        key = os.open(self._folder / "server.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(key, "wb") as file:
            file.write(credentials.key)
        settings = ClusterSettings(
            id=self._cluster,
            slot=slot,
            server=f"https://127.0.0.1:{listener.getsockname()[1]}",
            token=secrets.token_urlsafe(24),
            ca_file=self._folder / "ca.crt",
            state_dir=self._folder,
            timings=PROFILES[self._order.profile](),
            profile=self._order.profile,
            nodes=tuple(outages.node_name(index) for index in range(1, self._order.nodes + 1)),
            simulated_pods=self._order.simulate,
        )
        config = kubeconfig.entries(settings.server, credentials.authority, settings.token)
        kubeconfig.write(self._folder / "kubeconfig", config)
        record, merged_into = self._order.record, self._order.merge_into
        janitor.note_traces(self._folder, settings.server, record=record, merged_into=merged_into)
        return settings

    def _watch_signals(self) -> None:
        """Signals arrive as bytes on a descriptor, beside everything else there is to wait for."""
        reading, writing = socket.socketpair()
        writing.setblocking(False)
        signal.set_wakeup_fd(writing.detach())
        self._signals = reading.detach()
        for number in (*_ENDING, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.signal(LOOK_AGAIN, signal.SIG_IGN)  # for the children, of whom each listens when it is ready to

    def wait(self) -> str:
        """Until there is a reason to end; answers it."""
        poll = select.poll()
        assert self._orders is not None
        for descriptor in (self._ready, self._signals, self._orders.fileno(), self._order.lifeline, self._keeper()):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN | select.POLLHUP)
        while True:
            for descriptor, _ in poll.poll():
                because = self._look(descriptor, poll)
                if because:
                    return because

    def _keeper(self) -> int | None:
        if self._order.keeper is None:
            return None
        try:
            return os.pidfd_open(self._order.keeper)
        except (OSError, AttributeError):
            return None  # gone already, or an old kernel: the lifeline tells as well

    def _look(self, descriptor: int, poll: select.poll) -> str:
        """What a descriptor has to say: a reason to end, or nothing."""
        if descriptor == self._ready:
            poll.unregister(descriptor)
            if os.read(descriptor, 64):
                self._announce()
            return ""
        if self._orders is not None and descriptor == self._orders.fileno():
            return self._obey(self._orders)
        if descriptor != self._signals:
            return "whoever started this cluster is gone"
        numbers = set(os.read(descriptor, 256))
        if numbers & set(_ENDING):
            return "told to by a signal"
        return self._reap()

    def _obey(self, orders: socket.socket) -> str:
        """An order about a node; the end of orders is the end of the API server."""
        assert self._power is not None
        try:
            self._power.answer(orders)
        except (OSError, ValueError):
            return "the API server gives no more orders"
        return ""

    def _reap(self) -> str:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return ""
                if name := self._part(pid):
                    return f"{name} ended with {os.waitstatus_to_exitcode(status)}"
        return ""

    def _part(self, pid: int) -> str:
        """The part of the cluster that process was; nothing for an orphan, and for a supervisor whose node was switched off."""
        machine = None if self._power is None else self._power.find(pid)
        return self._children.get(pid, "") if machine is None else machine.name

    def _announce(self) -> None:
        settings = self._settings
        assert settings is not None
        config = str(self._folder / "kubeconfig")
        if self._order.merge_into is not None:
            entries = kubeconfig.entries(settings.server, settings.ca_file.read_bytes(), settings.token)
            kubeconfig.merge(Path(self._order.merge_into), entries)
            config = self._order.merge_into
        info = {"kubeconfig": config, "server": settings.server, "profile": settings.profile, "pid": os.getpid()}
        info |= {"id": settings.id, "nodes": settings.nodes}
        if self._order.record is not None:
            Path(self._order.record).write_text(json.dumps(info))
        self.say(info)

    def say(self, line: dict[str, Any]) -> None:
        """One line to whoever launched us, the first time only."""
        if not self._announced:
            self._announced = True
            with suppress(BrokenPipeError):
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()

    def _end_alone(self) -> None:
        """The last act of the API server when the launcher was killed."""
        janitor.end(self._cluster, self._folder)

    def end(self) -> None:
        self.say({"error": "the cluster ended before its nodes were ready"})
        janitor.end(self._cluster, self._folder)


def claim_slot() -> socket.socket:
    """Claim a range of addresses by an abstract socket, free again when the last process that holds it is gone.

    Raises OSError when all are taken.
    """
    for slot in SLOTS:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0chaoskit-sandbox-{slot}")
        except OSError:
            claim.close()
        else:
            return claim
    raise OSError(f"all {len(SLOTS)} address ranges for sandboxes are in use: end one with `chaoskit sandbox down`")


def _slot_of(claim: socket.socket) -> int:
    name: bytes = claim.getsockname()
    return int(name.rpartition(b"-")[2])
