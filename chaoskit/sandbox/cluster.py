"""The front of the sandbox: start a cluster for a block of code, or a detached one; look at it; end it.

Imports nothing heavy: everything happens in the processes it starts. Linux only.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from chaoskit.sandbox import janitor
from chaoskit.sandbox.kubeconfig import default_path
from chaoskit.sandbox.settings import CONTEXT, MARK, MAX_NODES, PROFILES

START_S: Final = 30.0
"""How long a start may take; it takes about one second."""
_END_S: Final = 10.0
_LAST_WORDS_S: Final = 0.5
_LOOK_AGAIN_S: Final = 0.01
_LOG_LINES: Final = 12


class SandboxError(Exception):
    """The sandbox cannot be had here, or did not start; the message says who must act."""


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """A running sandbox. `pid` is its launcher's."""

    kubeconfig: Path
    context: str
    server: str
    profile: str
    pid: int
    id: str
    nodes: tuple[str, ...]


@asynccontextmanager
async def sandbox(nodes: int = 3, profile: str = "fast", *, simulated: bool = False) -> AsyncIterator[SandboxInfo]:
    """A cluster with all nodes Ready for the length of a block. It ends with this process, also on SIGKILL.

    With `simulated` pods run no process: for tests of scale and of recovery, with up to 120 nodes.
    Raises SandboxError when it cannot be had.
    """
    _check(nodes, profile)
    reading, lifeline = os.pipe()
    try:
        with tempfile.TemporaryFile("w+") as log:
            order = {"nodes": nodes, "profile": profile, "lifeline": reading, "keeper": os.getpid()}
            order |= {"simulate": simulated}
            launcher = _start(order, log, pass_fds=(reading,))
            try:
                yield await asyncio.to_thread(_announced, launcher, log)
            finally:
                os.close(lifeline)
                lifeline = -1
                await asyncio.shield(asyncio.to_thread(_ended, launcher))
    finally:
        os.close(reading)
        if lifeline >= 0:
            os.close(lifeline)


def up(
    nodes: int = 3, profile: str = "fast", kubeconfig: Path | None = None, *, simulated: bool = False
) -> SandboxInfo:
    """Start the user's one detached cluster; returns when all nodes are Ready.

    Its context is added to `kubeconfig`, by default to the file that kubectl would write; the current context
    changes only where there is none. Raises SandboxError when one is up already or it does not start.
    """
    _check(nodes, profile)
    home = state_home(os.environ)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(home):
        running = status()
        if running is not None:
            raise SandboxError(
                f"a sandbox is up already (pid {running.pid}): use it, or end it with `chaoskit sandbox down`"
            )
        target = kubeconfig or default_path(os.environ)
        order = {
            "nodes": nodes,
            "profile": profile,
            "simulate": simulated,
            "record": str(home / _RECORD),
            "merge_into": str(target.absolute()),
        }
        with (home / "sandbox.log").open("w+") as log:
            launcher = _start(order, log)
            info = _announced(launcher, log)
            launcher.wait()
            return info


def down() -> bool:
    """End the detached cluster and everything of it. False when there was none."""
    running = status()
    if running is None:
        janitor.sweep()
        return False
    with suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_S
    while _alive(running.pid, running.id) and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN_S)  # the end of another's child has no event to wait for
    if _alive(running.pid, running.id):
        janitor.end(running.id, janitor.state_dir(running.id))
    return True


def status() -> SandboxInfo | None:
    """The detached cluster, if one is up."""
    try:
        found = json.loads((state_home(os.environ) / _RECORD).read_text())
    except (OSError, ValueError):
        return None
    info = _info(found)
    return info if _alive(info.pid, info.id) else None


