"""What the traffic sends and to whom it trusts itself, as an author writes it: request kinds, header values, bodies, TLS. Values; no I/O."""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Strict, model_validator
from pydantic import Field as Limits
from pydantic.dataclasses import dataclass

from chaoskit.model.target import STRICT

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
PathText = Annotated[str, Limits(pattern=r"^/\S*$")]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EnvSource:
    """Where a value is found when the run begins."""

    env: Annotated[str, Limits(pattern=_VARIABLE.pattern)]
    """The name of an environment variable of this command."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FromEnv:
    """A value that is not written into the file: it is read when the traffic begins, and stored nowhere."""

    value_from: EnvSource
    """Where it comes from."""


def _header(value: object) -> object:
    said = ValueError("a header value must be one line of text, or valueFrom: {env: NAME}")
    if isinstance(value, dict):
        source = value.get("valueFrom")
        if len(value) != 1 or not isinstance(source, dict) or set(source) != {"env"}:
            raise said
        if not _VARIABLE.fullmatch(str(source["env"])):
            raise ValueError(f"{source['env']!r} is not the name of an environment variable")
    elif not isinstance(value, FromEnv) and not (isinstance(value, str) and value.isprintable()):
        raise said
    return value


Headers = dict[str, Annotated[str | FromEnv, BeforeValidator(_header)]]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Body:
    """What a request carries: one of text, json, file."""

    text: str | None = None
    """Sent as UTF-8 text."""
    json: Any = None
    """Any value, sent as JSON."""
    file: Path | None = None
    """A file, sent as it is."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(each is not None for each in (self.text, self.json, self.file)) != 1:
            raise ValueError("a body is one of text, json and file")
        return self


def _payload(value: object) -> object:
    if isinstance(value, str):
        return Body(text=value)
    if isinstance(value, dict) and (len(value) != 1 or not set(value) < {"text", "json", "file"}):
        raise ValueError("a body is a text, or one of {text: ...}, {json: ...}, {file: ...}")
    return value


Payload = Annotated[Body | None, BeforeValidator(_payload, json_schema_input_type=str | Body | None)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SentRequest:
    """One kind of request among several."""

    path: PathText = "/"
    """The path requested."""
    method: Method = "GET"
    """The HTTP method."""
    headers: Headers = field(default_factory=dict)
    """Headers of this kind; they replace those of the whole traffic."""
    body: Payload = None
    """What it carries: a text, or {text: ...}, {json: ...}, {file: ...}."""
    chunked: bool = False
    """Whether the body goes in chunks, without a length told before."""
    weight: Annotated[float, Limits(gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    """How often, relative to the other kinds."""
    name: Annotated[str, Limits(max_length=100, pattern=r"^[^\r\n]*$")] = ""
    """What reports call it; by default method and path."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrafficTls:
    """For https with built-in traffic: whom to trust, and who to be."""

    ca_file: Path | None = None
    """Certificates that are trusted, in PEM; by default those of the system."""
    server_name: Annotated[str, Limits(pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    """The name asked for (SNI) and checked; by default the host of the url."""
    cert_file: Path | None = None
    """A client certificate in PEM, with its key unless keyFile has it."""
    key_file: Path | None = None
    """The client certificate's key in PEM, not encrypted."""
    insecure_skip_verify: Annotated[bool, Strict()] = False
    """Trust whoever answers. What is measured may then be somebody else's service."""

    @model_validator(mode="after")
    def _key_with_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("keyFile belongs to a certFile")
        if self.insecure_skip_verify and self.ca_file is not None:
            raise ValueError("caFile has no meaning with insecureSkipVerify: leave one of them out")
        return self
