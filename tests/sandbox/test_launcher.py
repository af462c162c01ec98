"""A sandbox ends with whoever holds it, whatever is killed, and leaves nothing. Real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from chaoskit.sandbox import cluster, janitor, kubeconfig
from chaoskit.sandbox.cluster import SandboxError, SandboxInfo, sandbox
from tests.behaviour import manifests
from tests.behaviour.access import Access, eventually

HOLDER = """
import asyncio, dataclasses, json, sys
from chaoskit.sandbox.cluster import sandbox
async def main():
    async with sandbox(2) as info:
        print(json.dumps(dataclasses.asdict(info), default=str), flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A sandbox held by another process."""

    holder: subprocess.Popen[str]
    info: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.info["id"])

    def child(self, what: str) -> int:
        """The pid of a part: found by what only that part has open."""
        port = urlsplit(self.info["server"]).port
        children = Path(f"/proc/{self.info['pid']}/task/{self.info['pid']}/children").read_text().split()
        listening = [int(pid) for pid in children if _listens(int(pid), port)]
        others = [int(pid) for pid in children if int(pid) not in listening]
        return listening[0] if what == "api" else others[-1]


def _listens(pid: int, port: int | None) -> bool:
    inodes = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].partition(":")[2], 16) == port
    }
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return any(link == f"socket:[{inode}]" for link in links for inode in inodes)


@contextmanager
def _held() -> Iterator[Held]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        held = Held(holder, json.loads(holder.stdout.readline()))
        try:
            yield held
        finally:
            holder.kill()


def _run_pod(info: dict[str, Any]) -> None:
    """A pod that ignores SIGTERM and has a child in a session of its own, so that ending them takes more than asking."""
    stubborn = (
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)\n"
        "print('up', flush=True)\n"
        "while True: signal.pause()"
    )
    access = Access(Path(info["kubeconfig"]), info["context"])
    with access.http() as http:
        made = http.post("/api/v1/namespaces/default/pods", json=manifests.pod("p", stubborn))
        assert made.status_code == 201, made.text
        eventually(lambda: http.get("/api/v1/namespaces/default/pods/p/log").text == "up\n")


def _assert_nothing_left(info: dict[str, Any], within_s: float = 10.0) -> None:
    eventually(lambda: not janitor.marked(info["id"]), within_s, f"no process of {info['id']}")
    eventually(lambda: not janitor.state_dir(info["id"]).exists(), within_s, "no folder")
    address = urlsplit(info["server"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(address.hostname), int(address.port or 0)), 1).close()


def _as_dict(info: SandboxInfo) -> dict[str, Any]:
    return {"id": info.id, "server": info.server, "kubeconfig": str(info.kubeconfig), "context": info.context}


def test_a_sandbox_lives_as_long_as_its_block() -> None:
    async def use() -> SandboxInfo:
        async with sandbox(2) as info:
            assert info.nodes == ("node-1", "node-2") and info.context == "chaoskit-sandbox"
            assert janitor.marked(info.id) and janitor.state_dir(info.id).exists()
            await asyncio.to_thread(_run_pod, _as_dict(info))
        return info

    _assert_nothing_left(_as_dict(asyncio.run(use())), 1.0)


def test_an_error_in_the_block_ends_the_sandbox_too() -> None:
    seen: list[SandboxInfo] = []

    async def use() -> None:
        async with sandbox(1) as info:
            seen.append(info)
            raise RuntimeError("the experiment failed")

    with pytest.raises(RuntimeError, match="the experiment failed"):
        asyncio.run(use())
    _assert_nothing_left(_as_dict(seen[0]), 1.0)


def test_only_this_user_can_read_what_a_sandbox_writes() -> None:
    async def use() -> None:
        async with sandbox(1) as info:
            folder = janitor.state_dir(info.id)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert stat.S_IMODE(info.kubeconfig.stat().st_mode) == 0o600
            assert stat.S_IMODE((folder / "server.key").stat().st_mode) == 0o600

    asyncio.run(use())


def test_two_sandboxes_do_not_meet() -> None:
    async def use() -> None:
        async with sandbox(1) as one, sandbox(1) as two:
            addresses = []
            for info in (one, two):
                with Access(info.kubeconfig, info.context).http() as http:
                    (node,) = http.get("/api/v1/nodes").json()["items"]
                    addresses.append(node["status"]["addresses"][0]["address"])
            assert one.server != two.server and addresses[0] != addresses[1]

    asyncio.run(use())


@pytest.mark.parametrize("victim", ["holder", "launcher", "api", "node"])
def test_nothing_is_left_when_a_part_is_killed(victim: str) -> None:
    with _held() as held:
        _run_pod(held.info)
        pid = {"holder": held.holder.pid, "launcher": held.info["pid"]}.get(victim) or held.child(victim)
        os.kill(pid, signal.SIGKILL)
        _assert_nothing_left(held.info)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_when_the_launcher_is_told_to_end(number: signal.Signals) -> None:
    with _held() as held:
        os.kill(held.info["pid"], number)
        _assert_nothing_left(held.info, 5.0)


def test_launcher_and_api_killed_together_leave_only_files_that_the_next_start_sweeps() -> None:
    with _held() as held:
        _run_pod(held.info)
        api = held.child("api")
        for pid in (held.info["pid"], api):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not janitor.marked(held.id), 10.0, "no process, though both janitors are dead")
        janitor.sweep()
        _assert_nothing_left(held.info, 1.0)


def test_a_sweep_leaves_the_living_alone() -> None:
    async def use() -> None:
        async with sandbox(1) as info:
            assert info.id not in janitor.sweep() and janitor.marked(info.id)

    asyncio.run(use())


@pytest.mark.parametrize(
    ("nodes", "profile", "said"), [(0, "fast", "expected 1 to 120"), (3, "slow", "unknown profile")]
)
def test_what_cannot_be_started_is_said_at_once(nodes: int, profile: str, said: str) -> None:
    async def use() -> None:
        async with sandbox(nodes, profile):
            pass

    with pytest.raises(SandboxError, match=said):
        asyncio.run(use())


def test_elsewhere_than_on_linux_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match=r"needs Linux and this is darwin: name a cluster with --context instead"):
        cluster.up()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user without a detached cluster."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kube" / "config"))
    yield tmp_path
    cluster.down()


def test_a_detached_cluster_is_up_until_it_is_taken_down(home: Path) -> None:
    assert cluster.status() is None and cluster.down() is False
    info = cluster.up(1)
    assert cluster.status() == info and info.kubeconfig == home / "kube" / "config"
    with Access(info.kubeconfig, info.context).http() as http:
        assert len(http.get("/api/v1/nodes").json()["items"]) == 1
    with pytest.raises(SandboxError, match="up already"):
        cluster.up(1)
    assert cluster.down() is True
    _assert_nothing_left(_as_dict(info), 1.0)
    assert cluster.status() is None and not info.kubeconfig.exists()


def test_a_detached_cluster_outlives_the_process_that_started_it(home: Path) -> None:
    subprocess.run([sys.executable, "-c", "from chaoskit.sandbox import cluster; cluster.up(1)"], check=True)
    info = cluster.status()
    assert info is not None and os.getsid(info.pid) != os.getsid(0)
    os.kill(info.pid, signal.SIGKILL)
    _assert_nothing_left(_as_dict(info))
    assert cluster.status() is None and not info.kubeconfig.exists()


def test_the_users_kubeconfig_keeps_everything_of_theirs(home: Path) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "production",
        "clusters": [{"name": "production", "cluster": {"server": "https://example.org"}}],
        "contexts": [{"name": "production", "context": {"cluster": "production", "user": "me"}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
    }
    path = home / "kube" / "config"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(theirs))
    cluster.up(1)
    with_ours = yaml.safe_load(path.read_text())
    assert with_ours["current-context"] == "production"
    assert [entry["name"] for entry in with_ours["contexts"]] == ["production", "chaoskit-sandbox"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    cluster.down()
    assert yaml.safe_load(path.read_text()) == theirs


def test_the_entries_of_another_sandbox_are_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.merge(path, kubeconfig.entries("https://127.0.0.1:1", b"", "token"))
    kubeconfig.remove(path, "https://127.0.0.1:2")
    assert path.exists()
    kubeconfig.remove(path, "https://127.0.0.1:1")
    assert not path.exists()


def test_starting_takes_about_a_second() -> None:
    """Generous, because machines are busy: it guards against waiting for a timer, not against a slow day."""

    async def use() -> float:
        began = time.monotonic()
        async with sandbox(3):
            return time.monotonic() - began

    assert asyncio.run(use()) < 6.0
