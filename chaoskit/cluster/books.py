"""Write what is chaoskit's own: leases, run records, the halt switch. Compare-and-set, so that each write may be sent again; never touches anything else.

A write that names no resourceVersion creates, one that names it replaces that very version. Whatever happened to an answer, sending the
same again cannot do harm: it meets its own result, which is then read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import orjson

from chaoskit.cluster.address import api_version, collection, path_of
from chaoskit.cluster.transport import MANAGER, Transport, error_of
from chaoskit.model.errors import AnswerLost, ClusterError, NotFound
from chaoskit.model.resource import Json, Obj, Ref, resource_of

V = TypeVar("V")

PARAMS = {"fieldManager": MANAGER, "timeout": "3s"}
AGAIN_S = 0.2
_TRY_AGAIN = frozenset({0, 401, 429, 500, 502, 503, 504})


async def keep(transport: Transport, obj: Obj, within_s: float) -> Obj:
    """The object as it is stored. Raises ClusterError 409 when somebody else's write came before, others when it could not be written in time."""
    body = {"apiVersion": api_version(resource_of(obj["kind"])), **obj}

    async def written() -> Obj:
        try:
            return await _sent(transport, body)
        except ClusterError as error:
            if error.status != 409:
                raise
            live: Obj = await transport.read(path_of(ref_of_own(obj)))
            if not same_content(obj, live):
                raise
            return live

    return {**await tried(written, within_s), "kind": obj["kind"]}


async def drop(transport: Transport, ref: Ref, within_s: float) -> None:
    """Delete that very object; that it is gone already is no error. Raises ClusterError when it could not be done in time."""
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": ref.uid}}

    async def deleted() -> None:
        reply = await transport.act("DELETE", path_of(ref), orjson.dumps(options), params={"timeout": "3s"})
        if reply.status >= 300 and reply.status not in (404, 409):
            raise error_of(reply.status, reply.body, f"DELETE {ref}")

    await tried(deleted, within_s)


async def _sent(transport: Transport, body: Obj) -> Obj:
    ref = ref_of_own(body)
    if body["metadata"].get("resourceVersion"):
        reply = await transport.act("PUT", path_of(ref), orjson.dumps(body), params=PARAMS)
    else:
        reply = await transport.act("POST", collection(ref.kind, ref.namespace), orjson.dumps(body), params=PARAMS)
    if reply.status >= 300:
        raise error_of(reply.status, reply.body, f"writing {ref}")
    return reply.body


async def tried(work: Callable[[], Awaitable[V]], within_s: float) -> V:
    """The work's result, tried again while the server fails and there is time. Raises its last ClusterError."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + within_s
    while True:
        try:
            return await work()
        except AnswerLost as lost:
            error: ClusterError = lost
        except ClusterError as refused:
            if isinstance(refused, NotFound) or refused.status not in _TRY_AGAIN:
                raise
            error = refused
        if loop.time() + AGAIN_S >= give_up:
            raise error
        await asyncio.sleep(AGAIN_S)


def ref_of_own(obj: Obj) -> Ref:
    """The name of an object of ours; it may not have a uid yet."""
    return Ref(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", ""))


def same_content(wanted: Obj, live: Obj) -> bool:
    """Whether the live object says what was to be written: then it is our own write that we met."""
    return all(_says(live.get(part), wanted[part]) for part in ("data", "spec") if part in wanted) and all(
        _says(live["metadata"].get(part), wanted["metadata"].get(part)) for part in ("labels", "annotations")
    )


def _says(live: Json, wanted: Json) -> bool:
    return not wanted or (live is not None and all(live.get(key) == value for key, value in wanted.items()))
