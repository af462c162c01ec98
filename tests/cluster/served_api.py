"""A small Kubernetes API over TLS for tests of the client: objects in a dictionary, requests recorded, and trouble on demand."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chaoskit.cluster.access import Access, read_access
from chaoskit.cluster.live import LiveCluster, connect
from tests.kubernetes_patch import Inapplicable, applied

TOKEN = "s3cret"
Trouble = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass
class ServedApi:
    """`trouble` gets every request first and may answer it; `watches` are scripts, one for each watch request in turn."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    trouble: Trouble | None = None
    watches: list[Callable[[web.StreamResponse], Awaitable[None]]] = field(default_factory=list)
    version: int = 100
    server: str = ""
    ca: str = ""

    def put(self, path: str, obj: dict[str, Any]) -> dict[str, Any]:
        """Store an object under its path, with uid and a new resourceVersion."""
        self.version += 1
        name = path.rsplit("/", 1)[1]
        meta = {"name": name, "uid": f"uid-{name}", **obj.get("metadata", {}), "resourceVersion": str(self.version)}
        if "/namespaces/" in path:
            meta.setdefault("namespace", path.split("/namespaces/")[1].split("/")[0])
        self.objects[path] = {**obj, "metadata": meta}
        return self.objects[path]

    def sent(self, method: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == method]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = orjson.loads(raw) if raw[:1] in (b"{", b"[") else raw.decode()
        self.asked.append(Asked(request.method, request.path, dict(request.query), body, dict(request.headers)))
        if self.trouble is not None and (answer := await self.trouble(request)) is not None:
            return answer
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return status(401, "Unauthorized", "Unauthorized")
        if request.path == "/version":
            return web.json_response({"gitVersion": "v1.36.2"})
        if request.query.get("watch"):
            return await self._watch(request)
        if "/proxy/" in request.path:
            return web.json_response({"proxied": request.method}, status=200)
        return getattr(self, f"_{request.method.lower()}")(request.path, body)  # type: ignore[no-any-return]

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        script = self.watches.pop(0) if self.watches else _silent
        await script(response)
        return response

    def _get(self, path: str, _body: Any) -> web.Response:
        if path in self.objects:
            return web.json_response(self.objects[path])
        if path.rsplit("/", 1)[1] in ("pods", "nodes", "deployments", "configmaps"):
            items = [obj for key, obj in sorted(self.objects.items()) if key.startswith(path + "/")]
            return web.json_response(
                {"kind": "List", "metadata": {"resourceVersion": str(self.version)}, "items": items}
            )
        return status(404, "NotFound", f'"{path.rsplit("/", 1)[1]}" not found')

    def _post(self, path: str, body: Any) -> web.Response:
        if path.endswith("/eviction"):
            return status(201, "", "")
        key = f"{path}/{body['metadata']['name']}"
        if key in self.objects:
            return status(409, "AlreadyExists", f"{key} already exists")
        return web.json_response(self.put(key, body), status=201)

    def _delete(self, path: str, body: Any) -> web.Response:
        live = self.objects.get(path)
        if live is None:
            return status(404, "NotFound", f"{path} not found")
        wanted = body.get("preconditions", {}).get("uid", live["metadata"]["uid"])
        if wanted != live["metadata"]["uid"]:
            return status(409, "Conflict", f"the UID in the precondition ({wanted}) does not match the UID in record")
        del self.objects[path]
        return status(200, "", "")

    def _patch(self, path: str, body: Any) -> web.Response:
        live = self.objects.get(path)
        if live is None:
            return status(404, "NotFound", f"{path} not found")
        try:
            changed = applied(live, body)
        except Inapplicable:
            return status(422, "Invalid", "the server rejected our request due to an error in our request")
        return web.json_response(self.put(path, changed))


def status(code: int, reason: str, message: str, **headers: str) -> web.Response:
    """A metav1.Status."""
    told = {"kind": "Status", "apiVersion": "v1", "reason": reason, "message": message, "code": code}
    return web.json_response(told, status=code, headers=headers)


def line(type_: str, obj: dict[str, Any]) -> bytes:
    """One event of a watch."""
    return orjson.dumps({"type": type_, "object": obj}) + b"\n"


async def _silent(_response: web.StreamResponse) -> None:
    await asyncio.Event().wait()


async def reset(request: web.Request) -> web.StreamResponse:
    """The connection dies unanswered."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()
    raise AssertionError


@cache
def certificate() -> tuple[bytes, bytes]:
    """(certificate, key) for 127.0.0.1, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(__import__("ipaddress").ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return cert.public_bytes(pem), secret


def kubeconfig(server: str, folder: Path, **user: Any) -> Path:
    """A kubeconfig file with one context, "test"."""
    (folder / "ca.crt").write_bytes(certificate()[0])
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": user or {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@asynccontextmanager
async def served() -> AsyncIterator[tuple[ServedApi, Access]]:
    """The API on a free port of this machine, and the access to it."""
    api = ServedApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "both.pem").write_bytes(b"".join(certificate()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "both.pem")
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        api.server = f"https://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield api, read_access("test", kubeconfig(api.server, folder))
        finally:
            await runner.cleanup()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ServedApi, LiveCluster]]:
    """The API and our client on it."""
    async with served() as (api, access), connect(access) as cluster:
        api.asked.clear()
        yield api, cluster
