"""Where a verb works: an embedded cluster for this command only, or a named context. Opens and closes; never takes the current context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import LiveCluster, connect
from chaoskit.cluster.thread import in_thread
from chaoskit.model.errors import CouldNotRun

F = TypeVar("F", bound=Callable[..., Any])

SANDBOX_PROFILE = "fast"
"""The cluster timings of --sandbox."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for: `context` None means a sandbox."""

    context: str | None
    kubeconfig: Path | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster to work on. `profile` is the sandbox's, "" on a named cluster."""

    cluster: LiveCluster
    profile: str = ""

    @property
    def is_sandbox(self) -> bool:
        return bool(self.profile)

    async def clock(self) -> tuple[float, float]:
        """The server's clock minus ours and how far that may be off, in seconds. A sandbox shares this machine's clock."""
        return (0.0, 0.0) if self.is_sandbox else await self.cluster.clock_offset()


@asynccontextmanager
async def place(wanted: Wanted) -> AsyncIterator[Place]:
    """The cluster that was asked for, reachable. A sandbox ends with the block."""
    async with AsyncExitStack() as stack:
        context, kubeconfig, profile = wanted.context, wanted.kubeconfig, ""
        if context is None:
            context, kubeconfig, profile = await _started(stack)
        access = await in_thread(lambda: read_access(context, kubeconfig))
        yield Place(await stack.enter_async_context(connect(access)), profile)


async def _started(stack: AsyncExitStack) -> tuple[str, Path, str]:
    from chaoskit.sandbox.cluster import SandboxError, sandbox

    # The official package takes half a second to import: that fits beside the start of the sandbox.
    warming = asyncio.ensure_future(in_thread(_warm))
    try:
        info = await stack.enter_async_context(sandbox(profile=SANDBOX_PROFILE))
        await warming
    except SandboxError as error:
        raise CouldNotRun(str(error)) from None
    finally:
        warming.cancel()
    return info.context, info.kubeconfig, info.profile


def _warm() -> None:
    import kubernetes.config  # noqa: F401 - for its effect on the next import


def place_options(command: F) -> F:
    """--sandbox, --context and --kubeconfig."""
    for option in reversed(
        (
            click.option("--sandbox", is_flag=True, help="Start an embedded cluster for this command (profile fast)."),
            click.option("--context", metavar="NAME", help="Use this context of the kubeconfig."),
            kubeconfig_option,
        )
    ):
        command = option(command)
    return command


def kubeconfig_option(command: F) -> F:
    """--kubeconfig, as kubectl means it."""
    kind = click.Path(path_type=Path)
    help_ = "The kubeconfig file; otherwise $KUBECONFIG or ~/.kube/config, as with kubectl."
    return click.option("--kubeconfig", type=kind, metavar="FILE", help=help_)(command)


def wanted_place(sandbox: bool, context: str | None, kubeconfig: Path | None) -> Wanted:
    """What was asked for. Raises click.UsageError unless it is exactly one of the two."""
    if sandbox and context is not None:
        raise click.UsageError("--sandbox and --context exclude each other.")
    if sandbox and kubeconfig is not None:
        raise click.UsageError("--kubeconfig belongs to --context; a sandbox has its own.")
    if not sandbox and context is None:
        raise click.UsageError(
            "Name the cluster. --sandbox starts an embedded one for this command, on this machine, and removes it "
            "afterwards; --context NAME uses that context of your kubeconfig. The current context is never used by accident."
        )
    return Wanted(context, kubeconfig)
