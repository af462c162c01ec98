"""What a DELETE does to one object: grace, finalizers, propagation. Decides over values; commits nothing.

Source: apiserver pkg/registry/rest/delete.go and pkg/registry/core/pod/strategy.go, restated; the order MODIFIED then
DELETED for a pod deleted with grace 0 is recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from chaoskit.sandbox import clock
from chaoskit.sandbox.errors import ApiError, precondition_failed
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.store import Obj, thaw

Propagation = Literal["Background", "Foreground", "Orphan"]
_PROPAGATION_FINALIZER = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


@dataclass(frozen=True, slots=True)
class Deletion:
    """`marked`: the object as it is to be stored first, when it changes. `gone`: whether it then disappears."""

    marked: Obj | None
    gone: bool


def check_preconditions(kind: Kind, obj: Obj, uid: str | None, resource_version: str | None) -> None:
    """Raises ApiError 409 when the object is not the one that was meant."""
    metadata = obj["metadata"]
    if uid is not None and uid != metadata["uid"]:
        raise _mismatch(kind, metadata, "UID", uid, metadata["uid"], "deleted and then recreated")
    if resource_version is not None and resource_version != metadata["resourceVersion"]:
        found = metadata["resourceVersion"]
        raise _mismatch(kind, metadata, "ResourceVersion", resource_version, found, "modified")


def _mismatch(kind: Kind, metadata: dict[str, Any], what: str, given: str, found: str, perhaps: str) -> ApiError:
    because = (
        f"the {what} in the precondition ({given}) does not match the {what} in record ({found}). "
        f"The object might have been {perhaps}"
    )
    return precondition_failed(kind, metadata["name"], because)


def decide(kind: Kind, obj: Obj, grace_s: int | None, propagation: str) -> Deletion:
    if kind.plural == "pods":
        return _decide_pod(obj, grace_s)
    return _decide_plain(kind, obj, propagation)


def _decide_pod(obj: Obj, grace_s: int | None) -> Deletion:
    metadata = obj["metadata"]
    asked = pod_grace(obj, grace_s)
    held = bool(metadata.get("finalizers"))
    if "deletionTimestamp" not in metadata:
        marked = _mark(obj, asked)
        return Deletion(marked, gone=asked == 0 and not held)
    current = metadata.get("deletionGracePeriodSeconds", 0)
    if grace_s is None or asked >= current:
        return Deletion(None, gone=current == 0 and not held)
    marked = thaw(obj)
    began = clock.parse(metadata["deletionTimestamp"])
    marked["metadata"]["deletionTimestamp"] = clock.stamp_after(asked - current, began)
    marked["metadata"]["deletionGracePeriodSeconds"] = asked
    return Deletion(marked, gone=asked == 0 and not held)


def pod_grace(obj: Obj, grace_s: int | None) -> int:
    """Seconds a pod is given: what was asked, else what its spec says; none when nothing of it can be running."""
    if not obj["spec"].get("nodeName") or obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    given = obj["spec"].get("terminationGracePeriodSeconds", 30) if grace_s is None else grace_s
    return 1 if given < 0 else int(given)


def _decide_plain(kind: Kind, obj: Obj, propagation: str) -> Deletion:
    metadata = obj["metadata"]
    finalizers = list(metadata.get("finalizers", ()))
    wanted = _PROPAGATION_FINALIZER.get(propagation)
    finalizers = [name for name in finalizers if name not in _PROPAGATION_FINALIZER.values() or name == wanted]
    if wanted is not None and wanted not in finalizers:
        finalizers.append(wanted)
    pending = bool(finalizers) or (kind.plural == "namespaces" and bool(obj["spec"].get("finalizers")))
    if not pending:
        return Deletion(None, gone=True)
    marked = thaw(obj) if "deletionTimestamp" in metadata else _mark(obj, 0 if kind.plural != "namespaces" else None)
    if finalizers:
        marked["metadata"]["finalizers"] = finalizers
    if kind.plural == "namespaces":
        marked["status"] = marked.get("status", {}) | {"phase": "Terminating"}
    return Deletion(None if marked == obj else marked, gone=False)


def _mark(obj: Obj, grace_s: int | None) -> Obj:
    marked = thaw(obj)
    metadata = marked["metadata"]
    metadata["deletionTimestamp"] = clock.stamp_after(grace_s or 0)
    if grace_s is not None:
        metadata["deletionGracePeriodSeconds"] = grace_s
    if "generation" in metadata:
        metadata["generation"] += 1
    return marked


def finished(kind: Kind, obj: Obj) -> bool:
    """Whether a terminating object, just updated, has nothing left to wait for."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if kind.plural == "namespaces":
        return not obj["spec"].get("finalizers")
    return kind.plural != "pods" or metadata.get("deletionGracePeriodSeconds", 0) == 0
