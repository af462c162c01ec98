"""An argument list run in a container, through the official client's websocket. Blocks, so it runs in a thread; checks nothing."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from chaoskit.cluster.access import Access
from chaoskit.cluster.thread import in_thread
from chaoskit.model.errors import AnswerLost, ClusterError
from chaoskit.model.operation import Exec
from chaoskit.model.resource import Json

EXEC_S = 10.0
"""How long a command may take, in seconds. Longer work belongs into the container's own background."""

_HANDSHAKE = re.compile(r"Handshake status (\d{3}) (.*?)(?: -\+-\+-|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


async def executed(access: Access, op: Exec) -> Ended:
    """Run it and wait for its end. Raises ClusterError when it was refused, AnswerLost when how it ended is not known."""
    return await in_thread(lambda: _run(access, op))


def _run(access: Access, op: Exec) -> Ended:
    """One ApiClient for each call: the official stream() exchanges a method of its client while it connects."""
    from kubernetes.client import ApiClient, CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import stream

    if access.load is None:
        raise ClusterError(f"{op.ref}: this access has no kubeconfig to run commands with")
    with tempfile.TemporaryDirectory(prefix="chaoskit-") as folder, ApiClient(access.load(folder)) as client:
        try:
            socket = stream(
                CoreV1Api(client).connect_get_namespaced_pod_exec,
                op.ref.name,
                op.ref.namespace,
                container=op.container,
                command=list(op.argv),
                stdin=False,
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
            )
        except ApiException as error:
            raise _refused(op, str(error.reason)) from error
        try:
            socket.run_forever(timeout=EXEC_S)
            if socket.is_open():
                raise AnswerLost(f"{op.argv[0]} in {op.ref} did not end within {EXEC_S:g} s")
            return Ended(_code(op, socket.read_channel(3)), socket.read_stdout(), socket.read_stderr())
        finally:
            socket.close(timeout=0)


def _refused(op: Exec, reason: str) -> ClusterError:
    found = _HANDSHAKE.search(reason)
    words = " ".join((found[2] if found else reason).split())
    return ClusterError(f"running {op.argv[0]} in {op.ref} was refused: {words}", int(found[1]) if found else 0)


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
