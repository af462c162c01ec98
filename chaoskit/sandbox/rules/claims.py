"""PersistentVolumeClaims: defaults, validation, and binding. Works on private copies.

A claim is bound as it is made: the node gives it a directory, so there is nothing to provision and no PersistentVolume.
Source: k8s.io/kubernetes pkg/apis/core/v1/defaults.go and validation, restated; the protecting finalizer is that of the
admission plugin StorageObjectInUseProtection.
"""

from __future__ import annotations

from typing import Final

from chaoskit.sandbox.errors import Cause, bad_value, field_forbidden, required, unsupported
from chaoskit.sandbox.quantity import is_quantity
from chaoskit.sandbox.rules.rule import Admission, Rule, keep_status
from chaoskit.sandbox.store import Obj

PROTECTION: Final = "kubernetes.io/pvc-protection"
_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_BOUND: Final = {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
_IMMUTABLE: Final = "spec is immutable after creation except resources.requests for bound claims"


def default_claim(obj: Obj) -> None:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        spec = obj["spec"] = {}
    spec.setdefault("resources", {})
    spec.setdefault("volumeMode", "Filesystem")


def _create(obj: Obj, admission: Admission) -> None:
    default_claim(obj)
    metadata, spec = obj["metadata"], obj["spec"]
    metadata["finalizers"] = [*(each for each in metadata.get("finalizers", ()) if each != PROTECTION), PROTECTION]
    metadata["annotations"] = metadata.get("annotations", {}) | _BOUND
    spec.setdefault("volumeName", f"pvc-{metadata['uid']}")
    resources = spec["resources"] if isinstance(spec["resources"], dict) else {}
    obj["status"] = {"phase": "Bound", "accessModes": spec.get("accessModes"), "capacity": resources.get("requests")}


def _update(new: Obj, old: Obj, admission: Admission) -> None:
    default_claim(new)
    keep_status(new, old)


def _validate(obj: Obj) -> list[Cause]:
    spec = obj["spec"]
    modes = spec.get("accessModes")
    if not modes:
        return [required("spec.accessModes", "at least 1 access mode is required")]
    causes = [unsupported("spec.accessModes", mode, _MODES) for mode in modes if mode not in _MODES]
    storage = (spec["resources"].get("requests") or {}).get("storage")
    if storage is None:
        return [*causes, required("spec.resources[storage]")]
    if not is_quantity(storage):
        causes.append(bad_value("spec.resources[storage]", storage, "must be a quantity, such as 1Gi"))
    return causes


def _validate_update(new: Obj, old: Obj) -> list[Cause]:
    fixed = [{key: value for key, value in each["spec"].items() if key != "resources"} for each in (new, old)]
    return [] if fixed[0] == fixed[1] else [field_forbidden("spec", _IMMUTABLE)]


CLAIM: Final = Rule(
    prepare_create=_create, prepare_update=_update, validate=_validate, validate_update=_validate_update
)
