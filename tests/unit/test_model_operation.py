"""Operations, conditions and steps are data: they survive JSON, know their undo and the rights they take."""

from __future__ import annotations

import json

import pytest

from chaoskit.model.errors import CouldNotRun
from chaoskit.model.operation import (
    ABSENT,
    Create,
    Delete,
    Evict,
    Exec,
    Field,
    Item,
    Operation,
    Patch,
    Request,
    Right,
    describe,
    inverse,
    operation_from_json,
    operation_to_json,
    precondition,
    rights,
)
from chaoskit.model.resource import RESOURCES, Ref, ref_of, resource_of
from chaoskit.model.step import (
    Aim,
    Answers,
    Condition,
    Exits,
    FieldIs,
    Gone,
    Until,
    condition_from_json,
    condition_to_json,
    describe_condition,
    step,
    step_from_json,
    step_to_json,
)
from chaoskit.model.target import Target

POD = Ref("Pod", "a", "shop", "uid-a")
NODE = Ref("Node", "n1", "", "uid-n")
TAINT = {"key": "x", "effect": "NoSchedule"}
OPERATIONS: list[Operation] = [
    Patch(NODE, (Field("/spec/unschedulable", ABSENT, True), Item("/spec/taints", TAINT, True))),
    Patch(Ref("Deployment", "d", "shop", "uid-d"), (Field("/spec/replicas", 3, None),), "scale"),
    Create(Ref("Deployment", "canary", "shop"), {"spec": {"replicas": 1}}),
    Delete(POD),
    Delete(POD, 0),
    Evict(POD, 5),
    Request(POD, 9000, "PUT", "/switches/liveness", "{}"),
    Exec(POD, "app", ("touch", "/tmp/broken")),
]


@pytest.mark.parametrize("op", OPERATIONS, ids=describe)
def test_an_operation_survives_json(op: Operation) -> None:
    assert operation_from_json(json.loads(json.dumps(operation_to_json(op)))) == op
    assert precondition(op)


def test_an_operation_of_a_later_version_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="'teleport' is not known to this version"):
        operation_from_json({"op": "teleport", "ref": {"kind": "Pod", "name": "a"}})


def test_a_patch_is_undone_by_its_mirror_and_a_creation_by_deleting_what_bears_our_mark() -> None:
    patch = OPERATIONS[0]
    undo = inverse(patch)
    assert undo == Patch(NODE, (Field("/spec/unschedulable", True, ABSENT), Item("/spec/taints", TAINT, False)))
    assert undo is not None
    assert inverse(undo) == patch
    assert inverse(OPERATIONS[2]) == Delete(Ref("Deployment", "canary", "shop"))
    assert precondition(Delete(Ref("Deployment", "canary", "shop"))) == "carries the mark of this run"
    assert [inverse(op) for op in OPERATIONS[3:]] == [None] * 5


def test_rights_are_read_off_the_operation() -> None:
    assert {(right.verb, right.resource) for right in rights(OPERATIONS[1])} == {
        ("get", "deployments"),
        ("patch", "deployments/scale"),
    }
    assert {(right.verb, right.resource) for right in rights(Evict(POD))} == {
        ("get", "pods"),
        ("create", "pods/eviction"),
    }
    assert Right("update", "", "pods/proxy", "shop", "a") in rights(OPERATIONS[6])
    assert {right.verb for right in rights(OPERATIONS[7]) if right.resource == "pods/exec"} == {"get", "create"}


CONDITIONS: list[Condition] = [
    Gone(POD),
    FieldIs(NODE, "/spec/unschedulable", True),
    Answers(POD, 9000, "/switches/liveness", 200),
    Exits(POD, "app", ("test", "-e", "/tmp/broken"), 0),
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=describe_condition)
def test_a_condition_survives_json(condition: Condition) -> None:
    assert condition_from_json(json.loads(json.dumps(condition_to_json(condition)))) == condition


def test_a_condition_of_a_later_version_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="'feels' is not known"):
        condition_from_json({"is": "feels", "ref": {"kind": "Pod", "name": "a"}})


@pytest.mark.parametrize("op", OPERATIONS, ids=describe)
def test_a_step_survives_json(op: Operation) -> None:
    made = step(op, Until(Gone(POD), 12.5), patience_s=3.0)
    assert step_from_json(json.loads(json.dumps(step_to_json(made)))) == made


def test_a_step_undoes_itself_unless_told_how() -> None:
    assert step(OPERATIONS[2], Until(Gone(POD), 1)).undo == inverse(OPERATIONS[2])
    off = Request(POD, 9000, "DELETE", "/switches/liveness")
    assert step(OPERATIONS[6], Until(Gone(POD), 1), undo=off).undo == off


def test_randomness_comes_from_the_seed_and_the_salt() -> None:
    aim = Aim(Target(namespace="shop", pod="a"), 7)
    assert aim.rng("pods").random() == aim.rng("pods").random()
    assert aim.rng("pods").random() != aim.rng("nodes").random()


def test_refs_pin_live_objects_and_unknown_kinds_are_refused() -> None:
    obj = {"metadata": {"name": "a", "namespace": "shop", "uid": "uid-a"}}
    assert ref_of(obj, "Pod") == POD
    assert str(POD) == "pod shop/a"
    assert str(NODE) == "node n1"
    assert resource_of("Pod") is RESOURCES["Pod"]
    with pytest.raises(CouldNotRun, match="kind 'Wombat'"):
        resource_of("Wombat")
