"""An experiment file into an Experiment. Parses at the door: one line per mistake, with file, line, column, what was expected; touches no cluster."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from chaoskit.experiments import fault_class
from chaoskit.model.errors import ExperimentError
from chaoskit.model.experiment import API_VERSION, Control, Experiment, Guards, Phases, Repeat, Setup, Traffic
from chaoskit.model.seams import SLO, Fault
from chaoskit.model.target import Target, checked_name
from chaoskit.runner import yaml_text
from chaoskit.runner.yaml_text import SIZE_LIMIT_BYTES, Document
from chaoskit.slos import from_value, load_slo, parse_slo

V = TypeVar("V")

_SECTIONS = (
    "setup",
    "target",
    "traffic",
    "fault",
    "slos",
    "phases",
    "guards",
    "control",
    "repeat",
    "seed",
    "description",
)
_REQUIRED = ("target", "fault")
_TRAFFIC_FILES = {"body": ("file",), "tls": ("caFile", "certFile", "keyFile")}


def load(path: Path) -> Experiment:
    """The one experiment of a file. Raises ExperimentError with file:line:col for whatever is wrong with it."""
    return load_text(read_text(path), str(path), path.parent)


def read_text(path: Path) -> str:
    """The text of an experiment file. Raises ExperimentError when it cannot be read, is too large, or is not UTF-8."""
    try:
        with path.open("rb") as file:
            # One byte more than allowed tells that there is more; a device or a pipe could go on for ever.
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ExperimentError(f"cannot be read: {error.strerror}", str(path)) from None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before) - before.rfind(b"\n")
        where = f"{path}:{before.count(10) + 1}:{column}"
        raise ExperimentError(f"not UTF-8 text (byte 0x{raw[error.start]:02x})", where) from None


def load_recorded(path: Path) -> Experiment:
    """The experiment of a saved run. Files it named may be gone since, and are not needed to judge."""
    return load_text(path.read_text(encoding="utf-8"), str(path), path.parent, files=False)


def load_text(text: str, name: str, folder: Path, *, files: bool = True) -> Experiment:
    """The one experiment of a text; relative paths in it are meant from `folder`, and must exist unless `files` is false."""
    documents = yaml_text.parse_yaml(text, name)
    if not documents or (len(documents) == 1 and documents[0].value is None):
        raise ExperimentError("expected an experiment, found nothing", f"{name}:1:1")
    if len(documents) > 1:
        raise ExperimentError(f"expected one experiment, found {len(documents)} documents", documents[1].where(()))
    return _Reader(documents[0], folder, files).experiment()


class _Reader:
    """Reads one document; each method reads one section and knows its path."""

    def __init__(self, document: Document, folder: Path, files: bool) -> None:
        self.document = document
        self.folder = folder
        self.files = files

    def experiment(self) -> Experiment:
        top = self._mapping(
            self.document.value,
            (),
            ("apiVersion", "kind", "metadata", "spec"),
            ("apiVersion", "kind", "metadata", "spec"),
        )
        self._expect(top["apiVersion"], API_VERSION, ("apiVersion",))
        self._expect(top["kind"], "Experiment", ("kind",))
        metadata = self._mapping(top["metadata"], ("metadata",), ("name",), ("name", "labels", "annotations"))
        spec = self._mapping(top["spec"], ("spec",), _REQUIRED, _SECTIONS)
        guards = self._section(spec, "guards", Guards) or Guards()
        return Experiment(
            name=self._parsed(checked_name, metadata["name"], ("metadata", "name")),
            target=self._value(Target, spec["target"], ("spec", "target")),
            fault=self._fault(spec["fault"]),
            traffic=self._traffic(spec),
            slos=self._slos(spec.get("slos"), ("spec", "slos")) if "slos" in spec else (),
            aborts=tuple(
                self._parsed(_parse_guard, text, ("spec", "guards", "keep", i)) for i, text in enumerate(guards.keep)
            ),
            phases=self._section(spec, "phases", Phases) or Phases(),
            guards=guards,
            setup=self._setup(spec),
            control=self._section(spec, "control", Control),
            repeat=self._value(Repeat, spec.get("repeat", 1), ("spec", "repeat")),
            seed=self._seed(spec.get("seed")),
            description=self._value(str, spec.get("description", ""), ("spec", "description")),
            source=self.document.name,
        )

    def _fault(self, value: Any) -> Fault:
        path = ("spec", "fault")
        kind, fields = self._only_key(value, path, "fault")
        cls = self._parsed(fault_class, kind, (*path, kind), key=True)
        fault: Fault = self._value(cls, {} if fields is None else fields, (*path, kind))
        return fault

    def _slos(self, value: Any, path: yaml_text.Path) -> tuple[SLO, ...]:
        if not isinstance(value, list) or not value:
            raise self._error(f"expected a list of SLOs, found {_shown(value)}", path)
        return tuple(self._slo(item, (*path, i)) for i, item in enumerate(value))

    def _slo(self, value: Any, path: yaml_text.Path) -> SLO:
        if isinstance(value, str):
            found: SLO = self._parsed(parse_slo, value, path)
            return found
        kind, fields = self._only_key(value, path, "SLO")
        self._parsed(load_slo, kind, (*path, kind), key=True)
        try:
            return from_value(kind, fields)
        except ValueError as error:
            # The path says the kind already.
            raise self._error(str(error).removeprefix(f"{kind}: ").removeprefix(f"{kind}."), (*path, kind)) from None

    def _traffic(self, spec: Mapping[str, Any]) -> Traffic | None:
        """The traffic with the files that it names, as seen from here."""
        if "traffic" not in spec:
            return None
        # Only once it is known to be sound; the paths go into what was written, a value that was read cannot be read again.
        self._section(spec, "traffic", Traffic)
        written, path = {**spec["traffic"]}, ("spec", "traffic")
        for key, files in _TRAFFIC_FILES.items():
            if isinstance(written.get(key), dict):
                written[key] = self._found(written[key], (*path, key), files)
        requests = written.get("requests", ())
        written["requests"] = [self._body_found(each, (*path, "requests", i)) for i, each in enumerate(requests)]
        return self._value(Traffic, self._found(written, path, ("locustfile",)), path)

    def _body_found(self, request: Mapping[str, Any], path: yaml_text.Path) -> Mapping[str, Any]:
        body = request.get("body")
        return {**request, "body": self._found(body, (*path, "body"), ("file",))} if isinstance(body, dict) else request

    def _found(self, written: Mapping[str, Any], path: yaml_text.Path, files: Sequence[str]) -> Mapping[str, Any]:
        """The mapping with those of its values that are paths of files."""
        named = {key: written[key] for key in files if written.get(key) is not None}
        return {**written, **{key: self._inside(Path(at), (*path, key)) for key, at in named.items()}}

    def _setup(self, spec: Mapping[str, Any]) -> Setup | None:
        setup = self._section(spec, "setup", Setup)
        return None if setup is None else Setup(manifests=self._inside(setup.manifests, ("spec", "setup", "manifests")))

    def _inside(self, path: Path, at: yaml_text.Path) -> Path:
        found = path if path.is_absolute() else self.folder / path
        if self.files and not found.exists():
            raise self._error(f"no such file or folder: {path}", at)
        return found

    def _seed(self, value: Any) -> int | None:
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            return value
        raise self._error(f"expected a whole number of zero or more, found {_shown(value)}", ("spec", "seed"))

    def _section(self, spec: Mapping[str, Any], name: str, cls: type[V]) -> V | None:
        return self._value(cls, spec[name], ("spec", name)) if name in spec else None

    def _value(self, cls: type[V], value: Any, path: yaml_text.Path) -> V:
        if dataclasses.is_dataclass(cls) and not isinstance(value, dict):
            raise self._error(f"expected a mapping, found {_shown(value)}", path)
        try:
            return TypeAdapter(cls).validate_python(value)
        except ValidationError as error:
            raise self._invalid(error, path, _keys_of(cls)) from None

    def _invalid(self, error: ValidationError, path: yaml_text.Path, keys: Mapping[str, None]) -> ExperimentError:
        first = error.errors()[0]
        at = (*path, *self._in_text(path, first["loc"]))
        unknown = first["type"] == "unexpected_keyword_argument"
        if unknown:
            return self._unknown(str(at[-1]), at, keys)
        if first["type"] in ("missing", "missing_keyword_only_argument"):
            return self._error(f"the key {first['loc'][-1]!r} is missing", path)
        return self._error(_said(first), at)

    def _in_text(self, path: yaml_text.Path, loc: Sequence[str | int]) -> yaml_text.Path:
        """The part of a pydantic location that stands in the text: it adds names of union members of its own."""
        kept: yaml_text.Path = ()
        for part in loc:
            if (*path, *kept, part) in self.document.places:
                kept = (*kept, part)
        return kept or tuple(loc[:1])

    def _mapping(
        self, value: Any, path: yaml_text.Path, required: Sequence[str], known: Sequence[str]
    ) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._error(f"expected a mapping with {', '.join(required)}, found {_shown(value)}", path)
        for key in value:
            if key not in known:
                raise self._unknown(key, (*path, key), dict.fromkeys(known))
        for key in required:
            if key not in value:
                raise self._error(f"the key {key!r} is missing", path)
        return value

    def _only_key(self, value: Any, path: yaml_text.Path, noun: str) -> tuple[str, Any]:
        if not isinstance(value, dict) or len(value) != 1:
            found = f"{len(value)} keys" if isinstance(value, dict) else _shown(value)
            raise self._error(f"expected one {noun} by its name, found {found}", path)
        return next(iter(value.items()))

    def _unknown(self, key: str, path: yaml_text.Path, known: Mapping[str, None]) -> ExperimentError:
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known) or 'nothing'}"
        return self._error(f"unknown key {_shown(key)}; {hint}", path, key=True)

    def _expect(self, value: Any, wanted: str, path: yaml_text.Path) -> None:
        if value != wanted:
            raise self._error(f"expected {wanted!r}, found {_shown(value)}", path)

    def _parsed(self, parse: Any, value: Any, path: yaml_text.Path, *, key: bool = False) -> Any:
        try:
            return parse(value)
        except ValidationError as error:
            raise self._error(_said(error.errors()[0]), path, key=key) from None
        except ValueError as error:
            raise self._error(str(error), path, key=key) from None

    def _error(self, what: str, path: yaml_text.Path, *, key: bool = False) -> ExperimentError:
        shown = ".".join(map(_word, path))
        return ExperimentError(f"{shown}: {what}" if shown else what, self.document.where(path, key=key))


def _word(part: str | int) -> str:
    """A key as it may be printed: what would break the line, or turn it around on a terminal, is written out."""
    text = str(part)
    shown = text if text.isprintable() else repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _parse_guard(text: object) -> SLO:
    return parse_slo(text, strict=False)


def _keys_of(cls: type) -> Mapping[str, None]:
    if not dataclasses.is_dataclass(cls):
        return {}
    return {to_camel(field.name): None for field in dataclasses.fields(cls)}


def _said(error: Any) -> str:
    text = str(error["msg"]).removeprefix("Value error, ").removesuffix(", unable to interpret input")
    if error["type"] == "string_pattern_mismatch":
        return f"expected text that matches {error['ctx']['pattern']}, found {_shown(error['input'])}"
    if text.startswith("Input should be "):
        return f"expected {text.removeprefix('Input should be ')}, found {_shown(error['input'])}"
    return text


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
