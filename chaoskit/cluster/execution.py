"""An argument list run in a container, through the official client's websocket. Blocks, so it runs in a thread; checks nothing."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from chaoskit.cluster.access import Access
from chaoskit.cluster.thread import in_thread
from chaoskit.model.errors import AnswerLost, ClusterError
from chaoskit.model.operation import Exec
from chaoskit.model.resource import Json

EXEC_S = 10.0
"""How long a command may take, in seconds. Longer work belongs into the container's own background."""

CONNECT_S = 5.0

_HANDSHAKE = re.compile(r"Handshake status (\d{3}) (.*?)(?: -\+-\+-|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


async def executed(access: Access, op: Exec) -> Ended:
    """Run it and wait for its end. Raises ClusterError when it was refused, AnswerLost when how it ended is not known."""
    try:
        # The official client sets its websocket no time limit: whoever waits must.
        async with asyncio.timeout(CONNECT_S):
            socket = await in_thread(lambda: _connected(access, op))
        async with asyncio.timeout(EXEC_S + 1):
            return await in_thread(lambda: _ended(socket, op))
    except TimeoutError as error:
        raise AnswerLost(f"{op.argv[0]} in {op.ref}: no word of whether and how it ended") from error


def _ended(socket: Any, op: Exec) -> Ended:
    try:
        socket.run_forever(timeout=EXEC_S)
        if socket.is_open():
            raise AnswerLost(f"{op.argv[0]} in {op.ref} did not end within {EXEC_S:g} s")
        return Ended(_code(op, socket.read_channel(3)), socket.read_stdout(), socket.read_stderr())
    finally:
        socket.close(timeout=0)


def _connected(access: Access, op: Exec) -> Any:
    """The websocket. One ApiClient for each call: the official stream() exchanges a method of its client while it connects."""
    from kubernetes.client import ApiClient, CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import stream

    if access.load is None:
        raise ClusterError(f"{op.ref}: this access has no kubeconfig to run commands with")
    connect = partial(
        stream, container=op.container, command=list(op.argv), stdin=False, stdout=True, stderr=True, tty=False
    )
    # The keys that the loader writes out are read while connecting and removed right after it.
    with tempfile.TemporaryDirectory(prefix="chaoskit-") as folder, ApiClient(access.load(folder)) as client:
        run = CoreV1Api(client).connect_get_namespaced_pod_exec
        try:
            return connect(run, op.ref.name, op.ref.namespace, _preload_content=False)
        except ApiException as error:
            raise _refused(op, str(error.reason)) from error


def _refused(op: Exec, reason: str) -> ClusterError:
    """Why there is no websocket. Only an answer of the server, or no connection at all, means that nothing was started."""
    found = _HANDSHAKE.search(reason)
    words = " ".join((found[2] if found else reason).split())
    what = f"running {op.argv[0]} in {op.ref} was refused: {words}"
    if found:
        status = int(found[1])
        return AnswerLost(what, status) if status in (502, 504) else ClusterError(what, status)
    return ClusterError(what) if "refused" in reason else AnswerLost(f"running {op.argv[0]} in {op.ref}: {words}")


def _code(op: Exec, status: str) -> int:
    """The exit code out of the Status on channel 3. Source: kubernetes.io, v4.channel.k8s.io; cause ExitCode."""
    try:
        told: Json = orjson.loads(status)
    except orjson.JSONDecodeError:
        raise AnswerLost(f"{op.argv[0]} in {op.ref}: the connection ended before its exit code came") from None
    if told.get("status") == "Success":
        return 0
    details: Mapping[str, Json] = told.get("details") or {}
    for cause in details.get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ClusterError(f"{op.argv[0]} in {op.ref}: {told.get('message', status)}", int(told.get("code") or 500))
