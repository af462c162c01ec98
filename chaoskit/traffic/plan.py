"""What the traffic is to be: the value that travels from the runner to the child. Checks itself at the door; starts nothing."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from chaoskit.model.errors import CouldNotRun

POLICIES = ("fresh", "reuse")
BODY_LIMIT_BYTES = 256 << 20
"""How large the body of a request may be. In bytes."""
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})


class GeneratorError(CouldNotRun):
    """The traffic could not start, or cannot be trusted; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class RequestKind:
    """One of the requests that the traffic is made of. `weight` is its share, relative to those of the others.

    `body` is what is sent, or the file that holds it; in chunks when `chunked`. `name` is what the request log calls it.
    Headers and body may hold secrets: they are in no repr.
    """

    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | Path = field(default=b"", repr=False)
    chunked: bool = False
    weight: float = 1.0
    name: str = ""

    @property
    def endpoint(self) -> str:
        """How the request log names it."""
        return self.name or f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Tls:
    """For https: whom to trust and who to be. `server_name` is asked for and checked instead of the url's host."""

    ca_file: Path | None = None
    server_name: str = ""
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """Built-in arrivals at `rate_per_s`, or `users` of a locustfile; against `url` (scheme, host, port, perhaps a path that comes before `path`).

    What is sent are `requests`, or without any the one of `path` and `method`. `policies` are shares of requests by connection policy,
    "fresh" and "reuse". `timeout_s` counts from a request's intended start. `identity` names the response headers that say which pod,
    version and node answered. `processes` share one timetable. `lasts_s` is how long the traffic is expected to last, None if for long.
    `trust_client`: a locustfile may use clients that cannot be put to the self-test.
    """

    url: str
    path: str = "/"
    method: str = "GET"
    rate_per_s: float = 100.0
    arrivals: Literal["constant", "poisson"] = "constant"
    policies: Mapping[str, float] = field(default_factory=lambda: {"fresh": 0.5, "reuse": 0.5})
    timeout_s: float = 2.0
    seed: int = 0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    identity: Mapping[str, str] = field(
        default_factory=lambda: {"pod": "X-Pod", "version": "X-Version", "node": "X-Node"}
    )
    locustfile: Path | None = None
    users: int = 10
    processes: int = 1
    requests: tuple[RequestKind, ...] = ()
    tls: Tls = Tls()
    resolve_every_s: float = 10.0
    lasts_s: float | None = None
    trust_client: bool = False

    @property
    def kinds(self) -> tuple[RequestKind, ...]:
        """The kinds of requests there are, one at least."""
        return self.requests or (RequestKind(self.path, self.method),)


def check(plan: TrafficPlan) -> None:
    """Raises GeneratorError for a plan that no generator could follow."""
    _check_url(plan)
    if plan.locustfile is not None and not plan.locustfile.is_file():
        raise GeneratorError(f"there is no locustfile {plan.locustfile}")
    if plan.rate_per_s <= 0 or plan.timeout_s <= 0 or plan.processes < 1 or plan.resolve_every_s <= 0:
        raise GeneratorError("rate, timeout, processes and the time between look-ups of the traffic must be above zero")
    if plan.locustfile is not None and plan.users < plan.processes:
        raise GeneratorError(f"{plan.users} users cannot be shared among {plan.processes} processes; name more users")
    _check_policies(plan)
    _check_lines("", plan.headers)
    for kind in plan.kinds:
        _check_kind(kind)
    if plan.url.startswith("https:") and plan.locustfile is None:
        _check_tls(plan.tls)


def _check_url(plan: TrafficPlan) -> None:
    url = urlsplit(plan.url)
    if url.scheme not in ("http", "https") or url.hostname is None or not _has_port_number(url):
        raise GeneratorError(f"traffic needs a url such as http://host:port, not {plan.url!r}")
    if plan.locustfile is None and (url.username is not None or url.query or url.fragment):
        raise GeneratorError("the url of the traffic is scheme, host, port and path; credentials belong in headers:")


def _has_port_number(url: SplitResult) -> bool:
    try:
        return url.port is None or url.port > 0
    except ValueError:
        return False


def _check_policies(plan: TrafficPlan) -> None:
    unknown = set(plan.policies) - set(POLICIES)
    if unknown:
        raise GeneratorError(f"connection policy {min(unknown)!r} is unknown; there are {' and '.join(POLICIES)}")
    if any(share < 0 for share in plan.policies.values()) or sum(plan.policies.values()) <= 0:
        raise GeneratorError("the shares of the connection policies must be zero or more, and one of them above zero")


def _check_kind(kind: RequestKind) -> None:
    """A line break or a blank in the wrong place would end the request early and shift all that follow."""
    target = kind.method + kind.path
    if not target.isprintable() or not target.isascii() or " " in target or not kind.path.startswith("/"):
        raise GeneratorError(f"{kind.method} {kind.path!r} is not a request line; escape the path as in a URL")
    if not 0 < kind.weight < math.inf:
        raise GeneratorError(f"the weight of {kind.endpoint} must be a number above zero")
    _check_lines(f" of {kind.endpoint}", kind.headers)
    body_of(kind)


def _check_lines(of: str, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not name.isprintable() or not value.isprintable() or not name or set(name) & set(": "):
            raise GeneratorError(f"header {name!r}{of} must be a name and one line of text")
        if name.lower() in _FRAMING:
            raise GeneratorError(f"header {name!r}{of} follows from the body and cannot be given; see body and chunked")


def _check_tls(tls: Tls) -> None:
    if (tls.key_file is not None) and tls.cert_file is None:
        raise GeneratorError("tls.keyFile belongs to a tls.certFile, and there is none")
    for name, path in (("caFile", tls.ca_file), ("certFile", tls.cert_file), ("keyFile", tls.key_file)):
        if path is not None and not path.is_file():
            raise GeneratorError(f"there is no file {path}, which tls.{name} names")


def body_of(kind: RequestKind) -> bytes:
    """What is sent as its body. Raises GeneratorError when its file cannot be read or is too large."""
    if isinstance(kind.body, bytes):
        return kind.body
    try:
        with kind.body.open("rb") as file:
            body = file.read(BODY_LIMIT_BYTES + 1)
    except OSError as error:
        raise GeneratorError(f"the body of {kind.endpoint} cannot be read: {kind.body}: {error.strerror}") from None
    if len(body) > BODY_LIMIT_BYTES:
        raise GeneratorError(f"the body of {kind.endpoint}, {kind.body}, is larger than {BODY_LIMIT_BYTES >> 20} MiB")
    return body


def to_json(plan: TrafficPlan) -> str:
    """The plan as one line, for the child."""
    return json.dumps(dataclasses.asdict(plan), default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Path):
        return {"path": str(value.resolve())}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def from_json(line: str) -> TrafficPlan:
    """The plan that `to_json` wrote."""
    fields: dict[str, Any] = json.loads(line, object_hook=_path_again)
    fields["requests"] = tuple(_kind_again(each) for each in fields["requests"])
    fields["tls"] = Tls(**fields["tls"])
    return TrafficPlan(**fields)


def _path_again(fields: dict[str, Any]) -> Any:
    return Path(fields["path"]) if fields.keys() == {"path"} else fields


def _kind_again(fields: dict[str, Any]) -> RequestKind:
    if isinstance(fields["body"], str):
        fields["body"] = base64.b64decode(fields["body"])
    return RequestKind(**fields)
