"""Where a verb works: an embedded cluster for this command only, or a named context. Opens and closes; never takes the current context."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaoskit.cli.options import Wanted
from chaoskit.cluster.access import read_access
from chaoskit.cluster.live import LiveCluster, connect
from chaoskit.cluster.thread import in_thread
from chaoskit.model.errors import CouldNotRun
from chaoskit.runner.redact import learn, secrets_of_kubeconfig

SANDBOX_PROFILE = "fast"
"""The cluster timings of --sandbox."""


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster to work on. `profile` is the sandbox's, "" on a named cluster."""

    cluster: LiveCluster
    profile: str = ""

    @property
    def is_sandbox(self) -> bool:
        return bool(self.profile)

    async def needs_opt_in(self) -> bool:
        """Whether a namespace here must have allowed experiments. Nothing of anybody's is at stake on a sandbox, under whatever context."""
        return not self.is_sandbox and not (await self.cluster.server_version()).endswith("+chaoskit-sandbox")

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
        learn(
            secrets_of_kubeconfig(str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or "~/.kube/config")
        )
        learn(value.partition(" ")[2] or value for value in (await access.headers()).values())
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
