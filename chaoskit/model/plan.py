"""The forecast: what a run would do, to whom, with which rights, judged by what, within which bounds. A printable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaoskit.model.operation import Right
from chaoskit.model.seams import SLO
from chaoskit.model.step import Aim, Stage
from chaoskit.model.subject import Subject
from chaoskit.model.verdict import Bound


@dataclass(frozen=True, slots=True)
class Route:
    """How traffic reaches the Service from here, and why this way."""

    kind: str
    base_url: str
    why: str
    answered_with: frozenset[str] | None = field(default=None, compare=False)
    """The names of the headers of its answer, in lower case; None when nobody looked."""


@dataclass(frozen=True, slots=True)
class Samples:
    """How many requests an objective will see over its window, and how many it needs to be decided."""

    slo: str
    window: str
    sent: int
    needed: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A promise that will not be judged, with the reason."""

    slo: str
    because: str


@dataclass(frozen=True, slots=True)
class Grounds:
    """The rules of a place, whatever an experiment says: whether namespaces must have opted in, and where this runner lives, if it lives there.

    `own_pod` is "namespace/name", `own_node` a name, "" when unknown.
    """

    opt_in: bool = False
    own_pod: str = ""
    own_node: str = ""


ANYWHERE = Grounds()
"""A place without rules of its own."""


@dataclass(frozen=True, slots=True)
class Caveat:
    """Something the preflight found. `blocks`: with it the run does not begin. `fix` says what to do, "" when there is nothing to do."""

    what: str
    blocks: bool = False
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}" if self.fix else self.what


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything said before the first mutation. The executor refuses what is outside `rights` and `blast_radius`."""

    aim: Aim
    subject: Subject
    foreseen: tuple[Stage, ...]
    rights: frozenset[Right]
    promises: tuple[SLO, ...]
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    samples: tuple[Samples, ...] = ()
    route: Route | None = None
    server: str = ""
    context: str = ""
    expected_s: float = 0.0
    """How long the run should take, in seconds."""
    settle_s: float = 0.0
    """Latest end of the settling after the revert, in seconds."""
    grounds: Grounds = ANYWHERE
    caveats: tuple[Caveat, ...] = ()
    identity: tuple[str, ...] | None = None
    """What the responses say of who answers: pod, version, node; None when that is not known."""
    hints: tuple[str, ...] = ()
    """Objectives that the workload's own settings do not allow, and times too short to decide a promise. Advice; never a verdict."""

    @property
    def blast_radius(self) -> frozenset[str]:
        """The uids of the objects that may be touched, and "Kind/namespace/name" of those that may be created."""
        refs = [step.do.ref for stage in self.foreseen for step in stage.steps]
        return frozenset(ref.uid or f"{ref.kind}/{ref.namespace}/{ref.name}" for ref in refs)
