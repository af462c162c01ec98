"""chaoskit: proves that an application on Kubernetes keeps its promises. Only public names, resolved when first used: importing this costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Experiment": "chaoskit.model.experiment",
    "Guards": "chaoskit.model.experiment",
    "Phases": "chaoskit.model.experiment",
    "Target": "chaoskit.model.target",
    "Traffic": "chaoskit.model.experiment",
    "Finding": "chaoskit.model.verdict",
    "Grade": "chaoskit.model.verdict",
    "Verdict": "chaoskit.model.verdict",
    "load": "chaoskit.runner.load",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - the names are strings


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'chaoskit' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
