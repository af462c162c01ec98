"""An application with bodies and TLS, by a server that is not ours: it reads what the traffic sends as any server would."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Shop:
    """What was received: method, path, headers and body of each request."""

    url: str = ""
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """The server names that were asked for by TLS clients."""

    @property
    def requests(self) -> list[tuple[str, str, dict[str, str], bytes]]:
        return self.seen


async def ok(request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok", headers={"X-Pod": "pod-a"})


@asynccontextmanager
async def shop(answer: Answer = ok, tls: ssl.SSLContext | None = None, limit: int = 1 << 30) -> AsyncIterator[Shop]:
    """A running shop on loopback. `answer` is called when a request was read, or with `limit` 0 before its body is."""
    running = Shop()

    async def serve(request: web.Request) -> web.StreamResponse:
        body = await request.read() if limit else b""
        running.seen.append((request.method, request.path_qs, dict(request.headers), body))
        return await answer(request)

    app = web.Application(client_max_size=limit or 1)
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    if tls is not None:
        tls.sni_callback = lambda sock, name, context: running.names.append(name)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    scheme, port = "https" if tls else "http", runner.addresses[0][1]
    running.url = f"{scheme}://127.0.0.1:{port}"
    try:
        yield running
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Authority:
    """Certificates in a folder: ca.pem, server.pem for shop.example, client.pem with its key inside, client.key alone."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def server(self, *, asks_for_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem")
        if asks_for_client:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def authority(folder: Path) -> Authority:
    """A new one."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("test authority", key, None, key, is_ca=True)
    (folder / "ca.pem").write_bytes(_pem(ca))
    for name, san in (("server", "shop.example"), ("client", "tester")):
        own = ec.generate_private_key(ec.SECP256R1())
        text = _pem(_certificate(san, own, ca, key))
        secret = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.pem").write_bytes(text + secret)
        (folder / f"{name}.key").write_bytes(secret)
        (folder / f"{name}.crt").write_bytes(text)
    return Authority(folder)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    signer: ec.EllipticCurvePrivateKey,
    is_ca: bool = False,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if not is_ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
