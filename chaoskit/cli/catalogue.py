"""What the code says of faults and SLOs: their docstrings, and the fields they take, read off the schema. Describes; makes none."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from chaoskit.experiments import fault_class, fault_names
from chaoskit.slos import kinds, load_slo


@dataclass(frozen=True, slots=True)
class Entry:
    """A fault or an SLO by its YAML key. `noun` is fault or SLO."""

    name: str
    noun: str
    cls: type

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return self.text.partition("\n")[0]

    @property
    def text(self) -> str:
        return inspect.getdoc(self.cls) or "not described"

    @property
    def fields(self) -> list[FieldLine]:
        schema = TypeAdapter(self.cls).json_schema(by_alias=True)
        return list(_fields(schema, schema.get("$defs", {}), 0))


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One field: `depth` says how deep it is nested, `default` "" that it is required."""

    depth: int
    name: str
    type: str
    default: str
    description: str


def fault_entries() -> list[Entry]:
    return [Entry(name, "fault", fault_class(name)) for name in fault_names()]


def slo_entries() -> list[Entry]:
    return [Entry(name, "SLO", load_slo(name)) for name in kinds()]


def entry(name: str) -> Entry:
    """The fault or SLO of that name. Raises ValueError with the nearest one."""
    if name in kinds():
        return Entry(name, "SLO", load_slo(name))
    return Entry(name, "fault", fault_class(name))


def _fields(schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> Iterator[FieldLine]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield FieldLine(depth, name, _type(field, defs), _default(name, field, required), field.get("description", ""))
        for nested in _nested(field, defs):
            yield from _fields(nested, defs, depth + 1)


def _default(name: str, field: Mapping[str, Any], required: tuple[str, ...]) -> str:
    if name in required:
        return "required"
    default = field.get("default")
    return "optional" if default in (None, {}, []) else f"default {default}"


def _nested(field: Mapping[str, Any], defs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    references = [each["$ref"] for each in _alternatives(field) if "$ref" in each]
    return [defs[reference.rpartition("/")[2]] for reference in references]


def _alternatives(field: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]


def _type(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    return " or ".join(dict.fromkeys(_one_type(each, defs) for each in _alternatives(field)))


_WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}


def _one_type(of: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "enum" in of:
        return " | ".join(map(str, of["enum"]))
    if of.get("type") == "array":
        return f"list of {_type(of.get('items', {}), defs)}"
    if "$ref" in of or of.get("type") == "object":
        return "mapping"
    word = _WORDS.get(str(of.get("type")), "text")
    limits = [f"{sign} {of[key]}" for key, sign in (("minimum", ">="), ("maximum", "<=")) if key in of]
    return f"{word} {' and '.join(limits)}" if limits else word
