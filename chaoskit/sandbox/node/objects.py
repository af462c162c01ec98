"""ConfigMaps and Secrets as the node knows them. Fetches fresh when asked; watches only to tell pods that something changed."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from chaoskit.sandbox.client import ApiFailure, Client, Listed

Obj: TypeAlias = dict[str, Any]


class ConfigObjects:
    """A door to ConfigMaps and Secrets. The watches begin with the first question and end with `close`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._changed = asyncio.Event()
        self._watches: list[asyncio.Task[None]] = []

    async def find(self, resource: str, namespace: str, name: str) -> Obj | None:
        """The object as it is now, or None. Raises ApiFailure when the API server cannot tell. Claims are not watched."""
        if not self._watches:
            self._watches = [asyncio.create_task(self._watch(each)) for each in ("configmaps", "secrets")]
        try:
            return await self._client.get(f"/api/v1/namespaces/{namespace}/{resource}/{name}")
        except ApiFailure as failure:
            if failure.code == 404:
                return None
            raise

    async def changed(self, within_s: float) -> None:
        """Return when any ConfigMap or Secret changed, or after `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """End the watches."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def _watch(self, resource: str) -> None:
        async for seen in self._client.follow(f"/api/v1/{resource}"):
            if not isinstance(seen, Listed):
                self._changed.set()
                self._changed = asyncio.Event()
