"""Ask the server whether it would take an operation and its undo: dryRun=All, admission included. Changes nothing and promises nothing for later.

Source: kubernetes.io, API Concepts, Dry-run. A webhook that does not declare its side effects makes the server refuse the question (400).
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from chaoskit.cluster.address import api_version, collection, path_of
from chaoskit.cluster.mark import marked
from chaoskit.cluster.patch import json_patch, value_at
from chaoskit.cluster.transport import MANAGER, Transport
from chaoskit.model.errors import AnswerLost, ClusterError, NotFound
from chaoskit.model.operation import ABSENT, Create, Delete, Evict, Exec, Field, Operation, Patch, Request
from chaoskit.model.resource import Json, Obj, resource_of
from chaoskit.model.seams import Reply

_DRY = {"dryRun": "All", "fieldManager": MANAGER}
_PATCH = "application/json-patch+json"


async def rehearsed(transport: Transport, op: Operation, mark: str) -> Reply | None:
    """The server's answer to the operation, carried out nowhere; None for what cannot be rehearsed. Raises ClusterError when there is no answer."""
    try:
        return await _asked(transport, op, mark)
    except NotFound as missing:
        return Reply(404, {"message": str(missing), "reason": "NotFound"})
    except AnswerLost as lost:
        raise ClusterError(str(lost)) from lost


async def _asked(transport: Transport, op: Operation, mark: str) -> Reply | None:
    match op:
        case Patch():
            live: Obj = await transport.read(path_of(op.ref, op.subresource))
            return await _patched(transport, op, json_patch(op, live, mark, False))
        case Create():
            return await _created(transport, op, mark)
        case Delete():
            body = {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"], **_uid(op)}
            return await transport.act("DELETE", path_of(op.ref), orjson.dumps(body))
        case Evict():
            meta = {"name": op.ref.name, "namespace": op.ref.namespace}
            options = {"dryRun": ["All"], **_uid(op)}
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta, "deleteOptions": options}
            return await transport.act("POST", path_of(op.ref, "eviction"), orjson.dumps(body))
        case Request() | Exec():
            return None


def _uid(op: Delete | Evict) -> Mapping[str, Json]:
    return {"preconditions": {"uid": op.ref.uid}} if op.ref.uid else {}


async def _created(transport: Transport, op: Create, mark: str) -> Reply:
    meta = {**(op.manifest.get("metadata") or {}), "name": op.ref.name}
    if op.ref.namespace:
        meta["namespace"] = op.ref.namespace
    at = resource_of(op.ref.kind)
    body = marked({**op.manifest, "apiVersion": api_version(at), "kind": op.ref.kind, "metadata": meta}, mark)
    return await transport.act("POST", collection(op.ref.kind, op.ref.namespace), orjson.dumps(body), params=_DRY)


async def rehearsed_undo(transport: Transport, undo: Operation) -> Reply | None:
    """The nearest that can be asked before there is anything to undo: write the value that is there now, as the undo will. None: cannot be asked."""
    if not isinstance(undo, Patch):
        return None
    live: Obj = await transport.read(path_of(undo.ref, undo.subresource))
    uid = {"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]}
    kept = [(change.path, value_at(live, change.path)) for change in undo.changes if isinstance(change, Field)]
    rewritten = [{"op": "add", "path": path, "value": value} for path, value in kept if value is not ABSENT]
    return await _patched(transport, undo, [uid, *rewritten])


async def _patched(transport: Transport, op: Patch, body: object) -> Reply:
    path = path_of(op.ref, op.subresource)
    return await transport.act("PATCH", path, orjson.dumps(body), _PATCH, _DRY)
