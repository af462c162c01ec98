"""The checks behind `chaoskit doctor`, each a small question with its fix. Tries on this machine; only looks at the cluster."""

from __future__ import annotations

import asyncio
import platform
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from chaoskit.cli.options import Wanted
from chaoskit.cli.place import Place, place
from chaoskit.model.errors import ChaosError, ClusterError
from chaoskit.model.operation import Right
from chaoskit.model.resource import Obj, Ref

DEPENDENCIES = ("kubernetes", "httpx", "locust")
CLOCK_LIMIT_S = 1.0
"""How far the server's clock may be from ours before events of its and of ours are hard to put in order, in seconds."""
CONNECT_S = 1.0

_FAULTS: Sequence[tuple[str, Sequence[tuple[str, str, str]]]] = (
    (
        "looking",
        (("list", "", "pods"), ("watch", "", "pods"), ("list", "apps", "deployments"), ("get", "", "namespaces")),
    ),
    ("killPod", (("delete", "", "pods"),)),
    ("drainNode", (("create", "", "pods/eviction"), ("patch", "", "nodes"))),
    (
        "failLiveness, failReadiness",
        (("update", "", "pods/proxy"), ("delete", "", "pods/proxy"), ("get", "", "pods/proxy")),
    ),
    ("badCanary", (("create", "apps", "deployments"), ("delete", "apps", "deployments"))),
    ("a run's own state", (("create", "", "configmaps"), ("create", "coordination.k8s.io", "leases"))),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a check came to. `fix` is "" when all is well."""

    what: str
    says: str
    fix: str = ""


async def diagnosed(wanted: Wanted | None, namespace: str) -> int:
    """Make all checks, say each as it is done; the exit code."""
    well = True
    async for found in _all(wanted, namespace):
        well = well and not found.fix
        click.echo(f"{'ok    ' if not found.fix else 'MEND  '} {found.what}: {found.says}")
        if found.fix:
            click.echo(f"       fix: {found.fix}")
    return 0 if well else 3


async def _all(wanted: Wanted | None, namespace: str) -> AsyncIterator[Found]:
    for check in (_client, _generator, _sandbox):
        yield await check()
    if wanted is None:
        return
    try:
        async with place(wanted) as where:
            for look in (_server, _who, _rights, _route, _clock):
                try:
                    yield await look(where, namespace)
                except ClusterError as error:
                    yield Found(
                        _NAMES[look],
                        str(error),
                        "see what the server says; `chaoskit rbac FILE` prints the role that is needed",
                    )
    except ChaosError as error:
        yield Found("cluster", str(error), "check the context with: kubectl --context NAME version")


# -- this machine ------------------------------------------------------------------------------------------------------------


async def _client() -> Found:
    from chaoskit import __version__

    parts = ", ".join(f"{name} {_version(name)}" for name in DEPENDENCIES)
    says = f"chaoskit {__version__}, Python {platform.python_version()} on {platform.system()}; {parts}"
    fix = "" if sys.version_info >= (3, 11) else "use Python 3.11 or newer"
    return Found("client", says, fix)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


async def _generator() -> Found:
    """The traffic process starts, and its clients tell of every request that a server drops."""
    from chaoskit.traffic.plan import TrafficPlan
    from chaoskit.traffic.supervisor import generator

    with tempfile.TemporaryDirectory(prefix="chaoskit-") as folder:
        try:
            async with generator(TrafficPlan("http://127.0.0.1:9"), Path(folder)) as started:
                return Found("generator", "; ".join(started.selftest) or "its self-test passed")
        except (ChaosError, OSError) as error:
            return Found(
                "generator", str(error), "reinstall with the pinned versions: pip install -c constraints.txt ."
            )


async def _sandbox() -> Found:
    from chaoskit.sandbox.cluster import SandboxError, sandbox

    began = asyncio.get_running_loop().time()
    try:
        async with sandbox(nodes=1):
            took = asyncio.get_running_loop().time() - began
            return Found("sandbox", f"an embedded cluster started in {took:.1f} s")
    except (SandboxError, OSError) as error:
        return Found("sandbox", str(error), "work on a real cluster with --context, or on Linux")


# -- the cluster -------------------------------------------------------------------------------------------------------------


async def _server(where: Place, namespace: str) -> Found:
    return Found("server", f"{await where.cluster.server_version()} at {where.cluster.server}")


async def _who(where: Place, namespace: str) -> Found:
    user = await where.cluster.user()
    return Found("user", user or "the server does not tell (it is older than 1.28)")


async def _rights(where: Place, namespace: str) -> Found:
    lacking = []
    for fault, asked in _FAULTS:
        rights = frozenset(
            Right(verb, group, name, "" if name == "nodes" else namespace) for verb, group, name in asked
        )
        missing = await where.cluster.missing(rights)
        if missing:
            lacking.append(f"{fault} lacks {', '.join(f'{right.verb} {right.resource}' for right in missing)}")
    if not lacking:
        return Found("rights", f"all that the faults take in namespace {namespace}")
    return Found(
        "rights",
        f"in namespace {namespace}: {'; '.join(lacking)}",
        "`chaoskit rbac FILE` prints the role for an experiment",
    )


async def _route(where: Place, namespace: str) -> Found:
    """Whether ClusterIPs, and nodes for NodePorts, can be reached from here."""
    service = await where.cluster.find(Ref("Service", "kubernetes", "default"))
    ways = [("ClusterIPs", address) for address in ([] if service is None else _service_address(service))]
    ways += [("NodePorts", address) for address in _node_addresses(await where.cluster.list("Node"))[:1]]
    open_ = [name for name, (host, port) in ways if await _reaches(host, port)]
    if open_:
        return Found("route", f"{' and '.join(open_)} are reachable from here")
    tried = ", ".join(f"{host}:{port}" for _, (host, port) in ways) or "no address is known"
    return Found(
        "route",
        f"neither ClusterIPs nor nodes answer ({tried})",
        "expose the application by a LoadBalancer, or give traffic a url:",
    )


def _service_address(service: Obj) -> list[tuple[str, int]]:
    spec = service.get("spec") or {}
    return [
        (spec["clusterIP"], port["port"])
        for port in (spec.get("ports") or ())[:1]
        if spec.get("clusterIP", "None") != "None"
    ]


def _node_addresses(nodes: Sequence[Obj]) -> list[tuple[str, int]]:
    kubelet = 10250
    return [
        (
            address["address"],
            ((node.get("status") or {}).get("daemonEndpoints") or {}).get("kubeletEndpoint", {}).get("Port", kubelet),
        )
        for node in nodes
        for address in (node.get("status") or {}).get("addresses") or ()
        if address["type"] == "InternalIP"
    ]


async def _reaches(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return True  # the address leads somewhere
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _clock(where: Place, namespace: str) -> Found:
    offset, error = await where.cluster.clock_offset()
    says = f"the server's clock is {offset:+.2f} s from ours (± {error:.2f} s)"
    return Found("clock", says, "" if abs(offset) - error <= CLOCK_LIMIT_S else "let both keep time by NTP")


_NAMES: dict[Callable[[Place, str], Awaitable[Found]], str] = {
    _server: "server",
    _who: "user",
    _rights: "rights",
    _route: "route",
    _clock: "clock",
}
