"""A live cluster behind one door: looks, watches, and hands operations to `operations`. Decides nothing."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chaoskit.cluster import books, clock, conditions, operations, rehearsal, watch
from chaoskit.cluster.access import Access
from chaoskit.cluster.address import api_version, path_of
from chaoskit.cluster.transport import Transport, opened
from chaoskit.model.errors import ClusterError, CouldNotRun, NotFound
from chaoskit.model.operation import Operation, Right
from chaoskit.model.resource import Obj, Ref, resource_of
from chaoskit.model.seams import Reply, Sight
from chaoskit.model.step import Condition


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """`model.seams.Cluster` over HTTP. Every method may raise ClusterError with the server's words."""

    transport: Transport
    now_ns: Callable[[], int] = time.monotonic_ns

    @property
    def server(self) -> str:
        return self.transport.access.server

    @property
    def context(self) -> str:
        return self.transport.access.context

    async def get(self, ref: Ref) -> Obj:
        """The live object. Raises NotFound when it is not there, or when its uid is another than the one asked for."""
        live: Obj = await self.transport.read(path_of(ref))
        if ref.uid and live["metadata"]["uid"] != ref.uid:
            raise NotFound(f"{ref} of uid {ref.uid} is gone: the name belongs to {live['metadata']['uid']} by now")
        return {"apiVersion": api_version(resource_of(ref.kind)), "kind": ref.kind, **live}

    async def find(self, ref: Ref) -> Obj | None:
        """The live object, or None."""
        try:
            return await self.get(ref)
        except NotFound:
            return None

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[Obj]:
        """All objects that fit, each with kind and apiVersion; of all namespaces when none is given."""
        return (await watch.listed(self.transport, kind, namespace, labels, fields))[0]

    def watch(self, kind: str, namespace: str = "", *, labels: str = "") -> AsyncGenerator[Sight, None]:
        """See `cluster.watch.watch`."""
        return watch.watch(self.transport, kind, namespace, labels=labels, now_ns=self.now_ns)

    async def holds(self, condition: Condition) -> bool:
        """See `cluster.conditions.holds`."""
        return await conditions.holds(self.transport, condition)

    async def perform(self, op: Operation, mark: str, *, undoing: bool = False) -> Reply:
        """See `cluster.operations.perform`."""
        return await operations.perform(self.transport, op, mark, undoing=undoing)

    async def landed(self, op: Operation, mark: str) -> bool:
        """See `cluster.operations.landed`."""
        return await operations.landed(self.transport, op, mark)

    async def keep(self, obj: Obj, within_s: float = 10.0) -> Obj:
        """See `cluster.books.keep`."""
        return await books.keep(self.transport, obj, within_s)

    async def drop(self, ref: Ref, within_s: float = 10.0) -> None:
        """See `cluster.books.drop`."""
        await books.drop(self.transport, ref, within_s)

    async def may(self, right: Right) -> bool:
        """Whether these credentials have the right. Source: SelfSubjectAccessReview; a rights *listing* may be incomplete."""
        resource, _, subresource = right.resource.partition("/")
        asked = {
            "verb": right.verb,
            "group": right.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": right.namespace,
            "name": right.name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: text for key, text in asked.items() if text}},
        }
        answer = await self.transport.ask("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    async def rehearsed(self, op: Operation, mark: str) -> Reply | None:
        """See `cluster.rehearsal.rehearsed`."""
        return await rehearsal.rehearsed(self.transport, op, mark)

    async def rehearsed_undo(self, undo: Operation) -> Reply | None:
        """See `cluster.rehearsal.rehearsed_undo`."""
        return await rehearsal.rehearsed_undo(self.transport, undo)

    async def missing(self, rights: frozenset[Right]) -> builtins.list[Right]:
        """Those of the rights that these credentials lack, sorted."""
        asked = sorted(rights, key=str)
        granted = await asyncio.gather(*(self.may(right) for right in asked))
        return [right for right, ok in zip(asked, granted, strict=True) if not ok]

    async def user(self) -> str:
        """Who these credentials are to the server, "" where it does not tell. Source: authentication.k8s.io/v1, SelfSubjectReview (1.28)."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            answer = await self.transport.ask("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        except ClusterError:
            return ""
        return str(((answer.get("status") or {}).get("userInfo") or {}).get("username", ""))

    async def clock_offset(self) -> tuple[float, float]:
        """(offset, error) in seconds: the server's wall clock minus ours. Takes about a second."""
        return await clock.clock_offset(self.transport)

    async def server_version(self) -> str:
        """Such as "v1.36.2"."""
        return str((await self.transport.read("/version"))["gitVersion"])


@asynccontextmanager
async def connect(access: Access) -> AsyncIterator[LiveCluster]:
    """The cluster, reached once to see that it answers. Raises CouldNotRun with the way out when it does not."""
    async with opened(access) as transport:
        cluster = LiveCluster(transport)
        try:
            await cluster.server_version()
        except NotFound as error:
            raise CouldNotRun(
                f"{access.server} of context {access.context!r} is not a Kubernetes API server: {error}"
            ) from error
        yield cluster
