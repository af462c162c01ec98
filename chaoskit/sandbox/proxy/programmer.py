"""From what the API server says to what the balancer does, with kube-proxy's pace. Opens no sockets itself.

A change takes effect PROGRAMMING_S after it was seen, and at most one pass is made per endpoint_propagation_s (kube-proxy's
minSyncPeriod): that delay between a pod's end and the last connection sent to it is what a preStop hook is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from chaoskit.sandbox import outages
from chaoskit.sandbox.client import ApiFailure, Client, Listed
from chaoskit.sandbox.proxy.balancer import Balancer
from chaoskit.sandbox.proxy.routing import Address, Route, table_of
from chaoskit.sandbox.settings import ClusterSettings

Obj = dict[str, Any]
PROGRAMMING_S = 0.05
REOPEN_S = 1.0


class Mirror:
    """The Services and EndpointSlices as last seen; `changed` is set when there is something to program."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[tuple[str, str], Obj]] = {}
        self.changed = asyncio.Event()

    def is_complete(self) -> bool:
        return self.objects.keys() >= {"services", "endpointslices"}

    def replace(self, resource: str, items: tuple[Obj, ...]) -> None:
        self.objects[resource] = {_key(obj): obj for obj in items}
        self.changed.set()

    def node_addresses(self) -> tuple[str, ...]:
        """The InternalIPs of all nodes."""
        nodes = self.objects.get("nodes", {}).values()
        listed = [each for node in nodes for each in node.get("status", {}).get("addresses") or ()]
        return tuple(sorted(each["address"] for each in listed if each["type"] == "InternalIP"))

    def note(self, resource: str, kind: str, obj: Obj) -> None:
        if kind == "DELETED":
            self.objects[resource].pop(_key(obj), None)
        else:
            self.objects[resource][_key(obj)] = obj
        self.changed.set()

    def table(self, nodes: tuple[str, ...]) -> dict[Address, Route]:
        return table_of(self.objects["services"].values(), self.objects["endpointslices"].values(), nodes)


def _key(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


async def mirror_resource(client: Client, mirror: Mirror, resource: str, path: str) -> None:
    """Follow one resource for ever."""
    async for seen in client.follow(path):
        if isinstance(seen, Listed):
            mirror.replace(resource, seen.items)
        else:
            mirror.note(resource, seen.type, seen.obj)


def due_s(now_s: float, last_s: float, min_sync_s: float) -> float:
    """When a change seen now is programmed, the last pass having been at `last_s`. Pure."""
    return max(now_s + min(PROGRAMMING_S, min_sync_s), last_s + min_sync_s)


class Programmer:
    """Applies the mirror to the balancer, pass by pass, and tells a Service's readers about ports that would not open."""

    def __init__(self, client: Client, settings: ClusterSettings, mirror: Mirror, balancer: Balancer) -> None:
        self._client = client
        self._mirror = mirror
        self._balancer = balancer
        self._min_sync_s = settings.timings.endpoint_propagation_s
        self._state_dir = settings.state_dir
        self._told: set[tuple[Address, str]] = set()

    async def run(self) -> None:
        """Program until cancelled."""
        loop = asyncio.get_running_loop()
        last_s = -self._min_sync_s
        while True:
            await self._mirror.changed.wait()
            await asyncio.sleep(due_s(loop.time(), last_s, self._min_sync_s) - loop.time())
            self._mirror.changed.clear()
            if self._mirror.is_complete():
                await self._program()
            last_s = loop.time()

    async def _program(self) -> None:
        # Nobody listens on a node that has no power or no network.
        nodes = [address for address in self._mirror.node_addresses() if not outages.is_down(self._state_dir, address)]
        table = self._mirror.table(tuple(nodes))
        failures = await self._balancer.apply(table)
        if failures:
            # Nothing tells when the port comes free or the right is granted: look again by the clock.
            asyncio.get_running_loop().call_later(REOPEN_S, self._mirror.changed.set)
        await self._tell(table, failures)

    async def _tell(self, table: Mapping[Address, Route], failures: Mapping[Address, str]) -> None:
        fresh = {(address, why) for address, why in failures.items()} - self._told
        self._told = set(failures.items())
        for address, why in sorted(fresh, key=str):
            try:
                await self._client.create(
                    f"/api/v1/namespaces/{table[address].namespace}/events", _event(table[address], address, why)
                )
            except ApiFailure:
                self._told.discard((address, why))


def _event(route: Route, address: Address, why: str) -> Obj:
    advice = "; ports below 1024 need a privileged user, a NodePort does not" if address.port < 1024 else ""
    involved = {
        "apiVersion": "v1",
        "kind": "Service",
        "namespace": route.namespace,
        "name": route.service,
        "uid": route.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{route.service}.", "namespace": route.namespace},
        "involvedObject": involved,
        "type": "Warning",
        "reason": "PortNotAvailable",
        "message": f"cannot listen on {address}: {why}{advice}",
        "source": {"component": "kube-proxy"},
        "reportingComponent": "kube-proxy",
        "count": 1,
    }
