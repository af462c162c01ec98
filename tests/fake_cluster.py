"""A cluster in memory for virtual time: no threads, no sockets, and trouble where a test wants it. It satisfies `model.seams.Cluster`.

**A request that was sent lands, even if its caller was cancelled or died meanwhile**: its effect is a timer of the loop and belongs to no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from chaoskit.cluster.books import same_content, tried
from chaoskit.cluster.mark import mark_of, marked
from chaoskit.cluster.patch import forgetting, is_applied, json_patch, mismatch, same, value_at
from chaoskit.model.errors import AnswerLost, ClusterError, NotFound
from chaoskit.model.operation import Create, Delete, Evict, Exec, Operation, Patch, Request, describe
from chaoskit.model.resource import Obj, Ref, ref_of
from chaoskit.model.seams import Reply, Sight
from chaoskit.model.step import Answers, Condition, Exits, FieldIs, Gone
from tests.fake_store import Store
from tests.fake_world import World
from tests.kubernetes_patch import Inapplicable, applied

NAMESPACE = "shop"
DOUBT_S = 5.0
OWN = "own/books"
"""The mark of what is chaoskit's own: leases, records."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with one request. The default: nothing does."""

    refused: Reply | None = None
    """This answer, and no effect."""
    unreachable: bool = False
    """It is not even sent."""
    lost: bool = False
    """The answer never comes; AnswerLost at once."""
    hangs: bool = False
    """The answer never comes; AnswerLost after 5 s."""
    lands_after_s: float | None = 0.0
    """When the effect comes, after the usual latency; None: never (only with `lost` or `hangs`)."""


@dataclass(frozen=True)
class Sent:
    """One mutating request, and when it was sent on the loop's clock."""

    op: Operation
    mark: str
    undoing: bool
    at_s: float


def answering(status: int, message: str = "trouble", retry_after_s: float | None = None) -> Trouble:
    """A refusal with this status."""
    return Trouble(refused=Reply(status, {"kind": "Status", "message": message, "code": status}, retry_after_s))


Log: TypeAlias = list[Sent]


