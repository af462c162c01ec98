"""Server-side tables: what plain `kubectl get` prints. Renders objects; fetches none.

Source: k8s.io/kubernetes pkg/printers/internalversion/printers.go, restated; columns recorded on Kubernetes 1.36.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from aiohttp import web

from chaoskit.sandbox.api.columns import COLUMNS, Column
from chaoskit.sandbox.api.watch import Line
from chaoskit.sandbox.kinds import Kind
from chaoskit.sandbox.store import Obj, Version


def wants_table(request: web.BaseRequest) -> bool:
    """Whether the client would rather have a table than objects."""
    for part in request.headers.get("Accept", "").split(","):
        options = {key.strip(): value for key, _, value in (item.partition("=") for item in part.split(";"))}
        if options.get("as") == "Table" and options.get("v") == "v1":
            return True
        if part.strip() == "application/json":
            return False
    return False


def table_of(kind: Kind, versions: Iterable[Version], metadata: Obj, request: web.BaseRequest) -> Obj:
    include = request.query.get("includeObject", "Metadata")
    columns = COLUMNS[kind.plural]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [_row(columns, version.obj, include) for version in versions],
    }


def table_line(kind: Kind, request: web.BaseRequest) -> Line:
    """Encodes watch events as tables; only the first defines the columns."""
    pending: list[list[Obj]] = [[_definition(column) for column in COLUMNS[kind.plural]]]

    def line(type_: str, version: Version) -> bytes:
        metadata = {"resourceVersion": version.obj["metadata"]["resourceVersion"]}
        table = table_of(kind, [version], metadata, request)
        table["columnDefinitions"] = pending.pop() if pending else None
        return orjson.dumps({"type": type_, "object": table}) + b"\n"

    return line


def _definition(column: Column) -> Obj:
    return {
        "name": column.name,
        "type": "string",
        "format": "name" if column.name == "Name" else "",
        "description": column.name,
        "priority": 1 if column.wide else 0,
    }


def _row(columns: tuple[Column, ...], obj: Obj, include: str) -> Obj:
    row: dict[str, Any] = {"cells": [column.cell(obj) for column in columns]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        row["object"] = head | {"metadata": obj["metadata"]}
    return row
