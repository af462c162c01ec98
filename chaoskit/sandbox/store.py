"""Objects, revisions and changes, in memory. Knows nothing of kinds' rules, HTTP or controllers; never awaits a write.

One task tree owns the store, and every write is synchronous: between reading an object and committing its successor
nothing else runs. That alone gives optimistic concurrency. Objects are snapshots: a write makes a new one.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from chaoskit.sandbox.managed import Managed, written

Obj = dict[str, Any]
Key = tuple[str, str, str]
"""(resource, namespace, name)"""

RING: Final = 10_000
"""Changes remembered per resource; a watch from before them is told 410."""
_FRESH: Final = 500
"""Changes per resource that are kept as objects: more than any reader is behind in quiet times."""


def thaw(obj: Obj) -> Obj:
    """A private deep copy of a snapshot."""
    copy: Obj = orjson.loads(orjson.dumps(obj))
    return copy


class Version:
    """One state of one object, with its JSON encoded at most once however many watchers read it.

    `managed` says who owns its fields; it is beside the object and enters it only when that is encoded. A state of the past
    may be pressed: then only its JSON is kept, and that deflated, a twentieth of the memory.
    """

    __slots__ = ("_encoded", "_obj", "_pressed", "managed", "revision")

    def __init__(self, obj: Obj, revision: int, managed: Managed = ()) -> None:
        self._obj: Obj | None = obj
        self._pressed = b""
        self.revision = revision
        self.managed = managed
        self._encoded: bytes | None = None

    @property
    def obj(self) -> Obj:
        return self._unpressed() if self._obj is None else self._obj

    def press(self) -> None:
        """Keep the JSON only, deflated. For states that are hardly ever looked at again."""
        if self._obj is not None:
            self._pressed = zlib.compress(self.encoded, 1)
            self._encoded = self._obj = None

    def _unpressed(self) -> Obj:
        obj: Obj = orjson.loads(self.encoded)
        obj["metadata"].pop("managedFields", None)
        return obj

    @property
    def encoded(self) -> bytes:
        if self._pressed:
            return zlib.decompress(self._pressed)
        if self._encoded is None:
            self._encoded = orjson.dumps(self.shown)
        return self._encoded

    @property
    def shown(self) -> Obj:
        """The object as clients see it, for encoding only."""
        if not self.managed:
            return self.obj
        return self.obj | {"metadata": self.obj["metadata"] | {"managedFields": written(self.managed)}}


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write. `obj` is the new state (of a DELETED one the last), `old` the one before."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    resource: str
    after: Version
    before: Version | None = None

    @property
    def obj(self) -> Obj:
        return self.after.obj

    @property
    def old(self) -> Obj | None:
        return None if self.before is None else self.before.obj

    @property
    def key(self) -> tuple[str, str]:
        metadata = self.obj["metadata"]
        return metadata.get("namespace", ""), metadata["name"]


class Expired(Exception):
    """The changes asked for are no longer remembered."""


class Subscription:
    """Changes of some resources in commit order, beginning where the subscriber stood. `async for change in it`.

    With a `limit` a reader that falls behind that many changes is cut off (`overflowed`) instead of filling memory.
    """

    def __init__(self, store: Store, resources: frozenset[str], start: Iterable[Change], limit: int | None) -> None:
        self._store = store
        self._resources = resources
        self._pending: deque[Change] = deque(start)
        self._limit = limit
        self._wake: asyncio.Future[None] | None = None
        self._closed = False
        self.overflowed = False

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        if not await self._filled():
            raise StopAsyncIteration
        return self._pending.popleft()

    async def batch(self) -> list[Change]:
        """All that is waiting, at least one; empty once closed."""
        await self._filled()
        waiting = list(self._pending)
        self._pending.clear()
        return waiting

    def pending(self) -> list[Change]:
        """All that is waiting now, perhaps nothing."""
        waiting = list(self._pending)
        self._pending.clear()
        return waiting

    def close(self) -> None:
        self._closed = True
        self._store.forget(self)
        self._rouse()

    def offer(self, change: Change) -> None:
        if change.resource not in self._resources:
            return
        if self._limit is not None and len(self._pending) >= self._limit:
            self.overflowed = True
            self.close()
            return
        self._pending.append(change)
        self._rouse()

    async def _filled(self) -> bool:
        while not self._pending and not self._closed:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return bool(self._pending)

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class Store:
    """All objects of one cluster. `ring` changes are remembered per resource."""

    def __init__(self, ring: int = RING) -> None:
        self.revision = 1
        self._ring_size = ring
        self._objects: dict[str, dict[str, dict[str, Version]]] = {}
        self._rings: dict[str, deque[Change]] = {}
        self._forgotten: dict[str, int] = {}
        self._dependents: dict[str, set[Key]] = {}
        self._uids: dict[str, Key] = {}
        self._subscribers: list[Subscription] = []

    def get(self, resource: str, namespace: str, name: str) -> Version | None:
        return self._objects.get(resource, {}).get(namespace, {}).get(name)

    def items(self, resource: str, namespace: str = "") -> Iterator[Version]:
        """Everything of a resource in key order; of one namespace when one is given."""
        spaces = self._objects.get(resource, {})
        for space in [namespace] if namespace else sorted(spaces):
            names = spaces.get(space, {})
            for name in sorted(names):
                yield names[name]

    def put(self, resource: str, obj: Obj, managed: Managed = ()) -> Version:
        """Commit a new state of an object; the store sets its resourceVersion and keeps the object itself."""
        namespace, name = _place(obj)
        before = self.get(resource, namespace, name)
        after = self._version(obj, managed)
        self._objects.setdefault(resource, {}).setdefault(namespace, {})[name] = after
        self._index((resource, namespace, name), before, after)
        self._publish(Change("ADDED" if before is None else "MODIFIED", resource, after, before))
        return after

    def remove(self, resource: str, namespace: str, name: str) -> Version:
        """Remove an object; its last state gets a revision of its own. Raises KeyError when it is not there."""
        before = self._objects[resource][namespace].pop(name)
        last = dict(before.obj)
        last["metadata"] = dict(before.obj["metadata"])
        after = self._version(last, before.managed)
        self._index((resource, namespace, name), before, None)
        self._publish(Change("DELETED", resource, after, before))
        return after

    def since(self, resource: str, revision: int) -> list[Change]:
        """Remembered changes after a revision. Raises Expired when some of them are forgotten."""
        if revision < self._forgotten.get(resource, 0):
            raise Expired
        recent: list[Change] = []
        for change in reversed(self._rings.get(resource, ())):
            if change.after.revision <= revision:
                break
            recent.append(change)
        recent.reverse()
        return recent

    def oldest(self, resource: str) -> int:
        """The revision from which on all changes of a resource are remembered."""
        return self._forgotten.get(resource, 0)

    def at(self, resource: str, namespace: str, revision: int) -> list[Version]:
        """What existed at a revision, in key order. Raises Expired when that is no longer known."""
        state = {_place(version.obj): version for version in self.items(resource, namespace)}
        for change in reversed(self.since(resource, revision)):
            place = _place(change.obj)
            if namespace and place[0] != namespace:
                continue
            if change.before is None:
                state.pop(place, None)
            else:
                state[place] = change.before
        return [state[place] for place in sorted(state)]

    def subscribe(
        self, resources: Iterable[str], *, after: int | None = None, limit: int | None = None, initial: bool = True
    ) -> Subscription:
        """Follow resources: from `after` a revision, or from synthetic ADDED changes of all that exists."""
        wanted = frozenset(resources)
        start: list[Change] = []
        for resource in sorted(wanted):
            if after is not None:
                start += self.since(resource, after)
            elif initial:
                start += [Change("ADDED", resource, version) for version in self.items(resource)]
        subscription = Subscription(self, wanted, start, limit)
        self._subscribers.append(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        if subscription in self._subscribers:
            self._subscribers.remove(subscription)

    def dependents(self, uid: str) -> list[Key]:
        """Keys of the objects that name this uid as an owner."""
        return sorted(self._dependents.get(uid, ()))

    def by_uid(self, uid: str) -> Key | None:
        return self._uids.get(uid)

    def _version(self, obj: Obj, managed: Managed) -> Version:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        return Version(obj, self.revision, managed)

    def _index(self, key: Key, before: Version | None, after: Version | None) -> None:
        if before is not None:
            self._uids.pop(before.obj["metadata"]["uid"], None)
            for uid in _owner_uids(before.obj):
                self._dependents[uid].discard(key)
                if not self._dependents[uid]:
                    del self._dependents[uid]
        if after is not None:
            self._uids[after.obj["metadata"]["uid"]] = key
            for uid in _owner_uids(after.obj):
                self._dependents.setdefault(uid, set()).add(key)

    def _publish(self, change: Change) -> None:
        ring = self._rings.setdefault(change.resource, deque())
        ring.append(change)
        if len(ring) > self._ring_size:
            self._forgotten[change.resource] = ring.popleft().after.revision
        if len(ring) > _FRESH:
            self._press(ring[-_FRESH - 1])
        for subscriber in tuple(self._subscribers):
            subscriber.offer(change)

    def _press(self, change: Change) -> None:
        """Make a change of long ago small; the present state of an object stays an object."""
        if change.before is not None:
            change.before.press()
        if self.get(change.resource, *change.key) is not change.after:
            change.after.press()


def _place(obj: Obj) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _owner_uids(obj: Obj) -> set[str]:
    return {owner["uid"] for owner in obj["metadata"].get("ownerReferences", ())}
