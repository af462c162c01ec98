"""One thing done, how it is seen, how it is undone; and stages of them. Data and its codec; nothing here acts or waits."""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from chaoskit.model.operation import (
    Operation,
    inverse,
    operation_from_json,
    operation_to_json,
    ref_from_json,
    ref_to_json,
)
from chaoskit.model.resource import Json, Ref
from chaoskit.model.target import Target

if TYPE_CHECKING:
    from chaoskit.model.seams import SLO


@dataclass(frozen=True, slots=True)
class Gone:
    """The object of that uid is no longer there."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class FieldIs:
    """The field at a JSON pointer has that value."""

    ref: Ref
    path: str
    value: Json


@dataclass(frozen=True, slots=True)
class Answers:
    """A pod answers a GET through the API server's proxy with that status."""

    ref: Ref
    port: int
    path: str
    status: int


@dataclass(frozen=True, slots=True)
class Exits:
    """An argument list in a container ends with that exit code."""

    ref: Ref
    container: str
    argv: tuple[str, ...]
    code: int


Condition: TypeAlias = Gone | FieldIs | Answers | Exits


@dataclass(frozen=True, slots=True)
class Until:
    """The witness: the fact nearest to the hand, and how long we look for it. Never what kubelet, controller or app make of it."""

    condition: Condition
    within_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """`patience_s`: how long a 429 is asked again. `undo` None: irreversible."""

    do: Operation
    until: Until
    undo: Operation | None
    patience_s: float = 0.0


def step(do: Operation, until: Until, *, undo: Operation | None = None, patience_s: float = 0.0) -> Step:
    """A Step whose undo is the one given, else the operation's own inverse."""
    return Step(do, until, undo if undo is not None else inverse(do), patience_s)


@dataclass(frozen=True, slots=True)
class Gate:
    """An SLO that only the runner evaluates between two stages."""

    slo: SLO
    within_s: float


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps performed side by side, then perhaps a pause, then perhaps a gate."""

    steps: tuple[Step, ...]
    pause_s: float = 0.0
    gate: Gate | None = None


class Fate(enum.Enum):
    """What became of a step: its witness was seen, was not seen in time, it was refused, or its object was gone before."""

    SEEN = "seen"
    UNSEEN = "unseen"
    REFUSED = "refused"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step with its fate; sent back into the fault's generator. `status` is the HTTP status of a refusal, 0 else."""

    step: Step
    fate: Fate
    because: str = ""
    status: int = 0


@dataclass(frozen=True, slots=True)
class Aim:
    """What a fault is told: whom, the seed, the run's id, and how long what it leaves behind has to last (hold included)."""

    target: Target
    seed: int
    run: str = ""
    lasting_s: float = 60.0

    def rng(self, *salt: object) -> random.Random:
        """Randomness of the plan's seed; salted, so that the order of calls does not matter."""
        return random.Random(f"{self.seed}/{salt}")


def condition_to_json(condition: Condition) -> dict[str, Json]:
    data: dict[str, Json] = {"is": type(condition).__name__.lower(), "ref": ref_to_json(condition.ref)}
    match condition:
        case FieldIs():
            return data | {"path": condition.path, "value": condition.value}
        case Answers():
            return data | {"port": condition.port, "path": condition.path, "status": condition.status}
        case Exits():
            return data | {"container": condition.container, "argv": list(condition.argv), "code": condition.code}
        case Gone():
            return data


def condition_from_json(data: Mapping[str, Json]) -> Condition:
    ref = ref_from_json(data["ref"])
    match data["is"]:
        case "gone":
            return Gone(ref)
        case "fieldis":
            return FieldIs(ref, data["path"], data["value"])
        case "answers":
            return Answers(ref, data["port"], data["path"], data["status"])
        case "exits":
            return Exits(ref, data["container"], tuple(data["argv"]), data["code"])
        case other:
            raise ValueError(f"condition {other!r} is not known to this version of chaoskit")


def step_to_json(of: Step) -> dict[str, Json]:
    """A step as plain data, for the journal."""
    return {
        "do": operation_to_json(of.do),
        "until": condition_to_json(of.until.condition) | {"within": of.until.within_s},
        "undo": None if of.undo is None else operation_to_json(of.undo),
        "patience": of.patience_s,
    }


def step_from_json(data: Mapping[str, Json]) -> Step:
    """The reverse of `step_to_json`."""
    undo = None if data["undo"] is None else operation_from_json(data["undo"])
    until = Until(condition_from_json(data["until"]), data["until"]["within"])
    return Step(operation_from_json(data["do"]), until, undo, data.get("patience", 0.0))


def describe_condition(condition: Condition) -> str:
    """A condition in words."""
    match condition:
        case Gone(ref):
            return f"{ref} gone" + (f" (uid {ref.uid})" if ref.uid else "")
        case FieldIs(ref, path, value):
            return f"{path} of {ref} is {value}"
        case Answers(ref, port, path, status):
            return f"GET {path} to port {port} of {ref} answers {status}"
        case Exits(ref, container, argv, code):
            return f"{' '.join(argv)} in {container} of {ref} exits {code}"
