"""Server-side apply: a configuration merged into a live object, fields taken and given up, conflicts. Pure over values.

Source: kubernetes.io, Server-Side Apply; structured-merge-diff merge/update.go, restated; texts recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from chaoskit.sandbox import fieldsets
from chaoskit.sandbox.errors import ApiError, failure
from chaoskit.sandbox.fieldsets import HERE, Tree, element_of, keys_of
from chaoskit.sandbox.managed import Entry, Managed, Writer, arranged, entry_of, fieldset, unclaimed, without

_UNKNOWN = "field not declared in schema"


@dataclass(frozen=True, slots=True)
class Applied:
    """The object as it would be, before defaults, and who owns its fields then."""

    obj: Tree
    managed: Managed


def apply(live: Tree, managed: Managed, config: Tree, writer: Writer, *, force: bool) -> Applied:
    """Merge `config` into a private copy of the live object. Raises ApiError 409 where others own what it changes."""
    wanted = fieldsets.whole(config, dots=False)
    mine = next((entry for entry in managed if entry.key == writer.key), None)
    others = [entry for entry in managed or unclaimed(live, writer.api_version) if entry.key != writer.key]
    merged = _merge("", live, config)
    touched, _ = fieldsets.changes(live, merged)
    conflicts = [(entry, shared) for entry in others if (shared := fieldsets.meet(entry.fields.tree, touched))]
    if conflicts and not force:
        raise _conflict(conflicts)
    if mine is not None:
        theirs: Tree = {}
        for entry in others:
            theirs = fieldsets.union(theirs, entry.fields.tree)
        _prune(merged, mine.fields.tree, wanted, theirs)
    _, gone = fieldsets.changes(live, merged)
    lost = fieldsets.union(touched, gone)
    left = [kept for entry in others if (kept := without(entry, lost)) is not None]
    return Applied(merged, arranged([*left, *_owner(mine, wanted, writer)]))


def part(config: Tree, subresource: str) -> Tree:
    """What of a configuration can be applied through a subresource: the status through `status`, all else directly."""
    kept = ("kind", "apiVersion", "metadata", "status")
    return {key: value for key, value in config.items() if (key in kept if subresource else key != "status")}


def first(config: Tree, writer: Writer) -> Managed:
    """The owner of an object that an apply creates."""
    return tuple(_owner(None, fieldsets.whole(config, dots=False), writer))


def _owner(mine: Entry | None, wanted: Tree, writer: Writer) -> list[Entry]:
    fields = fieldset(wanted)
    if mine is not None and mine.fields is fields:
        return [mine]
    return [entry_of(writer, fields)] if wanted else []


def _merge(name: str, live: Any, config: Any) -> Any:
    if isinstance(config, dict) and isinstance(live, dict) and not fieldsets.is_atomic(name):
        merged = dict(live)
        for key, value in config.items():
            merged[key] = _merge(key, live[key], value) if key in live else value
        return merged
    if isinstance(config, list) and isinstance(live, list):
        return _merge_list(name, live, config)
    return config


def _merge_list(name: str, live: list[Any], config: list[Any]) -> list[Any]:
    if fieldsets.is_set(name):
        return live + [item for item in config if item not in live]
    keys = keys_of(name, config or live)
    if keys is None:
        return config
    there = {element_of(keys, item): item for item in live}
    asked = {element_of(keys, item): item for item in config}
    merged = {key: _merge("", item, asked[key]) if key in asked else item for key, item in there.items()}
    merged |= {key: item for key, item in asked.items() if key not in there}
    if asked.keys() >= there.keys():
        return [merged[key] for key in asked]
    return list(merged.values())


def _prune(value: Any, before: Tree, wanted: Tree, theirs: Tree) -> None:
    """Take out of a merged object what this manager applied before, does not apply now, and nobody else owns."""
    for element, below in before.items():
        if element == HERE:
            continue
        if element not in wanted and element not in theirs and element != "f:metadata":
            _drop(value, element)
        elif (inner := _at(value, element)) is not None:
            _prune(inner, below, wanted.get(element) or {}, theirs.get(element) or {})


def _drop(value: Any, element: str) -> None:
    kind, _, rest = element.partition(":")
    if kind == "f" and isinstance(value, dict):
        value.pop(rest, None)
    elif isinstance(value, list) and kind == "v":
        value[:] = [item for item in value if item != orjson.loads(rest)]
    elif isinstance(value, list):
        value[:] = [item for item in value if not _is(item, element)]


def _at(value: Any, element: str) -> Any:
    kind, _, rest = element.partition(":")
    if kind == "f":
        return value.get(rest) if isinstance(value, dict) else None
    if kind == "k" and isinstance(value, list):
        return next((item for item in value if _is(item, element)), None)
    return None


def _is(item: Any, element: str) -> bool:
    keys = tuple(orjson.loads(element.partition(":")[2]))
    return isinstance(item, dict) and element_of(keys, item) == element


def _conflict(conflicts: list[tuple[Entry, Tree]]) -> ApiError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {_named(entry)}", "field": path}
        for entry, shared in conflicts
        for path in fieldsets.paths(shared)
    ]
    count = len(causes)
    head = f"Apply failed with {count} conflict{'' if count == 1 else 's'}: "
    said = [_told(entry, list(fieldsets.paths(shared))) for entry, shared in conflicts]
    return ApiError(failure(409, "Conflict", head + "\n".join(said), {"causes": causes}))


def _told(entry: Entry, fields: list[str]) -> str:
    if len(fields) == 1:
        return f"conflict with {_named(entry)}: {fields[0]}"
    return f"conflicts with {_named(entry)}:\n" + "\n".join(f"- {path}" for path in fields)


def _named(entry: Entry) -> str:
    through = f' with subresource "{entry.subresource}"' if entry.subresource else ""
    return f'"{entry.manager}"{through} using {entry.api_version}'


def undeclared(config: Tree, unknown: list[str], gvk: str) -> ApiError:
    """500 for a configuration with fields that the kind does not have (recorded)."""
    metadata = config.get("metadata") or {}
    told = [f".{path}: {_UNKNOWN}" for path in unknown]
    why = told[0] if len(told) == 1 else "errors:\n" + "\n".join(f"  {line}" for line in told)
    where = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    return ApiError(failure(500, "", f"failed to create typed patch object ({where}; {gvk}): {why}"))
