"""What the traffic is to be: the value that travels from the runner to the child. Checks itself at the door; starts nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from chaoskit.model.errors import CouldNotRun

POLICIES = ("fresh", "reuse")


class GeneratorError(CouldNotRun):
    """The traffic could not start, or cannot be trusted; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """Built-in arrivals at `rate_per_s`, or `users` of a locustfile; against `url` (scheme, host, port, perhaps a path that comes before `path`).

    `policies` are shares of requests by connection policy, "fresh" and "reuse". `timeout_s` counts from a request's intended start.
    `identity` names the response headers that say which pod, version and node answered. `processes` share one timetable.
    """

    url: str
    path: str = "/"
    method: str = "GET"
    rate_per_s: float = 100.0
    arrivals: Literal["constant", "poisson"] = "constant"
    policies: Mapping[str, float] = field(default_factory=lambda: {"fresh": 0.5, "reuse": 0.5})
    timeout_s: float = 2.0
    seed: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, str] = field(
        default_factory=lambda: {"pod": "X-Pod", "version": "X-Version", "node": "X-Node"}
    )
    locustfile: Path | None = None
    users: int = 10
    processes: int = 1


def check(plan: TrafficPlan) -> None:
    """Raises GeneratorError for a plan that no generator could follow."""
    _check_url(plan)
    if plan.locustfile is not None and not plan.locustfile.is_file():
        raise GeneratorError(f"there is no locustfile {plan.locustfile}")
    if plan.rate_per_s <= 0 or plan.timeout_s <= 0 or plan.processes < 1:
        raise GeneratorError("rate, timeout and processes of the traffic must be above zero")
    if plan.locustfile is not None and plan.users < plan.processes:
        raise GeneratorError(f"{plan.users} users cannot be shared among {plan.processes} processes; name more users")
    _check_policies(plan)
    _check_header_lines(plan)


def _check_url(plan: TrafficPlan) -> None:
    url = urlsplit(plan.url)
    if url.scheme not in ("http", "https") or url.hostname is None or not _has_port_number(url):
        raise GeneratorError(f"traffic needs a url such as http://host:port, not {plan.url!r}")
    if plan.locustfile is not None:
        return
    if url.scheme == "https":
        raise GeneratorError(
            f"built-in traffic does not speak TLS: give an http url instead of {plan.url}, or a locustfile"
        )
    if url.username is not None or url.query or url.fragment:
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


def _check_header_lines(plan: TrafficPlan) -> None:
    """A line break or a blank in the wrong place would end the request early and shift all that follow."""
    target = plan.method + plan.path
    if not target.isprintable() or not target.isascii() or " " in target or not plan.path.startswith("/"):
        raise GeneratorError(f"{plan.method} {plan.path!r} is not a request line; escape the path as in a URL")
    for name, value in plan.headers.items():
        if not name.isprintable() or not value.isprintable() or not name or set(name) & set(": "):
            raise GeneratorError(f"header {name!r} must be a name and one line of text")


def to_json(plan: TrafficPlan) -> str:
    """The plan as one line, for the child."""
    fields = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)}
    fields["locustfile"] = None if plan.locustfile is None else str(plan.locustfile.resolve())
    return json.dumps({name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()})


def from_json(line: str) -> TrafficPlan:
    """The plan that `to_json` wrote."""
    fields: dict[str, Any] = json.loads(line)
    if fields["locustfile"] is not None:
        fields["locustfile"] = Path(fields["locustfile"])
    return TrafficPlan(**fields)
