"""The loop every controller runs in: changes become keys, keys wait once in a queue, one worker settles them.

A controller is data: which changes concern which keys, and a function that brings one key to rest. The function reads the
store afresh, so it may be called too often but never too late. Never decides anything about Kubernetes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from chaoskit.sandbox.registry import ApiError, Change, Registry

log = logging.getLogger(__name__)

Key = tuple[str, ...]
Trigger = Callable[[Registry, Change], Iterable[Key]]
Reconcile = Callable[[Registry, Key], float | None]

FIRST_RETRY_S = 0.005
LAST_RETRY_S = 10.0
# A key that takes this long (a thousand pods under one owner, say) rests in proportion, so that the changes it causes itself
# are settled together and not one by one.
LONG_S = 0.002
REST_FACTOR = 6.0

crashes: Counter[str] = Counter()


class RetryLater(Exception):
    """The key could not be settled now (a create was refused, say): try again with back-off."""


@dataclass(frozen=True, slots=True)
class Controller:
    """One controller: `triggers` maps a resource to the keys a change of it concerns.

    `reconcile` returns None when only a change can make it due again, else the seconds after which to look again.
    """

    name: str
    triggers: Mapping[str, Trigger]
    reconcile: Reconcile


class WorkQueue:
    """Keys that wait to be settled: each at most once, each with its own back-off and at most one timer."""

    def __init__(self) -> None:
        self._ready: deque[Key] = deque()
        self._waiting: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: Counter[Key] = Counter()
        self._resting: dict[Key, float] = {}
        self._wake = asyncio.Event()

    def add(self, key: Key) -> None:
        rest_s = self._resting.get(key, 0.0) - time.monotonic() if self._resting else 0.0
        if rest_s > 0:
            self.add_after(key, rest_s)
        elif key not in self._waiting:
            self._resting.pop(key, None)
            self._waiting.add(key)
            self._ready.append(key)
            self._wake.set()

    def rest(self, key: Key, rest_s: float) -> None:
        """What is added of this key within `rest_s` seconds waits until they are over, and then counts once."""
        self._resting[key] = time.monotonic() + rest_s

    def add_after(self, key: Key, delay_s: float) -> None:
        """Add the key in `delay_s` seconds, or earlier if an earlier timer is already set."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, delay_s)
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= due:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    def retry(self, key: Key) -> None:
        self._failures[key] += 1
        self.add_after(key, min(FIRST_RETRY_S * 2 ** (self._failures[key] - 1), LAST_RETRY_S))

    def forget(self, key: Key) -> None:
        self._failures.pop(key, None)

    async def get(self) -> Key:
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        return key

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _fire(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)


async def drive(controller: Controller, registry: Registry) -> None:
    """Run one controller until cancelled. A failing key is recorded and tried again; the others go on."""
    queue = WorkQueue()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_listen(controller, registry, queue))
            tasks.create_task(_work(controller, registry, queue))
    finally:
        queue.close()


async def _listen(controller: Controller, registry: Registry, queue: WorkQueue) -> None:
    subscription = registry.subscribe(*controller.triggers)
    try:
        async for change in subscription:
            for key in _concerned(controller, registry, change):
                queue.add(key)
    finally:
        subscription.close()


def _concerned(controller: Controller, registry: Registry, change: Change) -> list[Key]:
    try:
        return list(controller.triggers[change.resource](registry, change))
    except Exception:
        crashes[controller.name] += 1
        log.exception("%s: a %s of %s could not be read", controller.name, change.type, change.resource)
        return []


async def _work(controller: Controller, registry: Registry, queue: WorkQueue) -> None:
    while True:
        key = await queue.get()
        _settle(controller, registry, queue, key)
        # One key per turn of the loop: API requests and watches must not wait for a long queue.
        await asyncio.sleep(0)


def _settle(controller: Controller, registry: Registry, queue: WorkQueue, key: Key) -> None:
    began_s = time.monotonic()
    try:
        again_s = controller.reconcile(registry, key)
    except (ApiError, RetryLater) as refusal:
        log.debug("%s: %s: %s; trying again", controller.name, "/".join(key), refusal)
        queue.retry(key)
    except Exception:
        crashes[controller.name] += 1
        log.exception("%s: %s could not be settled; trying again", controller.name, "/".join(key))
        queue.retry(key)
    else:
        queue.forget(key)
        if again_s is not None:
            queue.add_after(key, again_s)
    took_s = time.monotonic() - began_s
    if took_s >= LONG_S:
        queue.rest(key, took_s * REST_FACTOR)


def itself(_registry: Registry, change: Change) -> list[Key]:
    """The trigger of a controller's own kind: the object that changed."""
    return [key_of(change.obj)]


def key_of(obj: Mapping[str, object]) -> Key:
    """Namespace (empty for cluster scope) and name of an object."""
    metadata = obj["metadata"]
    assert isinstance(metadata, Mapping)
    return (metadata.get("namespace", ""), metadata["name"])
