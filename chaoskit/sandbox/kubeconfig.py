"""Kubeconfig files: one of our own, or our context inside the user's. Touches only entries named chaoskit-sandbox.

Files are written whole, with mode 0600, beside the old one and then moved over it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from chaoskit.sandbox.settings import CONTEXT

Config = dict[str, Any]
_LISTS: Final = ("clusters", "contexts", "users")


def default_path(environment: Mapping[str, str]) -> Path:
    """The file that kubectl would write: the first of KUBECONFIG, else ~/.kube/config."""
    first = next((part for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part), "")
    return Path(first) if first else Path(environment.get("HOME", "~")).expanduser() / ".kube" / "config"


def entries(server: str, authority: bytes, token: str) -> Config:
    """A kubeconfig with our cluster, user and context, and that context current."""
    data = base64.b64encode(authority).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": data}}],
        "users": [{"name": CONTEXT, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}],
        "current-context": CONTEXT,
        "preferences": {},
    }


def write(path: Path, config: Config) -> None:
    """Write a file of our own. JSON is YAML, and needs no YAML library."""
    import json

    _replace(path, json.dumps(config, indent=2) + "\n")


def merge(path: Path, config: Config) -> None:
    """Add our entries to a file, keeping everything else; the current context changes only where there is none."""
    import yaml

    found = _load(path)
    for name in _LISTS:
        others = [entry for entry in found.get(name) or () if entry.get("name") != CONTEXT]
        found[name] = [*others, *config[name]]
    found.setdefault("apiVersion", "v1")
    found.setdefault("kind", "Config")
    found["current-context"] = found.get("current-context") or CONTEXT
    _replace(path, yaml.safe_dump(found, sort_keys=False))


def remove(path: Path, server: str) -> None:
    """Take our entries out again, if they still speak of this server; a file that held nothing else goes away."""
    import yaml

    found = _load(path)
    ours = [c for c in found.get("clusters") or () if c.get("name") == CONTEXT and c["cluster"].get("server") == server]
    if not ours:
        return
    for name in _LISTS:
        found[name] = [entry for entry in found.get(name) or () if entry.get("name") != CONTEXT]
    if found.get("current-context") == CONTEXT:
        found["current-context"] = ""
    if any(found[name] for name in _LISTS):
        _replace(path, yaml.safe_dump(found, sort_keys=False))
    else:
        path.unlink(missing_ok=True)


def _load(path: Path) -> Config:
    import yaml

    if not path.exists():
        return {}
    found = yaml.safe_load(path.read_text())
    return found if isinstance(found, dict) else {}


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    beside.replace(target)
