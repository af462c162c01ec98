"""Which cluster, with which credentials: reads a kubeconfig as kubectl does. Never picks a context by itself and sends nothing to the cluster.

The official package is imported inside functions only: it takes half a second.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chaoskit.cluster.thread import in_thread
from chaoskit.model.errors import CouldNotRun, UsageError

FRESH_S = 30.0
"""How long a credential is used before its expiry is looked at again, in seconds. The official loader renews five minutes early."""


@dataclass(slots=True)
class Credentials:
    """The Authorization header, renewed when it is about to expire or was refused. Serves one loop."""

    configuration: Any
    reload: Callable[[], Any]
    looked_at: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: bool = False
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fresh(self) -> Mapping[str, str]:
        """Headers for the next request. Raises CouldNotRun when a credential plugin fails."""
        async with self.one_at_a_time:
            if self.refused or not self.looked_at or time.monotonic() - self.looked_at > FRESH_S:
                self.headers = await in_thread(self._renewed)
                self.looked_at, self.refused = time.monotonic(), False
            return self.headers

    def _renewed(self) -> Mapping[str, str]:
        if self.refused:
            self.configuration = self.reload()
        with overheard():
            token = self.configuration.get_api_key_with_prefix("BearerToken", "authorization")
        return {"Authorization": token} if token else {}


@dataclass(frozen=True, slots=True)
class Access:
    """The way to one cluster. `proxy` None: the environment's proxies, except for this machine itself."""

    server: str
    context: str
    verify: ssl.SSLContext | bool
    server_name: str | None = None
    proxy: str | None = None
    load: Callable[[str], Any] | None = None
    """Loads a new official Configuration whose files lie in the given folder."""
    credentials: Credentials | None = None

    async def headers(self) -> Mapping[str, str]:
        """Fresh credentials as headers. Raises CouldNotRun when they cannot be had."""
        return {} if self.credentials is None else await self.credentials.fresh()

    def refused(self) -> None:
        """The server answered 401: load the credentials anew before the next request."""
        if self.credentials is not None:
            self.credentials.refused = True

    @property
    def on_this_machine(self) -> bool:
        """Whether the server is a loopback address, which no proxy could reach."""
        host = urlsplit(self.server).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def read_access(context: str | None, kubeconfig: Path | None) -> Access:
    """The access of a context of the kubeconfig: the given file, else KUBECONFIG (a list of files), else ~/.kube/config.

    Raises UsageError when no context is named, when it does not exist, or when a file is not a kubeconfig; CouldNotRun when a credential
    plugin fails. Blocks: plugins are processes, and the official package takes half a second to import.
    """
    paths = str(kubeconfig) if kubeconfig is not None else os.environ.get("KUBECONFIG") or "~/.kube/config"
    chosen = _chosen(context, _contexts(paths), paths)

    def load(folder: str) -> Any:
        return _configuration(paths, chosen, folder)

    def reload() -> Any:
        with tempfile.TemporaryDirectory(prefix="chaoskit-") as folder:
            return load(folder)

    # The loader writes keys that stand in the kubeconfig into files, which a killed process would leave behind: read them and remove them at once.
    with tempfile.TemporaryDirectory(prefix="chaoskit-") as folder:
        found = load(folder)
        verify = _ssl_context(found)
    return Access(found.host, chosen, verify, found.tls_server_name, found.proxy, load, Credentials(found, reload))


def _chosen(context: str | None, known: Mapping[str, Mapping[str, Any]], paths: str) -> str:
    if context is None:
        raise UsageError(
            f"name the cluster with --context; {_known(known, paths)}. The current context is never used by accident."
        )
    if context not in known:
        near = difflib.get_close_matches(context, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UsageError(f"context {context!r} does not exist{hint} {_known(known, paths).capitalize()}")
    if known[context].get("as"):
        # The official loader passes over it, and we would act with more rights than were meant.
        raise UsageError(
            f"context {context!r} impersonates {known[context]['as']!r}, which is not supported; use credentials of their own"
        )
    return context


def _known(contexts: Iterable[str], paths: str) -> str:
    return f"known in {paths}: {', '.join(contexts)}" if contexts else f"there is none in {paths}"


def _contexts(paths: str) -> Mapping[str, Mapping[str, Any]]:
    """The user of each context."""
    from kubernetes.config.kube_config import KubeConfigMerger

    with _explained(paths):
        merger: Any = KubeConfigMerger
        merged = merger(paths).config
        return (
            {} if merged is None else {context["name"]: _user(merged, context) for context in merged.value["contexts"]}
        )


def _user(merged: Any, context: Any) -> Mapping[str, Any]:
    name = context.value["context"].get("user", "")
    return next((user.value.get("user") or {} for user in merged.value["users"] if user["name"] == name), {})


def _configuration(paths: str, context: str, folder: str) -> Any:
    from kubernetes import config
    from kubernetes.client import Configuration

    loader: Any = config
    configuration: Any = Configuration()
    configuration.proxy = None
    configuration.retries = False
    with _explained(paths), overheard() as said:
        loader.load_kube_config(paths, context, configuration, temp_file_path=folder)
    # The loader logs a failing plugin and goes on without credentials; every request would then be anonymous.
    if said and not configuration.api_key and not configuration.cert_file:
        raise CouldNotRun(f"context {context!r}: its credential plugin failed: {'; '.join(said)}")
    return configuration


@contextmanager
def _explained(paths: str) -> Iterator[None]:
    import yaml
    from kubernetes.config import ConfigException

    try:
        yield
    except (ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{paths} is not a kubeconfig that can be used: {' '.join(str(error).split())}") from error


@contextmanager
def overheard() -> Iterator[list[str]]:
    """What the official loader says to the root logger, instead of on the terminal."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(" ".join(record.getMessage().split()))

    ear, root = Ear(), logging.getLogger()
    root.addHandler(ear)
    try:
        yield said
    finally:
        root.removeHandler(ear)


def _ssl_context(configuration: Any) -> ssl.SSLContext | bool:
    if not configuration.host.startswith("https"):
        return False
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        # Many clusters' own authorities lack extensions that Python 3.13 began to ask for; Go, and so kubectl, does not.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"the certificates for {configuration.host} cannot be used: {error}") from error
    return context
