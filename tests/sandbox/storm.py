"""SIGKILL in the middle of work, again and again: what is left of a sandbox? Prints a table; exit code 1 when anything was.

Run by hand, each night say: `python -m tests.sandbox.storm [--rounds 50] [VICTIM...]`. Victims: launcher, api, proxy, node,
holder, pod. Each round starts a sandbox of two nodes, loads it with pods that do not want to die, kills at a random moment, and looks
for processes that carry the cluster's mark, for sockets that listen on its addresses, and for its files. `pod` kills a pod's first
process in one living sandbox: there nothing of the old instance may be left, and a new one must run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from chaoskit.sandbox import janitor
from chaoskit.sandbox.node.processes import marked
from chaoskit.sandbox.settings import MARK
from tests.behaviour import manifests
from tests.behaviour.access import Access, eventually

VICTIMS = ("launcher", "api", "proxy", "node", "holder", "pod")
WITHIN_S = 30.0
STUBBORN = """
import os, signal, socket, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server((os.environ["POD_IP"], 8080))
subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
print("up", flush=True)
while True: signal.pause()
"""
HOLDER = """
import asyncio, dataclasses, json, sys
from chaoskit.sandbox.cluster import sandbox
async def main():
    async with sandbox(2) as info:
        print(json.dumps(dataclasses.asdict(info), default=str), flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


@dataclass(slots=True)
class Tally:
    """What was seen of one victim. `worst_s` is the longest it took until nothing was left."""

    rounds: int = 0
    processes: int = 0
    sockets: int = 0
    files: int = 0
    worst_s: float = 0.0
    told: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.processes or self.sockets or self.files)


@contextmanager
def held() -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A sandbox held by another process, which is killed in the end."""
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        try:
            yield holder, json.loads(holder.stdout.readline())
        finally:
            holder.kill()


def load(http: httpx.Client, pods: int = 3) -> None:
    """Pods that ignore SIGTERM, listen, and have a child that went its own way; none of them is waited for."""
    env = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    for number in range(pods):
        pod = manifests.pod(f"p{number}", STUBBORN)
        pod["spec"]["containers"][0]["env"] = env
        assert http.post("/api/v1/namespaces/default/pods", json=pod).status_code == 201


def parts(info: dict[str, Any]) -> list[int]:
    """The launcher's children: API server, proxy, nodes; in the order of their start."""
    path = Path(f"/proc/{info['pid']}/task/{info['pid']}/children")
    return [int(pid) for pid in path.read_text().split()]


def victim_of(what: str, holder: subprocess.Popen[str], info: dict[str, Any]) -> int:
    if what == "holder":
        return holder.pid
    if what == "launcher":
        return int(info["pid"])
    api, proxy, *nodes = parts(info)
    return {"api": api, "proxy": proxy, "node": random.choice(nodes)}[what]


def listening(slot: int, port: int) -> list[str]:
    """Sockets that listen on an address of that slot, or on the API server's port."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, number = bytes.fromhex(local[:8])[::-1], int(local[9:], 16)
        if state == "0A" and ((address[0] == 127 and address[1] == slot) or number == port):
            found.append(local)
    return found


def files(cluster: str) -> list[Path]:
    return [folder for folder in (janitor.state_dir(cluster), janitor.memory_dir(cluster)) if folder.exists()]


def kill_once(what: str, tally: Tally) -> None:
    """One sandbox, one kill, one look."""
    with held() as (holder, info):
        with Access(Path(info["kubeconfig"]), info["context"]).http() as http:
            node = http.get("/api/v1/nodes/node-1").json()
            slot = int(node["status"]["addresses"][0]["address"].split(".")[1])
            load(http)
        time.sleep(random.uniform(0, 1.0))  # somewhere in the middle of work
        os.kill(victim_of(what, holder, info), signal.SIGKILL)
        look(info, slot, tally)


def look(info: dict[str, Any], slot: int, tally: Tally) -> None:
    """Wait until nothing is left; count what is left after all."""
    began, port = time.monotonic(), int(urlsplit(info["server"]).port or 0)
    while time.monotonic() - began < WITHIN_S:
        if not (janitor.marked(info["id"]) or files(info["id"]) or listening(slot, port)):
            break
        time.sleep(0.02)
    processes, sockets, left = janitor.marked(info["id"]), listening(slot, port), files(info["id"])
    tally.rounds += 1
    tally.processes += len(processes)
    tally.sockets += len(sockets)
    tally.files += len(left)
    tally.worst_s = max(tally.worst_s, time.monotonic() - began)
    if processes or sockets or left:
        tally.told.append(f"{info['id']}: {processes} {sockets} {left}")


def kill_pods(rounds: int, tally: Tally) -> None:
    """One sandbox; a pod's first process is killed again and again."""
    with held() as (_, info), Access(Path(info["kubeconfig"]), info["context"]).http() as http:
        load(http, 1)
        path = "/api/v1/namespaces/default/pods/p0"
        for _ in range(rounds):
            kill_pod(http, path, info["id"], tally)


def kill_pod(http: httpx.Client, path: str, cluster: str, tally: Tally) -> None:
    eventually(lambda: http.get(f"{path}/log").text == "up\n", WITHIN_S)
    family = marked({MARK: cluster, "CHAOSKIT_POD_UID": http.get(path).json()["metadata"]["uid"]})
    before = http.get(path).json()["status"]["containerStatuses"][0]["restartCount"]
    began = time.monotonic()
    os.kill(family[0], signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family[:1]), WITHIN_S)
    eventually(lambda: http.get(path).json()["status"]["containerStatuses"][0]["restartCount"] > before, WITHIN_S)
    left = [pid for pid in family if Path(f"/proc/{pid}").exists()]
    tally.rounds += 1
    tally.processes += len(left)
    tally.worst_s = max(tally.worst_s, time.monotonic() - began)


def storm(victims: list[str], rounds: int) -> dict[str, Tally]:
    tallies = {what: Tally() for what in victims}
    for what, tally in tallies.items():
        if what == "pod":
            kill_pods(rounds, tally)
            continue
        for _ in range(rounds):
            kill_once(what, tally)
    return tallies


def table(tallies: dict[str, Tally]) -> str:
    head = f"{'killed':>10} | rounds | processes left | listening sockets left | folders left | longest until clean"
    rows = [
        f"{what:>10} | {t.rounds:>6} | {t.processes:>14} | {t.sockets:>22} | {t.files:>12} | {t.worst_s:>17.1f} s"
        for what, t in tallies.items()
    ]
    return "\n".join([head, *rows, *(line for t in tallies.values() for line in t.told)])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("victims", nargs="*", default=list(VICTIMS), choices=[*VICTIMS, []], metavar="VICTIM")
    parser.add_argument("--rounds", type=int, default=50)
    asked = parser.parse_args()
    tallies = storm(asked.victims, asked.rounds)
    print(table(tallies))
    return 0 if all(tally.clean for tally in tallies.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
