"""Carry out operations: the only code of chaoskit that changes a cluster. One request each, sent once; never again what may have happened.

Before a request the object is read, so that its uid, its values and our mark can be checked and a refusal can say why; whatever the
request itself can test (uid preconditions, JSON Patch tests) is tested there again. Such a refusal comes back as the Reply that the
server would have given: 404, 409 or 422.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import orjson

from chaoskit.cluster.address import api_version, collection, path_of, proxied
from chaoskit.cluster.execution import executed
from chaoskit.cluster.mark import mark_of, marked, split_mark
from chaoskit.cluster.patch import JsonPatch, disowning, forgetting, is_applied, json_patch, mismatch
from chaoskit.cluster.transport import ACT_S, MANAGER, Transport
from chaoskit.model.errors import AnswerLost, ClusterError, CouldNotRun, NotFound
from chaoskit.model.operation import (
    Create,
    Delete,
    Evict,
    Exec,
    Operation,
    Patch,
    Request,
    describe,
)
from chaoskit.model.resource import Json, Obj, Ref, resource_of
from chaoskit.model.seams import Reply

PARAMS: Mapping[str, str] = {"fieldManager": MANAGER, "timeout": "3s"}
"""The server gives up after 3 s, so that a request whose answer was lost is not in doubt for long."""

STALE_READS = 5
"""How often a patch is composed anew because the object changed between our look and the patch's own tests."""

LOOK_AGAIN_S = 0.2
"""How often it is looked whether a request in doubt took effect."""

_UNREACHED = "error trying to reach service"


async def perform(transport: Transport, op: Operation, mark: str, *, undoing: bool = False) -> Reply:
    """Send one operation under the mark "RUN/STEP". Every answer is a Reply; AnswerLost when it may have taken effect, ClusterError when it was not sent."""
    split_mark(mark)
    doubt_ends = asyncio.get_running_loop().time() + ACT_S
    try:
        return await _performed(transport, op, mark, undoing)
    except AnswerLost:
        transport.doubts[mark] = doubt_ends
        raise
    except NotFound as missing:
        return Reply(404, {"message": str(missing), "reason": "NotFound"})


async def _performed(transport: Transport, op: Operation, mark: str, undoing: bool) -> Reply:
    match op:
        case Patch():
            return await _patch(transport, op, mark, undoing)
        case Create():
            return _sure(await _create(transport, op, mark))
        case Delete():
            return _sure(await _delete(transport, op, mark))
        case Evict():
            return _sure(await _evict(transport, op))
        case Request():
            return await _request(transport, op)
        case Exec():
            return await _exec(transport, op)


def _sure(reply: Reply) -> Reply:
    """The reply, unless it leaves open whether the request was carried out: then AnswerLost."""
    words = str(reply.body.get("message", ""))
    by_the_server = reply.body.get("kind") == "Status" or reply.body.get("status") == "Failure"
    timed_out = reply.status == 504 or reply.body.get("reason") in ("Timeout", "ServerTimeout") or "etcdserver" in words
    if reply.status >= 500 and (timed_out or not by_the_server):
        raise AnswerLost(f"answered {reply.status}: {words}")
    return reply


async def _patch(transport: Transport, op: Patch, mark: str, undoing: bool) -> Reply:
    """A failed test changed nothing; if what it tested was our stale reading and not the operation's own premise, it is composed and sent again."""
    reply = Reply(409, {"message": f"{op.ref} keeps changing while it is patched"})
    for _ in range(STALE_READS):
        live = await transport.read(path_of(op.ref, op.subresource))
        why = mismatch(op, live, mark, undoing)
        if why:
            if undoing:
                await _forget(transport, op, live, mark)
            return Reply(422, {"message": why, "reason": "Invalid"})
        reply = await _send_patch(transport, op, json_patch(op, live, mark, undoing))
        if reply.status not in (409, 422):
            if undoing and reply.status < 300:
                await _disown(transport, op, reply.body)
            return reply
    return reply


async def _disown(transport: Transport, op: Patch, live: Obj) -> None:
    """Give up the fields that were put back, or our name would stay on them. Where that cannot be done, the value is back all the same.

    Source: kubernetes.io, Server-Side Apply, Clearing managedFields; restoring a value leaves its last writer as the owner.
    """
    with contextlib.suppress(ClusterError):
        if op.subresource:
            live = await transport.read(path_of(op.ref))
        body = disowning(live, MANAGER)
        if body:
            path = path_of(op.ref)
            await transport.act("PATCH", path, orjson.dumps(body), "application/json-patch+json", PARAMS)


async def _send_patch(transport: Transport, op: Patch, body: JsonPatch) -> Reply:
    path = path_of(op.ref, op.subresource)
    return _sure(await transport.act("PATCH", path, orjson.dumps(body), "application/json-patch+json", PARAMS))


async def _forget(transport: Transport, op: Patch, live: Obj, mark: str) -> None:
    """Our note must not stay on an object whose value is somebody else's by now."""
    body = forgetting(op, live, mark)
    if body:
        await _send_patch(transport, op, body)


