"""Ways to reach the cluster under test: the official client, and plain HTTPS for what that client hides."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """A kubeconfig and the context in it to use."""

    path: Path
    context: str

    def api_client(self) -> Any:
        """A client of the official library, with its strict models."""
        from kubernetes import config

        connect: Any = config.new_client_from_config
        return connect(str(self.path), self.context)

    def http(self, timeout_s: float = 10.0, *, anonymous: bool = False) -> httpx.Client:
        """Plain HTTPS with this context's credentials, or with none, re-sending nothing."""
        cluster = self._entry("clusters", "cluster")
        user = {} if anonymous else self._entry("users", "user")
        verify = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        if "client-certificate-data" in user:
            with _pem_files(user) as (certificate, key):
                verify.load_cert_chain(certificate, key)
        return httpx.Client(base_url=cluster["server"], verify=verify, headers=headers, timeout=timeout_s)

    def _entry(self, listed: str, kind: str) -> dict[str, Any]:
        found = yaml.safe_load(self.path.read_text())
        context = next(entry["context"] for entry in found["contexts"] if entry["name"] == self.context)
        entry: dict[str, Any] = next(entry[kind] for entry in found[listed] if entry["name"] == context[kind])
        return entry


@contextmanager
def _pem_files(user: dict[str, Any]) -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        names = ("client-certificate-data", "client-key-data")
        paths = [Path(folder) / name for name in names]
        for path, name in zip(paths, names, strict=True):
            path.write_bytes(base64.b64decode(user[name]))
        yield str(paths[0]), str(paths[1])


def user_access(context: str) -> Access:
    """A context of the user's kubeconfig, where kubectl would look for it."""
    first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Access(Path(first) if first else Path.home() / ".kube" / "config", context)


def eventually(look: Callable[[], T | None], within_s: float = 15.0, what: str = "") -> T:
    """What `look` answers as soon as it is true. Raises AssertionError past the deadline."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what or look}"
        time.sleep(0.02)
