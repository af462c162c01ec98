"""Writes one pod's status: at once, one write at a time, changes that come meanwhile joined in the next. Builds no status itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from chaoskit.sandbox.client import ApiFailure, Client

Obj: TypeAlias = dict[str, Any]
_RETRY_S = (0.05, 0.2, 0.5, 1.0, 2.0)


class Publisher:
    """The status of one pod on its way to the API server. `run` does the writing."""

    def __init__(self, client: Client, path: str, pod: Obj, build: Callable[[Obj], Obj]) -> None:
        self.pod = pod
        self.gone = False
        self._client = client
        self._path = path
        self._build = build
        self._asked = 0
        self._written = 0
        self._holders: set[object] = set()
        self._work = asyncio.Event()
        self._done = asyncio.Event()

    def observe(self, pod: Obj) -> None:
        """The pod as a watch shows it; an older one than ours is ignored."""
        if int(pod["metadata"]["resourceVersion"]) >= int(self.pod["metadata"]["resourceVersion"]):
            self.pod = pod

    def dirty(self) -> None:
        """Something changed."""
        self._asked += 1
        self._work.set()

    def hold(self, holder: object) -> None:
        """Write nothing until the holder releases."""
        self._holders.add(holder)

    def release(self, holder: object) -> None:
        """End `hold`; harmless without one."""
        if holder in self._holders:
            self._holders.discard(holder)
            self._work.set()

    async def flush(self) -> None:
        """Return when everything up to now is written, or the pod is gone."""
        wanted = self._asked
        while self._written < wanted and not self.gone:
            await self._done.wait()

    async def run(self) -> None:
        """Write until the pod is gone."""
        while not self.gone:
            await self._work.wait()
            self._work.clear()
            if self._asked > self._written and not self._holders:
                target = self._asked
                await self._write()
                self._written = target
                self._done.set()
                self._done = asyncio.Event()
                if self._asked > target:
                    self._work.set()

    async def _write(self) -> None:
        """Until it succeeded. A conflict means that somebody else wrote the pod: look again, and tell what holds now."""
        tries = 0
        while not self.gone:
            status = self._build(self.pod)
            if _same(status, self.pod.get("status") or {}):
                return
            metadata = {key: self.pod["metadata"][key] for key in ("uid", "resourceVersion")}
            try:
                self.observe(await self._client.merge(f"{self._path}/status", {"metadata": metadata, "status": status}))
                return
            except ApiFailure as failure:
                await self._recover(failure, tries)
                tries += 1

    async def _recover(self, failure: ApiFailure, tries: int) -> None:
        if failure.code == 409:
            await self._look_again()
        elif failure.code == 404:
            self._vanish()
        else:
            await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])

    async def _look_again(self) -> None:
        try:
            pod = await self._client.get(self._path)
        except ApiFailure as failure:
            if failure.code == 404:
                self._vanish()
            return
        if pod["metadata"]["uid"] == self.pod["metadata"]["uid"]:
            self.observe(pod)
        else:
            self._vanish()

    def vanish(self) -> None:
        """The pod's object exists no more: nothing is left to write."""
        self._vanish()
        self._work.set()

    def _vanish(self) -> None:
        self.gone = True
        self._done.set()


def _same(status: Obj, current: Obj) -> bool:
    return all(current.get(key) == value for key, value in status.items())
