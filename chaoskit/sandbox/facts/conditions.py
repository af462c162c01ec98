"""Conditions of an object's status: find one, put one, drop one. Pure: lists go in, new lists come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaoskit.sandbox.facts.clock import render_time

Obj = dict[str, Any]


def conditions_of(obj: Mapping[str, Any]) -> list[Obj]:
    return list(obj.get("status", {}).get("conditions") or ())


def find_condition(conditions: Sequence[Obj], kind: str) -> Obj | None:
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def condition_is(obj: Mapping[str, Any], kind: str, status: str) -> bool:
    found = find_condition(obj.get("status", {}).get("conditions") or (), kind)
    return found is not None and found.get("status") == status


def without(conditions: Sequence[Obj], kind: str) -> list[Obj]:
    return [condition for condition in conditions if condition.get("type") != kind]


def make_condition(kind: str, status: str, reason: str, message: str, now_s: float) -> Obj:
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": render_time(now_s),
        "reason": reason,
        "message": message,
    }


def put_condition(conditions: Sequence[Obj], new: Obj) -> list[Obj]:
    """The conditions with `new` in the place of its namesake.

    Same status and reason: nothing changes, not even the message (pkg/controller/deployment/util, SetDeploymentCondition;
    the same rule in replicaset_utils.go). Same status alone: the transition time stays.
    """
    old = find_condition(conditions, new["type"])
    if old is None:
        return [*conditions, new]
    if old.get("status") == new["status"] and old.get("reason", "") == new.get("reason", ""):
        return list(conditions)
    if old.get("status") == new["status"]:
        new = {**new, "lastTransitionTime": old.get("lastTransitionTime", new["lastTransitionTime"])}
    return [new if condition is old else condition for condition in conditions]
