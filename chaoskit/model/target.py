"""Whom a fault may touch. A value; empty is an error where it is resolved, and nothing here widens it."""

from __future__ import annotations

import re
from typing import Annotated, Self, TypeAlias

from pydantic import BeforeValidator, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(
    extra="forbid",
    alias_generator=to_camel,
    populate_by_name=True,
    arbitrary_types_allowed=True,
    use_attribute_docstrings=True,
)
"""How every author noun is checked, from YAML and from Python alike."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
_LABEL_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_PICK_PERCENT = re.compile(r"([1-9]\d?)%\Z")


def checked_name(text: object) -> str:
    """An RFC 1123 name, before it is used in a path or a URL. Raises ValueError else."""
    if not isinstance(text, str) or not _NAME.match(text):
        raise ValueError(f"{text!r} is not a Kubernetes name (lower-case letters, digits, '-' and '.')")
    return text


Name: TypeAlias = Annotated[str, BeforeValidator(checked_name)]
"""A Kubernetes object name."""


def _checked_selector(labels: object) -> object:
    if not isinstance(labels, dict) or not labels:
        raise ValueError("an empty selector would mean every pod; name at least one label")
    for key, value in labels.items():
        prefix, _, name = str(key).rpartition("/")
        if not _LABEL_PART.match(name) or (prefix and not _NAME.match(prefix)):
            raise ValueError(f"{key!r} is not a label key")
        if not isinstance(value, str) or (value and not _LABEL_PART.match(value)):
            raise ValueError(f"{value!r} is not a label value")
    return labels


Selector: TypeAlias = Annotated[dict[str, str], BeforeValidator(_checked_selector)]
"""Labels that must all match; never empty."""


def _checked_pick(pick: object) -> object:
    if isinstance(pick, int) and not isinstance(pick, bool) and pick >= 1:
        return pick
    if isinstance(pick, str) and (pick in ("all", "oldest") or _PICK_PERCENT.match(pick)):
        return pick
    raise ValueError(f"{pick!r} picks nothing; write a count of 1 or more, a percentage from 1% to 99%, all, or oldest")


Pick: TypeAlias = Annotated[int | str, BeforeValidator(_checked_pick)]
"""How many of those that fit: a count, "50%" (rounds down, none is an error), "all" or "oldest"."""

_WHO = ("deployment", "replica_set", "pod", "selector", "node", "node_of")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Target:
    """Whom. Exactly one of deployment, replicaSet, pod, selector, node, nodeOf; a namespace with all but node."""

    namespace: Name | None = None
    """The namespace; always spelt out, except for a node."""
    deployment: Name | None = None
    """The pods that this Deployment controls."""
    replica_set: Name | None = None
    """The pods that this ReplicaSet controls."""
    pod: Name | None = None
    """One pod by name."""
    selector: Selector | None = None
    """The pods that bear all these labels."""
    node: Name | None = None
    """One node by name."""
    node_of: Name | None = None
    """A node that runs pods of this Deployment."""
    pick: Pick = 1
    """How many of those that fit."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        named = [name for name in _WHO if getattr(self, name) is not None]
        wanted = ", ".join(to_camel(name) for name in _WHO)
        if len(named) != 1:
            raise ValueError(
                f"a target names exactly one of {wanted}; this one names {', '.join(map(to_camel, named)) or 'none'}"
            )
        if self.namespace is None and named != ["node"]:
            raise ValueError("a target of this kind needs a namespace")
        return self

    @property
    def kind(self) -> str:
        """Which of the six: "deployment", "node_of", ..."""
        return next(name for name in _WHO if getattr(self, name) is not None)

    def __str__(self) -> str:
        value = getattr(self, self.kind)
        shown = ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{to_camel(self.kind)} {place}{shown}"
