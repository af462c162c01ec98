"""The seams: what a fault, a probe, an SLO and the cluster are to one another. Protocols and the values they pass; no behaviour."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

from chaoskit.model.history import History
from chaoskit.model.operation import Operation
from chaoskit.model.resource import Obj, Ref
from chaoskit.model.step import Aim, Condition, Outcome, Stage
from chaoskit.model.subject import Subject
from chaoskit.model.verdict import Bound, Finding, Window


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation of a feed, stamped on arrival. LISTED: it was there when the watch began, or again after a gap."""

    t_ns: int
    feed: str
    type: Literal["LISTED", "ADDED", "MODIFIED", "DELETED"]
    obj: Obj


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch in which a feed was deaf: anything may have happened in it."""

    start_ns: int
    end_ns: int
    feed: str
    because: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A watch has told all that was there when it began; that may have been nothing."""

    t_ns: int
    feed: str


Sight: TypeAlias = Seen | Gap | Listed
"""What a watch yields."""


class View(Protocol):
    """All that faults, probes and the survey are given: it looks and changes nothing."""

    async def get(self, ref: Ref) -> Obj: ...  # or NotFound

    async def find(self, ref: Ref) -> Obj | None: ...

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[Obj]: ...

    def watch(self, kind: str, namespace: str = "", *, labels: str = "") -> AsyncIterator[Sight]: ...

    async def holds(self, condition: Condition) -> bool: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a mutating request."""

    status: int
    body: Obj
    retry_after_s: float | None = None


class Cluster(View, Protocol):
    """The only door that changes anything."""

    async def perform(self, op: Operation, mark: str, *, undoing: bool = False) -> Reply:
        """One mutating request, sent once. `mark` is "RUN/STEP". Any answer comes back as a Reply; without one AnswerLost is raised."""
        ...

    async def landed(self, op: Operation, mark: str) -> bool:
        """After a lost answer: whether the operation took effect, read back from the object and its mark."""
        ...

    async def keep(self, obj: Obj, within_s: float = 10.0) -> Obj:
        """Write an object of our own (a lease, a record): create it, or replace the very resourceVersion it names. ClusterError 409: another was first."""
        ...

    async def drop(self, ref: Ref, within_s: float = 10.0) -> None:
        """Delete an object of our own, by uid; that it is gone already is no error."""
        ...


class Fault(Protocol):
    """What goes wrong, as a plan: yields stages and is sent their outcomes. Knows no phase and no load."""

    kind: ClassVar[str]

    def stages(self, view: View, aim: Aim) -> AsyncGenerator[Stage, tuple[Outcome, ...]]: ...

    def promises(self, subject: Subject) -> tuple[SLO, ...]: ...


class Probe(Protocol):
    """Looks, never judges: writes named feeds, pruned by an allow-list."""

    kind: ClassVar[str]
    feeds: ClassVar[frozenset[str]]

    def observe(self, view: View, subject: Subject) -> AsyncIterator[Sight]: ...


class SLO(Protocol):
    """Judges, never looks.

    `needs` names feeds ("pods", "endpoints", "nodes") and evidence: "traffic" (enough requests in its own window), "identity"
    (which pod answered), "generator" (the load was what was planned).
    `steady`: also a statement about the steady state. Such an SLO is judged over a window named "baseline" or "settle" too, and there
    means "held throughout the window".
    """

    kind: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    steady: ClassVar[bool]

    @property
    def over(self) -> str: ...

    def bound(self, subject: Subject) -> Bound | None: ...

    def judge(self, history: History, window: Window) -> Finding: ...
