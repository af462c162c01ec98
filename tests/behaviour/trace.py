"""What a watcher saw, with the time each thing arrived: the order of events is asserted on this."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

Obj = dict[str, Any]
Look = Callable[["Seen"], Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One event of one watch. `at` is this process's monotonic clock, in seconds, when it arrived."""

    at: float
    resource: str
    type: str
    obj: Obj

    @property
    def step(self) -> int:
        """Its place in the order of all events: two watches may deliver late, but the store counts revisions for all kinds together."""
        return int(self.obj["metadata"]["resourceVersion"])

    @property
    def name(self) -> str:
        found: str = self.obj["metadata"]["name"]
        return found

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.obj["metadata"]


class Trace:
    """Watches several collections, one stream each, from their present state on. A context manager."""

    def __init__(self, http: httpx.Client, paths: dict[str, str]) -> None:
        self._http = http
        self._paths = paths
        self._seen: list[Seen] = []
        self._news = threading.Condition()
        self._over = threading.Event()
        self._answers: list[httpx.Response] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Trace:
        for resource, path in self._paths.items():
            listed = self._http.get(path)
            listed.raise_for_status()
            revision = listed.json()["metadata"]["resourceVersion"]
            thread = threading.Thread(target=self._follow, args=(resource, path, revision), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for answer in self._answers:
            hang_up(answer)
        for thread in self._threads:
            thread.join(5)

    def _follow(self, resource: str, path: str, revision: str) -> None:
        while not self._over.is_set():
            query = {"watch": "true", "resourceVersion": revision, "timeoutSeconds": "600"}
            try:
                with self._http.stream("GET", path, params=query, timeout=None) as answer:
                    self._answers.append(answer)
                    for line in answer.iter_lines():
                        revision = self._note(resource, json.loads(line))
            except (httpx.HTTPError, httpx.StreamError, OSError, ValueError):
                if not self._over.wait(0.1):
                    continue

    def _note(self, resource: str, event: Obj) -> str:
        with self._news:
            self._seen.append(Seen(time.monotonic(), resource, event["type"], event["object"]))
            self._news.notify_all()
        revision: str = event["object"]["metadata"]["resourceVersion"]
        return revision

    def seen(self, resource: str | None = None, name: str | None = None) -> list[Seen]:
        """All events so far, in their order."""
        with self._news:
            found = sorted(self._seen, key=lambda one: one.step)
        return [one for one in found if resource in (None, one.resource) and name in (None, one.name)]

    def find(self, resource: str, look: Look, *, after: Seen | None = None) -> Seen | None:
        """The first event of a resource that `look` accepts."""
        start = -1 if after is None else after.step
        return next((one for one in self.seen(resource) if one.step > start and look(one)), None)

    def wait(
        self, resource: str, look: Look, within_s: float = 30.0, *, after: Seen | None = None, what: str = ""
    ) -> Seen:
        """The same, waiting for it. Raises AssertionError with what was seen instead past the deadline."""
        deadline = time.monotonic() + within_s
        while True:
            found = self.find(resource, look, after=after)
            if found is not None:
                return found
            with self._news:
                left = deadline - time.monotonic()
                assert left > 0, f"not within {within_s:g} s: {what or resource}; seen: {self.tell()}"
                self._news.wait(min(left, 0.5))

    def tell(self) -> str:
        """The last events, one line each, for a failed assertion."""
        return "".join(
            f"\n  {one.at:.3f} {one.type} {one.resource}/{one.name} {_gist(one.obj)}" for one in list(self._seen)[-25:]
        )


def _gist(obj: Obj) -> str:
    status = obj.get("status") or {}
    kept = {key: value for key, value in status.items() if not isinstance(value, list | dict)}
    conditions = {c["type"]: f"{c['status']} {c.get('reason', '')}".strip() for c in status.get("conditions") or ()}
    grace = obj["metadata"].get("deletionGracePeriodSeconds")
    return f"{kept} {conditions}" + ("" if grace is None else f" deleting, grace {grace}")


def hang_up(answer: httpx.Response) -> None:
    """End a stream that another thread reads; that thread then closes it."""
    # Closed here, its descriptor could become a new connection's while the other thread still reads from it.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(answer.extensions["network_stream"].get_extra_info("socket"), socket.SHUT_RDWR)


# What tests look for


def condition(obj: Obj, type_: str) -> Obj:
    """A condition of an object, empty when it has none of that type."""
    for found in (obj.get("status") or {}).get("conditions") or ():
        if found["type"] == type_:
            return dict(found)
    return {}


def holds(obj: Obj, type_: str, status: str = "True", reason: str | None = None) -> bool:
    found = condition(obj, type_)
    return found.get("status") == status and reason in (None, found.get("reason"))


def ready(obj: Obj) -> bool:
    return holds(obj, "Ready")


def state(obj: Obj, name: str = "app") -> Obj:
    """The status of one container, init containers too; empty before there is one."""
    status = obj.get("status") or {}
    every = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return next((dict(found) for found in every if found["name"] == name), {})


def ended(obj: Obj, name: str = "app") -> Obj:
    """How a container ended, from its present state; empty while it has not."""
    return dict((state(obj, name).get("state") or {}).get("terminated") or {})


def terminal(obj: Obj) -> bool:
    return (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def pod_ready(name: str) -> Look:
    return lambda seen: seen.name == name and ready(seen.obj) and not seen.deleting


def ending(name: str) -> Look:
    """Its pod is terminal, or its object gone: whichever was seen first."""
    return lambda seen: seen.name == name and (terminal(seen.obj) or seen.type == "DELETED")


def gone(name: str) -> Look:
    return lambda seen: seen.name == name and seen.type == "DELETED"


def dying(name: str) -> Look:
    return lambda seen: seen.name == name and seen.deleting


def endpoints(obj: Obj) -> dict[str, tuple[bool, bool, bool]]:
    """Pod name -> ready, serving, terminating, of one EndpointSlice."""
    found = {}
    for endpoint in obj.get("endpoints") or ():
        said = endpoint.get("conditions") or {}
        flags = (bool(said.get("ready")), bool(said.get("serving")), bool(said.get("terminating")))
        found[(endpoint.get("targetRef") or {}).get("name", "")] = flags
    return found
