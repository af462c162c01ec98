"""events.k8s.io/v1: the core group's events under newer names. Converts; the registry stores them once.

Source: k8s.io/kubernetes pkg/apis/events/v1/conversion.go, restated.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chaoskit.sandbox.api import answer
from chaoskit.sandbox.api.body import read_object
from chaoskit.sandbox.api.query import dry_run
from chaoskit.sandbox.api.route import Route
from chaoskit.sandbox.errors import not_implemented
from chaoskit.sandbox.kinds import EVENTS_VIEW
from chaoskit.sandbox.notices import count_unsupported
from chaoskit.sandbox.registry import Registry
from chaoskit.sandbox.store import Obj, Version

_NAMES: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_BACK: Final = {new: old for old, new in _NAMES.items()}


def shown(version: Version) -> Version:
    """A stored event in the newer shape."""
    found: Obj = {"kind": EVENTS_VIEW.kind, "apiVersion": EVENTS_VIEW.api_version}
    for key, value in version.obj.items():
        if key not in found:
            found[_NAMES.get(key, key)] = value
    found.setdefault("eventTime", None)
    return Version(found, version.revision, version.managed)


def core_fields(selector: str) -> str:
    """A field selector in the names of the core group."""
    return selector.replace("regarding.", "involvedObject.").replace("reportingController", "reportingComponent")


async def create(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    given = await read_object(request, EVENTS_VIEW)
    event: Obj = {_BACK.get(key, key): value for key, value in given.items() if key not in ("kind", "apiVersion")}
    event.setdefault("involvedObject", {"namespace": route.namespace})
    manager = request.query.get("fieldManager") or request.headers.get("User-Agent", "unknown").partition("/")[0]
    dry = dry_run(request.query, "CreateOptions")
    return answer.of_version(
        shown(registry.writing.created("events", route.namespace, event, actor=manager, dry_run=dry)), 201
    )


async def refuse(request: web.BaseRequest, registry: Registry, route: Route) -> web.StreamResponse:
    """Raises ApiError 501: changes of an event go through the core group."""
    what = f"{request.method} of events.events.k8s.io"
    count_unsupported(what)
    raise not_implemented(what)
