"""Manifest files into plain objects, in the order kubectl would take them. Reads and checks their outline; applies nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from chaoskit.model.errors import ChaosError, ExperimentError
from chaoskit.model.resource import Json, Obj, resource_of

SUFFIXES = (".yaml", ".yml", ".json")


def read_manifests(path: Path) -> list[Obj]:
    """The objects of a manifest file, or of all of a folder's by name. Raises ExperimentError with file:line:col."""
    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
    found = [obj for file in files for obj in _objects(file)]
    if not found:
        raise ExperimentError("no manifest in it", str(path))
    return found


def _objects(file: Path) -> Iterator[Obj]:
    try:
        text = file.read_text(encoding="utf-8")
        # The C loader is ten times faster where it is there, and says the same.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        nodes = list(yaml.compose_all(text, Loader=loader))
        values = list(yaml.load_all(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark is not None else f"{file}:1:1"
        raise ExperimentError(f"not YAML: {error.problem or error.context}", where) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ExperimentError(f"cannot be read: {' '.join(str(error).split())}", f"{file}:1:1") from None
    for node, value in zip(nodes, values, strict=True):
        if value is not None:
            yield from _checked(value, f"{file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}")


def _checked(value: Json, where: str) -> Iterator[Obj]:
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise ExperimentError("expected a Kubernetes object with apiVersion, kind and metadata", where)
    if value["kind"] == "List":
        for item in value.get("items") or ():
            yield from _checked(item, where)
        return
    try:
        resource_of(value["kind"])
    except ChaosError as error:
        raise ExperimentError(str(error), where) from None
    if not isinstance(value.get("metadata"), dict) or not isinstance(value["metadata"].get("name"), str):
        raise ExperimentError(f"{value['kind']} without a metadata.name", where)
    yield value
