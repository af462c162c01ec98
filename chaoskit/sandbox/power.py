"""The power switches and cables of a sandbox's nodes. The launcher's part: it forks supervisors, signals and ends them; knows no HTTP.

Orders come as JSON over a socket whose other end the API server holds, one at a time, and each is answered when it is done.
Every order may be given twice: what is so already stays so. Runs no loop and no thread, because it forks.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from chaoskit.sandbox import janitor, outages
from chaoskit.sandbox.outages import Outage
from chaoskit.sandbox.settings import MAX_NODES, NODE_MARK, ClusterSettings

_log = logging.getLogger(__name__)
MACHINES: Final = "machines.json"
"""In the state folder of a simulated cluster: its machines by name, for the process that is all of them."""
MESSAGE_BYTES: Final = 64 * 1024
LOOK_AGAIN: Final = signal.SIGUSR1
"""Tells a part of the cluster that the marks of outages changed."""


class Refused(Exception):
    """An order that cannot be carried out; `code` is the HTTP status for whoever gave it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Machine:
    """One node as a machine. `pid` is its supervisor's, None without power and for a simulated one; `boots` counts power-ons."""

    name: str
    index: int
    pid: int | None = None
    boots: int = 0


Boot = Callable[[Machine], int]
"""Forks the supervisor of a machine; answers its pid."""


class Power:
    """All machines of one cluster. `boot` forks a supervisor; `told` are the pids of parts that look at the marks of outages."""

    def __init__(self, settings: ClusterSettings, boot: Boot, told: list[int]) -> None:
        self._settings = settings
        self._boot = boot
        self._told = told
        self._highest = 0
        self.machines: dict[str, Machine] = {}

    def add(self) -> Machine:
        """One machine more, switched on. Its number was never used before. Raises Refused when there are addresses for no more."""
        if self._highest >= MAX_NODES:
            raise Refused(
                422, f"this sandbox has numbered {MAX_NODES} nodes, its last: expected fewer nodes over its life"
            )
        self._highest += 1
        machine = Machine(outages.node_name(self._highest), self._highest)
        self.machines[machine.name] = machine
        self._switch_on(machine)
        self._tell(machine)
        return machine

    def find(self, pid: int) -> Machine | None:
        """The machine whose supervisor that process is; of one without power there is none."""
        return next((machine for machine in self.machines.values() if machine.pid == pid), None)

    def answer(self, channel: socket.socket) -> None:
        """Carry out the order that waits in the channel. Raises OSError or ValueError when nobody is at its other end."""
        order = json.loads(channel.recv(MESSAGE_BYTES))
        try:
            said = self.carry_out(order)
        except Refused as refusal:
            said = {"error": str(refusal), "code": refusal.code}
        except OSError as error:
            _log.exception("%s could not be carried out", order)
            said = {"error": f"{type(error).__name__}: {error}", "code": 500}
        channel.sendall(json.dumps(said).encode())

    def carry_out(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """`{"do": VERB, "node": NAME}` -> the state of that node, or of all for "list". Raises Refused."""
        verb = order["do"]
        if verb == "list":
            return {"nodes": [self._state(machine) for machine in self.machines.values()]}
        if verb == "add":
            return self._state(self.add())
        machine = self.machines.get(order["node"])
        if machine is None:
            raise Refused(404, f"this sandbox has no node {order['node']!r}: it has {', '.join(self.machines)}")
        return self._do(verb, machine)

    def _do(self, verb: str, machine: Machine) -> dict[str, Any]:
        match verb:
            case "kill":
                self._switch_off(machine)
            case "start":
                self._switch_on(machine)
            case "freeze":
                self._freeze(machine)
            case "thaw":
                self._thaw(machine)
            case "disconnect":
                outages.mark(self._settings.state_dir, machine.name, Outage.CUT)
            case "reconnect":
                outages.clear(self._settings.state_dir, machine.name, Outage.CUT)
            case "remove":
                self._remove(machine)
            case _:
                raise Refused(
                    404, f"unknown order {verb!r}: expected kill, start, freeze, thaw, disconnect or reconnect"
                )
        self._tell(machine)
        return self._state(machine)

    def _state(self, machine: Machine) -> dict[str, Any]:
        matter = outages.of(self._settings.state_dir, machine.name)
        flags = {
            "powered": Outage.OFF not in matter,
            "frozen": Outage.FROZEN in matter,
            "connected": Outage.CUT not in matter,
        }
        return {"name": machine.name, **flags, "boots": machine.boots}

    # The switches

    def _switch_on(self, machine: Machine) -> None:
        if machine.boots and not outages.holds(self._settings.state_dir, machine.name, Outage.OFF):
            return
        outages.clear(self._settings.state_dir, machine.name, Outage.OFF)
        if not self._settings.simulated_pods:
            machine.pid = self._boot(machine)
        machine.boots += 1

    def _switch_off(self, machine: Machine) -> None:
        """As a power cut: nobody is asked. Disks stay, so what a pod wrote into an emptyDir is there after a boot."""
        folder, pid, machine.pid = self._settings.state_dir, machine.pid, None
        outages.mark(folder, machine.name, Outage.OFF)
        outages.clear(folder, machine.name, Outage.FROZEN)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            janitor.kill_marked(self._settings.id, f"{NODE_MARK}={machine.name}")
            (folder / f"{machine.name}.sock").unlink(missing_ok=True)
            shutil.rmtree(janitor.memory_dir(self._settings.id) / machine.name, ignore_errors=True)

    def _freeze(self, machine: Machine) -> None:
        if outages.holds(self._settings.state_dir, machine.name, Outage.OFF):
            raise Refused(409, f"{machine.name} has no power: start it before you freeze it")
        outages.mark(self._settings.state_dir, machine.name, Outage.FROZEN)
        if machine.pid is not None:
            os.kill(machine.pid, signal.SIGSTOP)

    def _thaw(self, machine: Machine) -> None:
        outages.clear(self._settings.state_dir, machine.name, Outage.FROZEN)
        if machine.pid is not None:
            os.kill(machine.pid, signal.SIGCONT)

    def _remove(self, machine: Machine) -> None:
        self._switch_off(machine)
        del self.machines[machine.name]
        shutil.rmtree(self._settings.state_dir / machine.name, ignore_errors=True)

    def _tell(self, machine: Machine) -> None:
        if self._settings.simulated_pods:
            self._list()
        for pid in (machine.pid, *self._told):
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, LOOK_AGAIN)

    def _list(self) -> None:
        listed = {machine.name: {"index": machine.index, "boots": machine.boots} for machine in self.machines.values()}
        fresh = self._settings.state_dir / f"{MACHINES}.new"
        fresh.write_text(json.dumps(listed))
        fresh.rename(self._settings.state_dir / MACHINES)
