"""The controllers: each a module that brings one kind of object to rest, all run side by side in the API server's loop."""

from __future__ import annotations

import asyncio

from chaoskit.sandbox import scheduler
from chaoskit.sandbox.controllers import (
    claim_protection,
    daemonset,
    deployment,
    disruption,
    endpointslice,
    garbage,
    job,
    mirror,
    namespace,
    node_lifecycle,
    podgc,
    replicaset,
    statefulset,
    taint_eviction,
)
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.settings import ClusterSettings

__all__ = ["run_all"]

_ALL = (
    namespace,
    node_lifecycle,
    taint_eviction,
    garbage,
    deployment,
    replicaset,
    statefulset,
    daemonset,
    job,
    disruption,
    endpointslice,
    mirror,
    podgc,
    claim_protection,
    scheduler,
)


async def run_all(registry: Registry, settings: ClusterSettings) -> None:
    """Run every controller and the scheduler until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for module in _ALL:
            tasks.create_task(module.run(registry, settings), name=module.__name__)