def particulars(info: SandboxInfo) -> dict[str, Any]:
    """What a running sandbox tells of itself: its nodes, what was asked for in vain, crashes of controllers.

    Raises SandboxError when it does not answer.
    """
    import ssl
    import urllib.request

    import yaml

    config = yaml.safe_load((janitor.state_dir(info.id) / "kubeconfig").read_text())
    authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    request = urllib.request.Request(f"{info.server}/sandbox/v1/status", headers=headers)  # noqa: S310 - our own address
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=authority)),
    )
    try:
        with opener.open(request, timeout=_END_S) as answer:
            told: dict[str, Any] = json.load(answer)
            return told
    except (OSError, ValueError) as error:
        raise SandboxError(f"the sandbox at {info.server} does not answer: {error}") from error


_RECORD: Final = "cluster.json"


def state_home(environment: Mapping[str, str]) -> Path:
    """Where the detached cluster is described: $XDG_STATE_HOME/chaoskit/sandbox."""
    base = environment.get("XDG_STATE_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".local/state")
    return Path(base) / "chaoskit" / "sandbox"


def _check(nodes: int, profile: str) -> None:
    if not sys.platform.startswith("linux"):
        raise SandboxError(f"the sandbox needs Linux and this is {sys.platform}: name a cluster with --context instead")
    if not 1 <= nodes <= MAX_NODES:
        raise SandboxError(f"a sandbox of {nodes} nodes: expected 1 to {MAX_NODES}")
    if profile not in PROFILES:
        raise SandboxError(f"unknown profile {profile!r}: expected one of {', '.join(sorted(PROFILES))}")


def _start(order: dict[str, Any], log: IO[str], pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "chaoskit.sandbox", json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, MARK: secrets.token_hex(8)},
        pass_fds=pass_fds,
        start_new_session=True,
        text=True,
    )


def _announced(launcher: subprocess.Popen[str], log: IO[str]) -> SandboxInfo:
    """The launcher's one line. Raises SandboxError when it says no, ends without a word, or says nothing in time."""
    line = _line_within(launcher, START_S)
    said: dict[str, Any] = json.loads(line) if line else {"error": _silence(launcher)}
    if "error" in said:
        log.seek(0)
        tail = "".join(log.readlines()[-_LOG_LINES:])
        raise SandboxError(f"the sandbox did not start: {said['error']}\n{tail}".rstrip())
    return _info(said)


def _line_within(launcher: subprocess.Popen[str], seconds: float) -> str:
    """What the launcher says; nothing when it ends first, though children of its own may still hold its output open."""
    import select

    assert launcher.stdout is not None
    poll = select.poll()
    poll.register(launcher.stdout, select.POLLIN | select.POLLHUP)
    ending = os.pidfd_open(launcher.pid)
    try:
        poll.register(ending, select.POLLIN)
        heard = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
        # A detached cluster begins by leaving the process that was started.
        if heard == {ending} and launcher.poll() == 0:
            poll.unregister(ending)
            heard = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
    finally:
        os.close(ending)
    return launcher.stdout.readline() if launcher.stdout.fileno() in heard else ""


def _silence(launcher: subprocess.Popen[str]) -> str:
    try:
        code = launcher.wait(_LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        return f"it said nothing within {START_S:g} s"
    return f"its launcher was ended by signal {-code}" if code < 0 else f"its launcher ended with exit code {code}"


def _ended(launcher: subprocess.Popen[str]) -> None:
    """Wait for the launcher, whose lifeline is cut, and make sure."""
    try:
        launcher.wait(_END_S)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()
    assert launcher.stdout is not None
    launcher.stdout.close()


def _info(said: dict[str, Any]) -> SandboxInfo:
    return SandboxInfo(
        kubeconfig=Path(said["kubeconfig"]),
        context=CONTEXT,
        server=said["server"],
        profile=said["profile"],
        pid=said["pid"],
        id=said["id"],
        nodes=tuple(said["nodes"]),
    )


def _alive(pid: int, cluster: str) -> bool:
    """Whether this pid still is the launcher of that cluster; a dead process has no environment."""
    try:
        return f"{MARK}={cluster}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One `up` at a time."""
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
