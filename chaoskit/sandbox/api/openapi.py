"""Just enough OpenAPI v3 for kubectl to apply and create: which operations take `fieldValidation`. No schemas.

Source: kubectl asks each group's document whether PATCH knows that parameter and, if so, leaves validation to the server.
"""

from __future__ import annotations

from typing import Any

from chaoskit.sandbox.kinds import Kind, groups

Json = dict[str, Any]


def document(path: str) -> Json | None:
    """The index for an empty path, else the document of `api/v1` or `apis/GROUP/VERSION`; None for others."""
    known = {_path(group, version): kinds for (group, version), kinds in groups().items()}
    if not path:
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash=1"} for name in known}}
    kinds = known.get(path)
    if kinds is None:
        return None
    info = {"title": "Kubernetes", "version": "unversioned"}
    paths = {f"/{path}{_item(kind)}": _operations(kind) for kind in kinds}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _item(kind: Kind) -> str:
    return f"/namespaces/{{namespace}}/{kind.plural}/{{name}}" if kind.namespaced else f"/{kind.plural}/{{name}}"


def _operations(kind: Kind) -> Json:
    named = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    answer = {"200": {"description": "OK"}}
    return {
        verb: {
            "x-kubernetes-action": verb,
            "x-kubernetes-group-version-kind": named,
            "parameters": [parameter],
            "responses": answer,
        }
        for verb in ("patch", "put", "post")
    }
