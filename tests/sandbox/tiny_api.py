"""A store with just enough of the Kubernetes API for a node to live on: CRUD, merge patch, watch by node. For tests of the node only."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import orjson
from aiohttp import web

Obj: TypeAlias = dict[str, Any]


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class TinyApi:
    """Objects by URL path. `history` keeps each version of each object in order, with the time it was written."""

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}
        self.history: list[tuple[float, str, Obj]] = []
        self._numbers = itertools.count(1)
        self._watchers: list[tuple[str, str, asyncio.Queue[bytes]]] = []
        self._changed = asyncio.Condition()
        self.fail_next: list[int] = []
        self.unserved: set[str] = set()  # ends of paths that answer 501

    # The tests' side

    def put(self, path: str, obj: Obj, event: str = "") -> Obj:
        """Create or replace the object at a path."""
        before = self.objects.get(path)
        metadata = {
            "uid": f"uid-{next(self._numbers)}",
            "generation": 1,
            **(before or {}).get("metadata", {}),
            **obj.get("metadata", {}),
        }
        metadata["resourceVersion"] = str(next(self._numbers))
        obj = {**obj, "metadata": metadata}
        self.objects[path] = obj
        self._tell(event or ("MODIFIED" if before else "ADDED"), path, obj)
        return obj

    def drop(self, path: str) -> None:
        """Remove the object at a path."""
        self._tell("DELETED", path, self.objects.pop(path))

    def delete_pod(self, name: str, grace_s: int) -> None:
        """What the API server does at a DELETE of a pod with a grace period."""
        path = pod_path(name)
        pod = merged(
            self.objects[path],
            {"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace_s}},
        )
        self.put(path, pod)
        if grace_s == 0:
            self.drop(path)

    def events(self, reason: str = "") -> list[Obj]:
        """Events written so far."""
        return [obj for path, obj in self.objects.items() if "/events/" in path and reason in ("", obj["reason"])]

    async def until(self, holds: Callable[[], Any], within_s: float = 8.0, what: str = "") -> Any:
        """Wait until something written makes `holds` true; its value."""
        try:
            async with asyncio.timeout(within_s):
                while not (value := holds()):
                    async with self._changed:
                        await asyncio.wait_for(self._changed.wait(), within_s)
                return value
        except TimeoutError:
            raise AssertionError(
                f"not within {within_s} s: {what or holds}; events: {[e['message'] for e in self.events()]}"
            ) from None

    def pod(self, name: str) -> Obj | None:
        return self.objects.get(pod_path(name))

    # The node's side

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if self.fail_next and "/status" in path:
            return _refuse(self.fail_next.pop())
        match request.method:
            case "GET" if request.query.get("watch"):
                return await self._watch(request)
            case "GET":
                return self._get(request)
            case "POST" if any(path.endswith(end) for end in self.unserved):
                return _refuse(501)
            case "POST" if path.endswith("/token"):
                spec = orjson.loads(await request.read())["spec"]
                return web.json_response({"status": {"token": f"token-of-{spec['boundObjectRef']['name']}"}})
            case "POST":
                obj = orjson.loads(await request.read())
                full = f"{path}/{obj['metadata']['name']}"
                return _refuse(409) if full in self.objects else web.json_response(self.put(full, obj))
            case "PATCH":
                return self._patch(path, orjson.loads(await request.read()))
            case "DELETE":
                return self._delete(path, orjson.loads(await request.read()))
        return _refuse(501)

    def _get(self, request: web.Request) -> web.Response:
        path = request.path
        if path in self.objects:
            return web.json_response(self.objects[path])
        if path.rsplit("/", 1)[1] in ("pods", "services", "configmaps", "secrets"):
            items = [
                obj for at, obj in self.objects.items() if _in(path, request.query.get("fieldSelector", ""), at, obj)
            ]
            return web.json_response({"items": items, "metadata": {"resourceVersion": str(next(self._numbers))}})
        return _refuse(404)

    def _patch(self, path: str, patch: Obj) -> web.Response:
        path = path.removesuffix("/status")
        if path not in self.objects:
            return _refuse(404)
        wanted = patch.get("metadata", {}).pop("resourceVersion", None)
        if wanted not in (None, self.objects[path]["metadata"]["resourceVersion"]):
            return _refuse(409)
        return web.json_response(self.put(path, merged(self.objects[path], patch)))

    def _delete(self, path: str, options: Obj) -> web.Response:
        if path not in self.objects:
            return _refuse(404)
        if options["preconditions"]["uid"] != self.objects[path]["metadata"]["uid"]:
            return _refuse(409)
        self.drop(path)
        return web.json_response({})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watchers.append((request.path, request.query.get("fieldSelector", ""), queue))
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(await queue.get())
        return response

    def _tell(self, kind: str, path: str, obj: Obj) -> None:
        self.history.append((time.monotonic(), path, obj if kind != "DELETED" else {}))
        line = orjson.dumps({"type": kind, "object": obj}) + b"\n"
        for collection, fields, queue in self._watchers:
            if _in(collection, fields, path, obj):
                queue.put_nowait(line)
        asyncio.get_running_loop().create_task(self._wake())

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def pod_path(name: str) -> str:
    return f"/api/v1/namespaces/shop/pods/{name}"


def _in(collection: str, fields: str, path: str, obj: Obj) -> bool:
    if fields and obj.get("spec", {}).get("nodeName") != fields.partition("=")[2]:
        return False
    parent, kind = path.rsplit("/", 1)[0], collection.rsplit("/", 1)[1]
    return parent == collection or (collection == f"/api/v1/{kind}" and parent.endswith(f"/{kind}"))


def _refuse(code: int) -> web.Response:
    reason = {404: "NotFound", 409: "Conflict"}.get(code, "InternalError")
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": reason}, status=code)
