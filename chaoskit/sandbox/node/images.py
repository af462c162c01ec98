"""Which image names the sandbox can run and what they mean on this machine. Pulls nothing; an unknown name is a failed pull."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

_PYTHON = re.compile(
    r"(?:docker\.io/)?(?:library/)?python(?::(?:3(?:\.\d+){0,2})?-?(?:latest|slim|alpine|bookworm|bullseye|trixie|slim-\w+)?)?\Z"
)
_TOOLS = re.compile(r"(?:docker\.io/)?(?:library/)?(?P<name>busybox|alpine|bash|debian)(?::[\w.-]+)?\Z")
_INTERPRETERS = re.compile(r"(?:/usr(?:/local)?/bin/)?python(?:3(?:\.\d+)?)?\Z")
_SHELL = {"busybox": "sh", "alpine": "sh", "bash": "bash", "debian": "bash"}


@dataclass(frozen=True, slots=True)
class Image:
    """A runnable image: `command` is executed when the manifest gives neither command nor args."""

    name: str
    id: str
    command: tuple[str, ...]


def find_image(name: str) -> Image | None:
    """The image of that name, or None: then its pull fails, as that of a mistyped tag does."""
    if "@" in name:
        return None
    if _PYTHON.match(name):
        return Image(name, _digest(name), ("python3",))
    tools = _TOOLS.match(name)
    return None if tools is None else Image(name, _digest(name), (_SHELL[tools["name"]],))


def _digest(name: str) -> str:
    plain = name.removeprefix("docker.io/").removeprefix("library/").partition(":")[0]
    return f"docker.io/library/{plain}@sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def argv_of(image: Image, command: list[str], args: list[str]) -> tuple[str, ...]:
    """`command` replaces the image's entry point and drops its default arguments; `args` replaces these
    (kubernetes.io: Define a Command and Arguments for a Container)."""
    return (*command, *args) if command or args else image.command


def on_this_machine(argv: tuple[str, ...]) -> tuple[str, ...]:
    """`python`, `python3` and their usual absolute paths become the running interpreter."""
    return (sys.executable, *argv[1:]) if argv and _INTERPRETERS.match(argv[0]) else argv


def install_interpreter(folder: Path) -> None:
    """Put `python` and `python3` into a folder for PATH, for commands that reach them through a shell."""
    # Not links: an interpreter reached through a link outside its virtual environment would not find its packages.
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        script.chmod(0o755)
