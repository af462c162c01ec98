"""Objects of the fake cluster, by kind, namespace and name, and the watches on them. Knows no rules of Kubernetes."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from chaoskit.model.resource import Obj, Ref, resource_of
from chaoskit.model.seams import Gap, Listed, Seen, Sight

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation")
Change = Literal["ADDED", "MODIFIED", "DELETED"]


def now_ns() -> int:
    """The loop's clock."""
    return round(asyncio.get_running_loop().time() * 1e9)


def timestamp() -> str:
    """The loop's clock as Kubernetes writes it."""
    return (EPOCH + timedelta(seconds=asyncio.get_running_loop().time())).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class _Ear:
    kind: str
    namespace: str
    labels: str
    queue: asyncio.Queue[Sight]


@dataclass
class Store:
    """Every change bumps the resourceVersion and is told to the watches in the same turn of the loop."""

    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    versions: Iterator[int] = field(default_factory=lambda: itertools.count(101))
    uids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    ears: list[_Ear] = field(default_factory=list)

    def find(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        return self.objects.get((kind, namespace, name))

    def named(self, ref: Ref) -> dict[str, Any] | None:
        return self.find(ref.kind, ref.name, ref.namespace)

    def of(self, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> list[dict[str, Any]]:
        """The objects that fit, by name."""
        fitting = [
            obj for (of, place, _), obj in self.objects.items() if of == kind and (not namespace or place == namespace)
        ]
        chosen = [obj for obj in fitting if _bears(obj, labels) and _has_fields(obj, fields)]
        return sorted(chosen, key=lambda obj: str(obj["metadata"]["name"]))

    def put(self, kind: str, obj: Obj) -> dict[str, Any]:
        """Add or change an object. What is handed out is never changed afterwards."""
        stored: dict[str, Any] = {"apiVersion": "v1", **copy.deepcopy(dict(obj)), "kind": kind}
        meta = stored["metadata"]
        key = (kind, meta.get("namespace", ""), meta["name"])
        known = key in self.objects
        if not known:
            meta.setdefault("uid", f"uid-{next(self.uids)}")
        meta["resourceVersion"] = str(next(self.versions))
        self.objects[key] = stored
        self._tell("MODIFIED" if known else "ADDED", stored)
        return stored

    def change(self, obj: Obj, **parts: Any) -> dict[str, Any]:
        """Put a copy with some top-level parts merged one level deep: `status={"phase": "Running"}`."""
        merged = {key: {**(obj.get(key) or {}), **value} for key, value in parts.items()}
        return self.put(obj["kind"], {**obj, **merged})

    def drop(self, obj: Obj) -> None:
        """Remove an object."""
        meta = obj["metadata"]
        gone = self.objects.pop((obj["kind"], meta.get("namespace", ""), meta["name"]), None)
        if gone is not None:
            self._tell("DELETED", gone)

    def current(self, obj: Obj) -> dict[str, Any] | None:
        """The object as it is now, if it is still the same one."""
        live = self.find(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
        return live if live is not None and live["metadata"]["uid"] == obj["metadata"]["uid"] else None

    def living(self, uid: str) -> bool:
        """Whether an object of that uid is there."""
        return any(obj["metadata"]["uid"] == uid for obj in self.objects.values())

    def _tell(self, change: Change, obj: Obj) -> None:
        for ear in self.ears:
            if (
                ear.kind == obj["kind"]
                and ear.namespace in ("", obj["metadata"].get("namespace", ""))
                and _bears(obj, ear.labels)
            ):
                ear.queue.put_nowait(Seen(now_ns(), resource_of(ear.kind).plural, change, obj))

    async def watch(self, kind: str, namespace: str, labels: str) -> AsyncGenerator[Sight, None]:
        """LISTED for what is there, then every change."""
        ear = _Ear(kind, namespace, labels, asyncio.Queue())
        self.ears.append(ear)
        try:
            feed = resource_of(kind).plural
            for obj in self.of(kind, namespace, labels):
                ear.queue.put_nowait(Seen(now_ns(), feed, "LISTED", obj))
            ear.queue.put_nowait(Listed(now_ns(), feed))
            while True:
                yield await ear.queue.get()
        finally:
            self.ears.remove(ear)

    def deafen(self, kind: str, start_ns: int, end_ns: int, because: str = "connection lost") -> None:
        """Tell the watches of a kind that they were deaf."""
        for ear in self.ears:
            if ear.kind == kind:
                ear.queue.put_nowait(Gap(start_ns, end_ns, resource_of(kind).plural, because))

    def snapshot(self, *kinds: str) -> Mapping[str, Obj]:
        """What must be as before once everything is put back: the objects without what changes by itself."""
        return {
            "/".join(key): {
                part: _steady(value) if part == "metadata" else value for part, value in obj.items() if part != "status"
            }
            for key, obj in sorted(self.objects.items())
            if key[0] in kinds
        }


def _steady(meta: Obj) -> Obj:
    return {key: value for key, value in meta.items() if key not in _VOLATILE and value}


def _bears(obj: Obj, labels: str) -> bool:
    """Equality selectors only: "app=web,tier=front"."""
    own = obj["metadata"].get("labels") or {}
    return all(own.get(key) == value for key, value in _pairs(labels))


def _has_fields(obj: Obj, fields: str) -> bool:
    return all(_field(obj, key.split(".")) == value for key, value in _pairs(fields))


def _field(obj: Obj, path: Sequence[str]) -> str:
    value: Any = obj
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return str(value) if value is not None else ""


def _pairs(selector: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, selector.split(",")):
        key, found, value = part.partition("=")
        assert found and not key.endswith("!") and " " not in part, f"the fake knows equality only, not {part!r}"
        yield key, value.removeprefix("=")
