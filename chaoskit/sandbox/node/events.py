"""Events about pods and the node, written behind the caller's back. Repeats raise `count`; an event that cannot be written is dropped."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TypeAlias

from chaoskit.sandbox.client import ApiFailure, Client
from chaoskit.sandbox.node.states import stamp

Obj: TypeAlias = dict[str, Any]
_REMEMBERED = 2000


@dataclass(frozen=True, slots=True)
class _Entry:
    involved: tuple[tuple[str, str], ...]
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class _Seen:
    name: str
    count: int


class Recorder:
    """Queues events; `run` writes them, one after the other."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._queue: asyncio.Queue[tuple[_Entry, float]] = asyncio.Queue()
        self._seen: OrderedDict[_Entry, _Seen] = OrderedDict()

    def pod(self, pod: Obj, kind: str, reason: str, message: str, container: str = "") -> None:
        """Record an event about a pod; `container` is a field path such as `spec.containers{app}`. `kind`: Normal | Warning."""
        metadata = pod["metadata"]
        involved = {"kind": "Pod", "apiVersion": "v1", "uid": metadata["uid"]}
        involved |= {"namespace": metadata["namespace"], "name": metadata["name"]}
        if container:
            involved["fieldPath"] = container
        self._put(involved, kind, reason, message)

    def node(self, kind: str, reason: str, message: str) -> None:
        """Record an event about this node."""
        self._put({"kind": "Node", "apiVersion": "v1", "name": self._node, "uid": self._node}, kind, reason, message)

    def _put(self, involved: dict[str, str], kind: str, reason: str, message: str) -> None:
        entry = _Entry(tuple(sorted(involved.items())), kind, reason, message)
        self._queue.put_nowait((entry, time.time()))

    async def run(self) -> None:
        """Write for ever."""
        while True:
            entry, when = await self._queue.get()
            try:
                await self._write(entry, when)
            except ApiFailure:
                self._seen.pop(entry, None)

    async def _write(self, entry: _Entry, when: float) -> None:
        involved = dict(entry.involved)
        path = f"/api/v1/namespaces/{involved.get('namespace', 'default')}/events"
        seen = self._seen.get(entry)
        if seen is None:
            seen = _Seen(f"{involved['name']}.{secrets.token_hex(8)}", 1)
            self._remember(entry, seen)
            await self._client.create(path, self._event(entry, involved, seen.name, when))
            return
        seen.count += 1
        self._seen.move_to_end(entry)
        await self._client.merge(f"{path}/{seen.name}", {"count": seen.count, "lastTimestamp": stamp(when)})

    def _remember(self, entry: _Entry, seen: _Seen) -> None:
        self._seen[entry] = seen
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _event(self, entry: _Entry, involved: dict[str, str], name: str, when: float) -> Obj:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": involved.get("namespace", "default")},
            "involvedObject": involved,
            "type": entry.type,
            "reason": entry.reason,
            "message": entry.message,
            "count": 1,
            "firstTimestamp": stamp(when),
            "lastTimestamp": stamp(when),
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
        }
