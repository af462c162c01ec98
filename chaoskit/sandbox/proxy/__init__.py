"""The Service proxy process: kube-proxy's part of the sandbox, one process for all nodes. Talks to the API over HTTPS only."""

from __future__ import annotations

import asyncio
import resource

from chaoskit.sandbox import outages
from chaoskit.sandbox.client import Client
from chaoskit.sandbox.power import LOOK_AGAIN
from chaoskit.sandbox.proxy.balancer import Balancer
from chaoskit.sandbox.proxy.programmer import Mirror, Programmer, mirror_resource
from chaoskit.sandbox.settings import ClusterSettings

__all__ = ["serve"]


async def serve(settings: ClusterSettings) -> None:
    """Balance the cluster's Services until cancelled; waits for the API server if it is not there yet."""
    _allow_many_sockets()
    mirror = Mirror()
    async with (
        Client(settings, "kube-proxy/v1.36.2 (chaoskit sandbox)") as client,
        Balancer(is_cut=lambda host: outages.is_cut(settings.state_dir, host)) as balancer,
        asyncio.TaskGroup() as tasks,
    ):
        asyncio.get_running_loop().add_signal_handler(LOOK_AGAIN, _look_again, mirror, balancer)
        tasks.create_task(mirror_resource(client, mirror, "nodes", "/api/v1/nodes"))
        tasks.create_task(mirror_resource(client, mirror, "services", "/api/v1/services"))
        tasks.create_task(mirror_resource(client, mirror, "endpointslices", "/apis/discovery.k8s.io/v1/endpointslices"))
        tasks.create_task(Programmer(client, settings, mirror, balancer).run())


def _look_again(mirror: Mirror, balancer: Balancer) -> None:
    """Some node's power or cable changed."""
    balancer.reset_cut()
    mirror.changed.set()


def _allow_many_sockets() -> None:
    """Two sockets per connection: take all the descriptors this user may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