@dataclass
class FakeCluster:
    """`trouble` is asked about each request; `at` is called at "send", "land" and "answer" and may raise there, as a death would."""

    store: Store = field(default_factory=Store)
    latency_s: float = 0.004
    trouble: Callable[[Sent], Trouble] = lambda sent: Trouble()
    at: Callable[[Literal["send", "land", "answer"], Operation], None] = lambda where, op: None
    budget: Callable[[Obj], str] = lambda pod: ""
    """Why a pod may not be evicted now, or ""."""
    book_trouble: Callable[[Sent], Trouble] = lambda sent: Trouble()
    """The same as `trouble` and `at`, for what is chaoskit's own."""
    at_book: Callable[[Literal["send", "land", "answer"], Operation], None] = lambda where, op: None
    look_trouble: Callable[[], ClusterError | None] = lambda: None
    """Asked about each read: what it raises, if anything."""
    blind: ClusterError | None = None
    """What every read raises, if anything."""
    sent: list[Sent] = field(default_factory=list)
    booked: list[Sent] = field(default_factory=list)
    landed_ops: list[Sent] = field(default_factory=list)
    doubts: dict[str, float] = field(default_factory=dict)
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.store)

    # ---- View

    async def get(self, ref: Ref) -> Obj:
        await self._look()
        live = self.store.named(ref)
        if live is None or (ref.uid and live["metadata"]["uid"] != ref.uid):
            raise NotFound(f"{ref} not found")
        return live

    async def find(self, ref: Ref) -> Obj | None:
        try:
            return await self.get(ref)
        except NotFound:
            return None

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[Obj]:
        await self._look()
        return self.store.of(kind, namespace, labels, fields)

    def watch(self, kind: str, namespace: str = "", *, labels: str = "") -> AsyncIterator[Sight]:
        return self.store.watch(kind, namespace, labels)

    async def holds(self, condition: Condition) -> bool:
        live = await self.find(condition.ref)
        match condition:
            case Gone():
                return live is None
            case FieldIs(path=path, value=value):
                return live is not None and same(value_at(live, path), value)
            case Answers(ref, port, path, status):
                return live is not None and self.world.answer(live, Request(ref, port, "GET", path)).status == status
            case Exits(ref, container, argv, code):
                return live is not None and self.world.run(live, Exec(ref, container, argv)) == code

    async def _look(self) -> None:
        await asyncio.sleep(self.latency_s)
        error = self.blind or self.look_trouble()
        if error is not None:
            raise error

    # ---- Cluster

    async def perform(self, op: Operation, mark: str, *, undoing: bool = False) -> Reply:
        """As the live one: a Reply, AnswerLost, or ClusterError when nothing was sent."""
        sent = Sent(op, mark, undoing, asyncio.get_running_loop().time())
        return await self._carried(sent, self.trouble(sent), lambda: self._effect(sent), self.at, self.sent)

    async def _carried(
        self,
        sent: Sent,
        trouble: Trouble,
        effect: Callable[[], Reply],
        at: Callable[[Literal["send", "land", "answer"], Operation], None],
        log: Log,
    ) -> Reply:
        """One request on its way, with what goes wrong on it."""
        loop, op = asyncio.get_running_loop(), sent.op
        if trouble.unreachable:
            await asyncio.sleep(self.latency_s)
            raise ClusterError(f"cannot be reached: {describe(op)}")
        answer: asyncio.Future[Reply] = loop.create_future()
        log.append(sent)
        if trouble.refused is not None:
            loop.call_later(self.latency_s, _deliver, answer, trouble.refused)
        elif trouble.lands_after_s is not None:
            loop.call_later(self.latency_s + trouble.lands_after_s, self._land, sent, answer, effect, at)
        at("send", op)
        if trouble.lost or trouble.hangs:
            self.doubts[sent.mark] = loop.time() + DOUBT_S
            await asyncio.sleep(DOUBT_S if trouble.hangs else self.latency_s)
            raise AnswerLost(f"the answer was lost: {describe(op)}")
        reply = await answer
        at("answer", op)
        return reply

    def _land(
        self,
        sent: Sent,
        answer: asyncio.Future[Reply],
        effect: Callable[[], Reply],
        at: Callable[[Literal["send", "land", "answer"], Operation], None],
    ) -> None:
        reply = effect()
        if reply.status < 300 and sent.mark != OWN:
            self.landed_ops.append(sent)
        _deliver(answer, reply)
        at("land", sent.op)

    # ---- what is chaoskit's own

    async def keep(self, obj: Obj, within_s: float = 10.0) -> Obj:
        """As the live one: compare and set, sent again while the server fails."""
        ref = Ref(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", ""))

        async def written() -> Obj:
            reply = await self._booked(Create(ref, obj), lambda: self._kept(ref, obj))
            if reply.status < 300:
                return reply.body
            live = await self.find(ref)
            if reply.status == 409 and live is not None and same_content(obj, live):
                return live
            raise ClusterError(str(reply.body["message"]), reply.status)

        return await tried(written, within_s)

    async def drop(self, ref: Ref, within_s: float = 10.0) -> None:
        """As the live one."""

        async def deleted() -> None:
            reply = await self._booked(Delete(ref), lambda: self._dropped(ref))
            if reply.status not in (200, 404, 409):
                raise ClusterError(str(reply.body["message"]), reply.status)

        await tried(deleted, within_s)

    async def _booked(self, op: Operation, effect: Callable[[], Reply]) -> Reply:
        sent = Sent(op, OWN, False, asyncio.get_running_loop().time())
        return await self._carried(sent, self.book_trouble(sent), effect, self.at_book, self.booked)

    def _kept(self, ref: Ref, obj: Obj) -> Reply:
        live, version = self.store.named(ref), obj["metadata"].get("resourceVersion")
        if version is None and live is not None:
            return _status(409, f"{ref} already exists")
        if version is not None and (live is None or live["metadata"]["resourceVersion"] != version):
            return _status(409 if live is not None else 404, f"{ref} was changed")
        return Reply(200, self.store.put(ref.kind, obj))

    def _dropped(self, ref: Ref) -> Reply:
        live = self.store.named(ref)
        if live is None or live["metadata"]["uid"] != ref.uid:
            return _status(404 if live is None else 409, f"{ref} is not there")
        self.store.drop(live)
        return _status(200, "")

    async def landed(self, op: Operation, mark: str) -> bool:
        """As the live one: says no only when the doubt is over; AnswerLost for what cannot be read back."""
        if isinstance(op, Request | Exec):
            raise AnswerLost(f"whether this took effect cannot be read back: {describe(op)}")
        loop = asyncio.get_running_loop()
        doubt_ends = self.doubts.pop(mark, loop.time() + DOUBT_S)
        while True:
            is_over = loop.time() >= doubt_ends
            if await self._took_effect(op, mark):
                return True
            if is_over:
                return False
            await asyncio.sleep(0.2)

    async def _took_effect(self, op: Patch | Create | Delete | Evict, mark: str) -> bool:
        live = await self.find(Ref(op.ref.kind, op.ref.name, op.ref.namespace))
        match op:
            case Delete() | Evict():
                other = live is None or (live["metadata"]["uid"] != op.ref.uid if op.ref.uid else mark_of(live) != mark)
                return live is None or other or "deletionTimestamp" in live["metadata"]
            case Create():
                return live is not None and mark_of(live) == mark
            case Patch():
                return live is not None and is_applied(op, live, mark)

    # ---- effects, each in one turn of the loop

    def _effect(self, sent: Sent) -> Reply:
        op = sent.op
        live = self.store.named(op.ref)
        if isinstance(op, Create):
            return self._create(op, live, sent.mark)
        if live is None:
            return _status(404, f"{op.ref} not found")
        match op:
            case Patch():
                return self._patch(op, live, sent)
            case Delete():
                return self._delete(op, live, sent.mark)
            case _ if live["metadata"]["uid"] != op.ref.uid:
                return _status(409, f"{op.ref}: the uid does not match")
            case Evict():
                return self._evict(op, live)
            case Request():
                return self.world.answer(live, op)
            case Exec():
                code = self.world.run(live, op)
                return Reply(422 if code else 200, {"exitCode": code, "message": f"exit code {code}"})

    def _patch(self, op: Patch, live: Obj, sent: Sent) -> Reply:
        why = mismatch(op, live, sent.mark, sent.undoing)
        if why:
            if sent.undoing and (body := forgetting(op, live, sent.mark)):
                self.store.put(op.ref.kind, applied(live, body))
            return _status(422, why)
        try:
            changed = applied(live, json_patch(op, live, sent.mark, sent.undoing))
        except Inapplicable as error:
            return _status(422, str(error))
        stored = self.store.put(op.ref.kind, changed)
        return Reply(200, stored)

    def _create(self, op: Create, live: Obj | None, mark: str) -> Reply:
        if live is not None:
            return Reply(200, live) if mark_of(live) == mark else _status(409, f"{op.ref} already exists")
        meta = {**(op.manifest.get("metadata") or {}), "name": op.ref.name, "namespace": op.ref.namespace}
        created = self.store.put(op.ref.kind, marked({**op.manifest, "metadata": meta}, mark))
        if op.ref.kind == "Deployment":
            self.world.roll_out(created)
        return Reply(201, created)

    def _delete(self, op: Delete, live: Obj, mark: str) -> Reply:
        if op.ref.uid and live["metadata"]["uid"] != op.ref.uid:
            return _status(409, f"{op.ref}: the uid in the precondition does not match")
        if not op.ref.uid and mark_of(live) != mark:
            return _status(409, f"{op.ref} does not carry the mark {mark}")
        if op.ref.kind == "Pod":
            self.world.end_pod(live, op.grace_s)
        else:
            self.store.drop(live)
            self.world.take_down(live)
        return _status(200, "")

    def _evict(self, op: Evict, live: Obj) -> Reply:
        why = self.budget(live)
        if why:
            return _status(429, why)
        self.world.end_pod(live, op.grace_s)
        return _status(201, "")

    # ---- for tests

    def pods(self, app: str = "checkout") -> Sequence[Ref]:
        """The pods of an application that are not on their way out."""
        pods = self.store.of("Pod", NAMESPACE, f"app={app}")
        return [ref_of(pod) for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def _deliver(answer: asyncio.Future[Reply], reply: Reply) -> None:
    if not answer.done():
        answer.set_result(reply)


def _status(code: int, message: str) -> Reply:
    return Reply(code, {"kind": "Status", "message": message, "code": code})


def shop(replicas: int = 3, nodes: int = 3, app: str = "checkout") -> FakeCluster:
    """A cluster with nodes and one application that is ready. Needs a running loop."""
    cluster = FakeCluster()
    for number in range(1, nodes + 1):
        cluster.store.put("Node", {"metadata": {"name": f"node-{number}", "labels": {}}, "spec": {}})
    labels = {"app": app}
    meta = {"name": app, "namespace": NAMESPACE, "labels": labels}
    container = {"name": "app", "image": "python", "ports": [{"name": "admin", "containerPort": 9090}]}
    template = {
        "metadata": {"labels": labels, "annotations": {"chaoskit.dev/switch-port": "9090"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 5},
    }
    cluster.store.put(
        "Service", {"metadata": meta, "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}}
    )
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    cluster.world.roll_out(
        cluster.store.put("Deployment", {"metadata": {**meta, "generation": 1}, "spec": spec}), ready=True
    )
    return cluster
