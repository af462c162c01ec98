"""JSON Patch as Kubernetes applies it. For the fakes; no part of chaoskit itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
import jsonpointer


class Inapplicable(Exception):
    """A test failed, or a path is not there."""


def applied(obj: Mapping[str, Any], patch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The changed copy: RFC 6902, except that `test` null passes on a missing key of an existing map (recorded on 1.36.2)."""
    changed: dict[str, Any] = copy.deepcopy(dict(obj))
    try:
        for op in patch:
            if not _tests_nothing(changed, op):
                changed = jsonpatch.JsonPatch([op]).apply(changed)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise Inapplicable(str(error)) from error
    return changed


def _tests_nothing(obj: Mapping[str, Any], op: Mapping[str, Any]) -> bool:
    if op["op"] != "test" or op["value"] is not None:
        return False
    parent, _, key = op["path"].rpartition("/")
    return key.replace("~1", "/").replace("~0", "~") not in jsonpointer.resolve_pointer(obj, parent)
