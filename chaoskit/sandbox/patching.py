"""The three patches of the API, applied to a private copy: RFC 6902 as Kubernetes bends it, RFC 7386, strategic merge.

Source: apiserver pkg/endpoints/handlers/patch.go; odd cases recorded on Kubernetes 1.36.2. Validates no result.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import jsonpatch
import jsonpointer
import orjson

from chaoskit.sandbox.errors import bad_request, patch_rejected
from chaoskit.sandbox.store import Obj, Version, thaw
from chaoskit.sandbox.strategic import merge_strategically

Style = Literal["json", "merge", "strategic"]

MEDIA_TYPES: Final[dict[str, Style]] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}


def apply(obj: Obj, body: Any, style: Style) -> Obj:
    """The patched copy. Raises ApiError 400 for a body of the wrong shape, 422 for one that cannot be applied."""
    if style == "json":
        return _apply_json(obj, body)
    if not isinstance(body, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}")
    if style == "merge":
        merged: Obj = _merge(thaw(obj), body)
        return merged
    return merge_strategically(thaw(obj), body)


def apply_to(version: Version, body: Any, style: Style) -> Obj:
    """The patched copy of a stored object, with its managedFields where the patch speaks of them."""
    about_owners = "managedFields" in str(body)
    return apply(orjson.loads(version.encoded) if about_owners else version.obj, body, style)


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _apply_json(obj: Obj, body: Any) -> Obj:
    if not isinstance(body, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    patched = thaw(obj)
    for operation in body:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise patch_rejected()
        patched = _apply_operation(patched, operation)
    return patched


def _apply_operation(obj: Obj, operation: Obj) -> Obj:
    """One operation. A `test` for null passes on a missing key and `replace` adds one, as in Kubernetes."""
    parent, missing = _look(obj, operation["path"])
    if missing and isinstance(parent, dict):
        if operation.get("op") == "test" and operation.get("value") is None:
            return obj
        if operation.get("op") == "replace":
            operation = operation | {"op": "add"}
    try:
        patched: Obj = jsonpatch.JsonPatch([operation]).apply(obj, in_place=True)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError, IndexError) as refusal:
        raise patch_rejected() from refusal
    if not isinstance(patched, dict):
        raise patch_rejected()
    return patched


def _look(obj: Obj, path: str) -> tuple[Any, bool]:
    """The container that a path points into, and whether the last key is missing there."""
    try:
        pointer = jsonpointer.JsonPointer(path)
        parent, last = pointer.to_last(obj)
    except jsonpointer.JsonPointerException as refusal:
        raise patch_rejected() from refusal
    return parent, isinstance(parent, dict) and last not in parent
