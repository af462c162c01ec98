"""The one choke point for secrets: what is known to be one is taken out of every text that leaves the process. Knows values, never what they open.

What is learnt: values of environment variables that are called like secrets, what a kubeconfig authenticates with, headers of the traffic,
the data of Secrets in manifests. What is screened: journal, verdict, report, copies of files, stdout, stderr. Before that, no secret should
have come so far: feeds are cut to an allow-list, manifests are never journalled. This is the second fence, not the first.

What must be undone is never screened: a record whose names were altered would put nothing back. It holds no values but those of fields.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from chaoskit.model.resource import Json, Obj

MASK = "REDACTED"
"""A plain word in YAML, JSON, XML and HTML alike: a screened file stays readable."""

SHORTEST = 8
"""Shorter values are not looked for: they would be found everywhere."""

UNSCREENED = frozenset({"stage.intended"})
"""Events that the undo is read from."""

_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|credential|api_?key|private_?key|access_?key|auth", re.IGNORECASE
)
_SECRET_HEADER = re.compile(r"authorization|cookie|token|secret|key|passw|session|credential", re.IGNORECASE)
_SECRET_FIELD = frozenset(
    {"token", "password", "client-key-data", "id-token", "refresh-token", "access-token", "client-secret", "tokenFile"}
)
_A_PATH = re.compile(r"(/|\.{1,2}/|~)\S*\Z")


class Screen:
    """The values known to be secret, and texts without them."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, values: Iterable[str]) -> None:
        """From now on these are taken out, also where they stand encoded: base64, URL, JSON, and line by line."""
        new = {form for value in values for form in _forms(value)} - self._known
        if new:
            self._known |= new
            # The longest first: a part of a secret must not hide the rest of it from the search.
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._known, key=len, reverse=True))))

    def clean(self, text: str) -> str:
        """The text with every known secret masked."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def forget(self) -> None:
        """For tests."""
        self._known, self._pattern = set(), None


_SCREEN = Screen()
"""That of this process: what one part has learnt, no other part may tell."""

learn = _SCREEN.learn
clean = _SCREEN.clean
forget = _SCREEN.forget


def _forms(value: str) -> Iterator[str]:
    for part in {value, value.strip(), *(line for line in value.splitlines() if len(line) >= 2 * SHORTEST)}:
        if len(part) < SHORTEST or part.lower() in ("undefined", "disabled"):
            continue
        raw = part.encode()
        yield from (part, quote(part, safe=""), json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1])
        yield base64.b64encode(raw).decode().rstrip("=")


def secrets_of_environment(environment: Mapping[str, str]) -> list[str]:
    """The values of variables that are called like secrets. A path to a file is none."""
    return [value for name, value in environment.items() if _SECRET_NAME.search(name) and not _A_PATH.match(value)]


def secrets_of_headers(headers: Mapping[str, object]) -> list[str]:
    """The values of headers that carry credentials, with and without their scheme."""
    texts = [value for name, value in headers.items() if isinstance(value, str) and _SECRET_HEADER.search(name)]
    return [part for text in texts for part in (text, text.partition(" ")[2])]


def secrets_of_manifests(manifests: Iterable[Obj]) -> list[str]:
    """The data of Secrets, as it stands there and as it is meant."""
    found: list[str] = []
    for manifest in manifests:
        if manifest.get("kind") == "Secret":
            for value in _texts(manifest.get("data")):
                found += [value, _decoded(value)]
            found += _texts(manifest.get("stringData"))
    return found


def secrets_of_kubeconfig(paths: str) -> list[str]:
    """What the users of kubeconfig files (separated as in KUBECONFIG) authenticate with. A file that cannot be read tells nothing."""
    import yaml  # not for everybody who asks for --help

    found: list[str] = []
    for path in paths.split(":"):
        try:
            data = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        users = data.get("users") if isinstance(data, dict) else None
        found += _credentials(users if isinstance(users, list) else [])
    return found


def _credentials(node: Json) -> list[str]:
    if isinstance(node, list):
        return [text for item in node for text in _credentials(item)]
    if not isinstance(node, dict):
        return []
    # An exec plugin's environment is a list of names and values.
    named = (
        [node["value"]] if isinstance(node.get("value"), str) and _SECRET_NAME.search(str(node.get("name", ""))) else []
    )
    mine = [
        text
        for key, value in node.items()
        if key in _SECRET_FIELD and isinstance(value, str)
        for text in (value, _decoded(value))
    ]
    return [*named, *mine, *(text for value in node.values() for text in _credentials(value))]


def _texts(data: Json) -> list[str]:
    return [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""


def scrub_file(path: Path) -> None:
    """Take the secrets out of a file that another process wrote. Left as it is when it holds none."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    cleaned = clean(text)
    if cleaned != text:
        path.write_text(cleaned, encoding="utf-8", errors="surrogateescape")


class Screened:
    """A text stream that masks what is written to it; in all else it is the stream."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(clean(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
