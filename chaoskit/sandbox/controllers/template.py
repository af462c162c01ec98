"""Pod templates: are two of them the same release, and what hash names it. Pure.

Rule: pkg/controller/deployment/util, EqualIgnoreHash: equal apart from the label pod-template-hash. Both sides went through
the same defaulting when they were stored; what a client may still add (nulls, empty maps, a null creationTimestamp) is
dropped here, or each undo by kubectl would look like a new release.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

Obj = dict[str, Any]
HASH_LABEL = "pod-template-hash"
# Upstream's safe alphabet: no vowels and no lookalikes, so no words come out.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
# An empty value of these says something; elsewhere empty and absent are the same.
_MEANINGFUL = frozenset({"emptyDir", "labelSelector", "namespaceSelector"})


def normalised(template: Obj) -> Obj:
    """The template without the hash label and without what says nothing."""
    slim = _slim(template) or {}
    metadata = slim.get("metadata", {})
    metadata.pop("creationTimestamp", None)
    labels = metadata.get("labels", {})
    labels.pop(HASH_LABEL, None)
    if not labels:
        metadata.pop("labels", None)
    if not metadata:
        slim.pop("metadata", None)
    return slim


def is_same_template(left: Obj, right: Obj) -> bool:
    return normalised(left) == normalised(right)


def template_hash(template: Obj, collisions: int = 0) -> str:
    """Ten letters for this template. `collisions` is the Deployment's collisionCount: another name for the same template."""
    text = orjson.dumps([normalised(template), collisions], option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.blake2b(text, digest_size=5).digest(), "big")
    return "".join(ALPHABET[ord(digit) % len(ALPHABET)] for digit in f"{number % 10**10:010d}")


def _slim(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        slim = {name: kept for name, item in value.items() if (kept := _slim(item, name)) is not None}
        return slim if slim or key in _MEANINGFUL else None
    if isinstance(value, list):
        return [_slim(item) for item in value] or None
    return value