async def _create(transport: Transport, op: Create, mark: str) -> Reply:
    at = resource_of(op.ref.kind)
    meta = {**(op.manifest.get("metadata") or {}), "name": op.ref.name}
    if at.namespaced:
        meta["namespace"] = op.ref.namespace
    body = marked({**op.manifest, "apiVersion": api_version(at), "kind": op.ref.kind, "metadata": meta}, mark)
    path_of(op.ref)  # a name that is none is our caller's error, not the server's
    reply = await transport.act("POST", collection(op.ref.kind, op.ref.namespace), orjson.dumps(body), params=PARAMS)
    if reply.status == 409 and reply.body.get("reason") == "AlreadyExists":
        live = await transport.read(path_of(op.ref))
        return Reply(200, live) if mark_of(live) == mark else reply
    return reply


async def _delete(transport: Transport, op: Delete, mark: str) -> Reply:
    uid = op.ref.uid
    if not uid:
        live = await transport.read(path_of(op.ref))
        if mark_of(live) != mark:
            return Reply(409, {"message": f"{op.ref} does not carry the mark {mark}: it is not ours to delete"})
        uid = live["metadata"]["uid"]
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", **_options(uid, op.grace_s)}
    return await transport.act("DELETE", path_of(op.ref), orjson.dumps(body), params={"timeout": PARAMS["timeout"]})


def _options(uid: str, grace_s: int | None) -> dict[str, Json]:
    options: dict[str, Json] = {"preconditions": {"uid": uid}}
    return options if grace_s is None else options | {"gracePeriodSeconds": grace_s}


async def _evict(transport: Transport, op: Evict) -> Reply:
    # The server tries a failed uid precondition again until its own time limit and then answers 504 instead of 409.
    if other := await _another(transport, op.ref):
        return Reply(409, {"message": other})
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": op.ref.name, "namespace": op.ref.namespace},
        "deleteOptions": _options(op.ref.uid, op.grace_s),
    }
    return await transport.act("POST", path_of(op.ref, "eviction"), orjson.dumps(body), params=PARAMS)


async def _request(transport: Transport, op: Request) -> Reply:
    """No `timeout` parameter: the query belongs to the pod."""
    other = await _another(transport, op.ref)
    if other:
        return Reply(409, {"message": other})
    reply = await transport.act(op.method.upper(), proxied(op.ref, op.port, op.path), op.body.encode())
    if reply.status < 300:
        return reply
    words = str(reply.body.get("message") or reply.body.get("error") or "")
    if reply.body.get("kind") == "Status" and _UNREACHED in words and "refused" not in words:
        raise AnswerLost(f"{describe(op)}: {words}")
    return Reply(
        reply.status,
        {**reply.body, "message": f"{describe(op)} was answered {reply.status}: {words}"},
        reply.retry_after_s,
    )


async def _exec(transport: Transport, op: Exec) -> Reply:
    other = await _another(transport, op.ref)
    if other:
        return Reply(409, {"message": other})
    try:
        ended = await executed(transport.access, op)
    except AnswerLost:
        raise
    except ClusterError as refused:
        if not refused.status:
            raise
        return Reply(refused.status, {"message": str(refused)})
    body = {"exitCode": ended.code, "stdout": ended.stdout, "stderr": ended.stderr}
    if ended.code:
        words = (ended.stderr or ended.stdout).strip()[-300:]
        return Reply(422, {**body, "message": f"{describe(op)}: exit code {ended.code}: {words}"})
    return Reply(200, body)


async def _another(transport: Transport, ref: Ref) -> str:
    """What is addressed by name only must be looked at before: why it is not the pod that was meant, or "". Raises NotFound."""
    if not ref.uid:
        raise CouldNotRun(f"{ref} is addressed without its uid: its replacement could be hit")
    uid = (await transport.read(path_of(ref)))["metadata"]["uid"]
    return "" if uid == ref.uid else f"{ref} of uid {ref.uid} is gone: the name belongs to {uid} by now"


async def landed(transport: Transport, op: Operation, mark: str) -> bool:
    """After AnswerLost: whether the operation took effect, read back. Works for an operation and for its undo alike.

    Says no only once the doubt is over: a request whose connection broke may still be under way. Raises AnswerLost for what leaves nothing
    to read back (Request, Exec), and ClusterError when the server cannot be read: then the step stays open, and its witness or its undo decides.
    """
    if isinstance(op, Request | Exec):
        raise AnswerLost(f"whether this took effect cannot be read back: {describe(op)}")
    loop = asyncio.get_running_loop()
    doubt_ends = transport.doubts.pop(mark, loop.time() + ACT_S)
    while True:
        is_over = loop.time() >= doubt_ends
        if await _took_effect(transport, op, mark):
            return True
        if is_over:
            return False
        await asyncio.sleep(LOOK_AGAIN_S)


async def _took_effect(transport: Transport, op: Patch | Create | Delete | Evict, mark: str) -> bool:
    try:
        live = await transport.read(path_of(op.ref, op.subresource if isinstance(op, Patch) else ""))
    except NotFound:
        return isinstance(op, Delete | Evict)
    match op:
        case Patch():
            return is_applied(op, live, mark)
        case Create():
            return mark_of(live) == mark
        case Delete() | Evict():
            other = live["metadata"]["uid"] != op.ref.uid if op.ref.uid else mark_of(live) != mark
            return other or "deletionTimestamp" in live["metadata"]
