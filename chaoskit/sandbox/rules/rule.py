"""What a kind adds to the common way of every write. A table of functions over private copies; commits nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaoskit.sandbox.errors import Cause
from chaoskit.sandbox.settings import ClusterSettings
from chaoskit.sandbox.store import Obj, Store


@dataclass(frozen=True, slots=True)
class Admission:
    """What a rule may look at besides the object: settings, and the store for reading."""

    settings: ClusterSettings
    store: Store


def _leave(obj: Obj, admission: Admission) -> None:
    """No change on create."""


def _leave_update(new: Obj, old: Obj, admission: Admission) -> None:
    """No change on update."""


def _accept(obj: Obj) -> list[Cause]:
    return []


def _accept_update(new: Obj, old: Obj) -> list[Cause]:
    return []


def _allow(obj: Obj) -> None:
    """No object of this kind is protected."""


def _spec(obj: Obj) -> Any:
    return obj.get("spec")


def status_only(new: Obj, given: Obj) -> Obj:
    """`new`, a copy of the old object, with the status of the given one."""
    if "status" in given:
        new["status"] = given["status"]
    else:
        new.pop("status", None)
    return new


def status_and_marks(new: Obj, given: Obj) -> Obj:
    """Like `status_only`; labels and annotations come along, as on pods and nodes."""
    for key in ("labels", "annotations"):
        if key in given["metadata"]:
            new["metadata"][key] = given["metadata"][key]
        else:
            new["metadata"].pop(key, None)
    return status_only(new, given)


def status_and_annotations(new: Obj, given: Obj) -> Obj:
    """Like `status_only`; annotations come along, as on workloads (their controllers note the revision there)."""
    if "annotations" in given["metadata"]:
        new["metadata"]["annotations"] = given["metadata"]["annotations"]
    else:
        new["metadata"].pop("annotations", None)
    return status_only(new, given)


def keep_status(new: Obj, old: Obj) -> None:
    """A write of the main resource leaves the status as it was."""
    if "status" in old:
        new["status"] = old["status"]
    else:
        new.pop("status", None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind. `prepare_*` set defaults, `validate*` refuse, `admit*` allocate or refuse what is valid in form.

    `counts` is the part whose change raises metadata.generation.
    """

    prepare_create: Callable[[Obj, Admission], None] = _leave
    prepare_update: Callable[[Obj, Obj, Admission], None] = _leave_update
    validate: Callable[[Obj], list[Cause]] = _accept
    validate_update: Callable[[Obj, Obj], list[Cause]] = _accept_update
    admit: Callable[[Obj, Admission], None] = _leave
    admit_update: Callable[[Obj, Obj, Admission], None] = _leave_update
    with_status: Callable[[Obj, Obj], Obj] = status_only
    counts: Callable[[Obj], Any] = _spec
    check_delete: Callable[[Obj], None] = _allow
