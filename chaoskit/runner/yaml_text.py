"""YAML text into plain values with the line and column of every node. Data only: no tags, no anchors, no surprises; never opens a file.

Stricter than YAML on purpose: at most 1 MiB and 32 levels, no anchors or aliases (a bomb needs them), no duplicate keys (the last would
silently win), finite numbers, and the scalars of the YAML 1.2 core schema ("no" is a string, 010 is ten).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from yaml.reader import ReaderError

from chaoskit.model.errors import ExperimentError

SIZE_LIMIT_BYTES = 1 << 20
DEPTH_LIMIT = 32

Path: TypeAlias = tuple[str | int, ...]

_NULL = re.compile(r"(~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]{1,18}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")


@dataclass(slots=True)
class Document:
    """A parsed document: its value, and where each path stands (1-based line and column). Keys have their own places."""

    name: str
    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    key_places: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def where(self, path: Path, *, key: bool = False) -> str:
        """file:line:col of a path, or of the nearest enclosing one that is in the text."""
        table = self.key_places if key else self.places
        for end in range(len(path), -1, -1):
            place = table.get(path[:end]) or self.places.get(path[:end])
            if place is not None:
                return f"{self.name}:{place[0]}:{place[1]}"
        return f"{self.name}:1:1"


def parse_yaml(text: str, name: str) -> list[Document]:
    """The documents of a text. Raises ExperimentError with file:line:col for whatever is not plain, finite, shallow data."""
    if len(text.encode("utf-8", "replace")) > SIZE_LIMIT_BYTES:
        raise ExperimentError(f"the file is larger than {SIZE_LIMIT_BYTES >> 20} MiB", f"{name}:1:1")
    try:
        return list(_documents(yaml.parse(text, Loader=yaml.SafeLoader), name))
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, name) from None
    except ReaderError as error:
        raise ExperimentError(
            f"not YAML: the character {error.character:#06x} is not allowed", _at(text, error.position, name)
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ExperimentError(f"not YAML: {str(error).splitlines()[0]}", f"{name}:1:1") from None


def _at(text: str, position: int, name: str) -> str:
    before = text[:position]
    return f"{name}:{before.count(chr(10)) + 1}:{position - before.rfind(chr(10))}"


def _not_yaml(error: yaml.MarkedYAMLError, name: str) -> ExperimentError:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark is not None else f"{name}:1:1"
    return ExperimentError(f"not YAML: {error.problem or error.context}", where)


def _documents(events: Iterator[yaml.Event], name: str) -> Iterator[Document]:
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            document = Document(name)
            document.value = _Builder(document, events).node(next(events), ())
            yield document


@dataclass(slots=True)
class _Builder:
    """Reads one document off the event stream."""

    document: Document
    events: Iterator[yaml.Event]

    def node(self, event: yaml.Event, path: Path) -> Any:
        place = _place(event)
        self.document.places[path] = place
        self._refuse_extras(event, place)
        if len(path) > DEPTH_LIMIT:
            raise self._error(f"nested deeper than {DEPTH_LIMIT} levels", place)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        assert isinstance(event, yaml.ScalarEvent)
        return self._scalar(event, place)

    def _refuse_extras(self, event: yaml.Event, place: tuple[int, int]) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._error("anchors and aliases are not allowed; write the value out", place)
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            raise self._error(f"the tag {tag} is not allowed; files are plain data", place)

    def _mapping(self, path: Path) -> dict[str, Any]:
        built: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            place = _place(event)
            self._refuse_extras(event, place)
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error("a key must be a plain word", place)
            key = str(event.value)
            if key in built:
                first = self.document.key_places[(*path, key)]
                raise self._error(f"duplicate key {key!r}, first given in line {first[0]}", place)
            self.document.key_places[(*path, key)] = place
            built[key] = self.node(next(self.events), (*path, key))
        return built

    def _sequence(self, path: Path) -> list[Any]:
        built: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            built.append(self.node(event, (*path, len(built))))
        return built

    def _scalar(self, event: yaml.ScalarEvent, place: tuple[int, int]) -> Any:
        if event.style is not None:
            return event.value
        if _NOT_FINITE.match(event.value):
            raise self._error(f"{event.value} is not a finite number", place)
        return _plain(event.value)

    def _error(self, what: str, place: tuple[int, int]) -> ExperimentError:
        return ExperimentError(what, f"{self.document.name}:{place[0]}:{place[1]}")


def _place(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def _plain(text: str) -> Any:
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text[0] in "tT"
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text) and math.isfinite(number := float(text)):
        return number
    return text
