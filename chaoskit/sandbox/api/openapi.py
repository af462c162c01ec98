"""OpenAPI v3 as far as kubectl needs it: that PATCH takes `fieldValidation`, and schemas for `kubectl explain`.

The schemas are made from the table of fields and the words of explained.py. PATCH names no request body on purpose, but for one
group: kubectl then computes its patches from the types it carries itself, since the schemas here know no merge keys.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from chaoskit.sandbox import fields
from chaoskit.sandbox.api.explained import FIELDS, KINDS
from chaoskit.sandbox.fields import KINDS_FIELDS, UNHONOURED
from chaoskit.sandbox.kinds import EVENTS_VIEW, Kind, groups

Json = dict[str, Any]

_SIMPLE: Final[dict[Any, Json]] = {
    fields.STRING: {"type": "string"},
    fields.INT: {"type": "integer", "format": "int32"},
    fields.BOOL: {"type": "boolean"},
    fields.QUANTITY: {"type": "string"},
    fields.STRINGS: {"type": "object", "additionalProperties": {"type": "string"}},
    fields.QUANTITIES: {"type": "object", "additionalProperties": {"type": "string"}},
    fields.ANY: {"type": "object"},
}
_NOT_ACTED_ON: Final = "Accepted and kept; the sandbox does not act on it."
_NAMED: Final[dict[int, str]] = {id(form): name for name, form in fields.NAMED_FORMS.items()}
_WORKLOADS: Final = ("DeploymentSpec", "ReplicaSetSpec", "StatefulSetSpec", "DaemonSetSpec")


@cache
def document(path: str) -> Json | None:
    """The index for an empty path, else the document of `api/v1` or `apis/GROUP/VERSION`; None for others."""
    known = {_path(group, version): kinds for (group, version), kinds in groups().items()}
    if not path:
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash=2"} for name in known}}
    kinds = known.get(path)
    if kinds is None:
        return None
    info = {"title": "Kubernetes", "version": "unversioned"}
    paths = {f"/{path}{_item(kind)}": _operations(kind) for kind in kinds}
    schemas: Json = {}
    for kind in kinds:
        _add_kind(schemas, kind)
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _item(kind: Kind) -> str:
    return f"/namespaces/{{namespace}}/{kind.plural}/{{name}}" if kind.namespaced else f"/{kind.plural}/{{name}}"


def _operations(kind: Kind) -> Json:
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    answer = {"200": {"description": "OK"}}
    found: Json = {
        verb: {
            "x-kubernetes-action": verb,
            "x-kubernetes-group-version-kind": _identity(kind),
            "parameters": [parameter],
            "responses": answer,
        }
        for verb in ("patch", "put", "post")
    }
    if kind.group == "policy":  # its types in kubectl lead to a patch where nothing changed; its lists need no keys
        found["patch"]["requestBody"] = {"content": {"application/strategic-merge-patch+json": {}}}
    return found


def _identity(kind: Kind) -> Json:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _add_kind(schemas: Json, kind: Kind) -> None:
    form = KINDS_FIELDS[kind.plural]
    if kind is EVENTS_VIEW:
        form = {key: form[key] for key in ("apiVersion", "kind", "metadata", "reason", "action", "type")}
    name = f"{kind.group.partition('.')[0] or 'core'}.{kind.version}.{kind.kind}"
    properties = {
        key: _member(
            schemas, kind.kind, key, f"{kind.kind}{key.capitalize()}" if key in ("spec", "status") else "", inner
        )
        for key, inner in form.items()
    }
    if not _status_fields(f"{kind.kind}Status"):
        properties.pop("status", None)
    schemas[name] = {
        "description": _words(KINDS).get(kind.kind, ""),
        "type": "object",
        "properties": properties,
        "x-kubernetes-group-version-kind": [_identity(kind)],
    }


def _member(schemas: Json, owner: str, key: str, name: str, form: Any) -> Json:
    """The schema of one member; a form with a name, its own or one given, is put aside and referred to."""
    said = _words(FIELDS)
    common = said.get(f"WorkloadSpec.{key}", "") if owner in _WORKLOADS else ""
    description = said.get(f"{owner}.{key}") or common or said.get(f"*.{key}", "")
    if form is UNHONOURED:
        return {"type": "object", "description": _NOT_ACTED_ON}
    if form is fields.ANY and key.endswith(("Timestamp", "Time")):
        return {"type": "string", "format": "date-time", "description": description}
    if isinstance(form, list):
        return {
            "type": "array",
            "items": _schema(schemas, form[0], _NAMED.get(id(form[0]), "")),
            "description": description,
        }
    found = _schema(schemas, form, _NAMED.get(id(form), name))
    if "$ref" in found:
        return {"allOf": [found], "description": description}
    return found | {"description": description}


def _schema(schemas: Json, form: Any, name: str) -> Json:
    if form is fields.PORT:
        schemas["IntOrString"] = {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
        return {"$ref": "#/components/schemas/IntOrString"}
    status = dict(_status_fields(name)) if name.endswith("Status") else {}
    if not isinstance(form, dict) and not status:
        return (
            {"type": "array", "items": _schema(schemas, form[0], "")}
            if isinstance(form, list)
            else _SIMPLE.get(form, {"type": "object"})
        )
    if not name:
        return {
            "type": "object",
            "properties": {key: _member(schemas, "", key, "", inner) for key, inner in form.items()},
        }
    if name not in schemas:
        schemas[name] = {}
        members = status or {key: _member(schemas, name, key, "", inner) for key, inner in form.items()}
        schemas[name] = {"type": "object", "description": "", "properties": members}
    return {"$ref": f"#/components/schemas/{name}"}


@cache
def _words(text: str) -> dict[str, str]:
    """The texts by name."""
    lines = (line.partition(" ") for line in text.strip().splitlines())
    return {name: _typed(name, rest)[1] for name, _, rest in lines}


def _typed(name: str, rest: str) -> tuple[str, str]:
    """The type and the text of a line."""
    if not name.partition(".")[0].endswith("Status"):
        return "", rest
    kind, _, text = rest.partition(" ")
    return kind, text


def _status_fields(schema: str) -> list[tuple[str, Json]]:
    return _statuses().get(schema, [])


@cache
def _statuses() -> dict[str, list[tuple[str, Json]]]:
    found: dict[str, list[tuple[str, Json]]] = {}
    for line in FIELDS.strip().splitlines():
        name, _, rest = line.partition(" ")
        schema, _, key = name.partition(".")
        kind, text = _typed(name, rest)
        if kind:
            shape: Json = {"type": "array", "items": {"type": "object"}} if kind.endswith("[]") else {"type": kind}
            found.setdefault(schema, []).append((key, shape | {"description": text}))
    return found
