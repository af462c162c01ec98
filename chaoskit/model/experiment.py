"""What an author states: whom, under which traffic, which fault, which promises, for how long, within which limits. Frozen values; never a procedure."""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, SkipValidation, Strict, model_validator
from pydantic import Field as Limits
from pydantic.dataclasses import dataclass

from chaoskit.model.seams import SLO, Fault
from chaoskit.model.sending import Headers, Method, PathText, Payload, SentRequest, TrafficTls
from chaoskit.model.target import STRICT, Name, Target
from chaoskit.model.units import DurationField, OptionalDurationField, RateField, RatioField
from chaoskit.model.written import by_default

API_VERSION = "chaoskit.dev/v1alpha1"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Identity:
    """The response headers that say who answered."""

    pod: str = "X-Pod"
    """Header with the pod's name."""
    version: str = "X-Version"
    """Header with the application's version."""
    node: str = "X-Node"
    """Header with the node's name."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Connections:
    """How connections are used: `fresh` opens one per request (shows balancing and endpoint propagation), `reuse` keeps them (shows draining)."""

    fresh: RatioField = by_default(0.5)
    """Share of requests on a connection of their own."""
    reuse: RatioField = by_default(0.5)
    """Share of requests on kept connections."""

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(self.fresh + self.reuse - 1) > 1e-9:
            raise ValueError("the shares of fresh and reuse must add up to 100%")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Traffic:
    """Who keeps using the system meanwhile: built-in arrivals at a rate (open model), or a locustfile with users (closed model)."""

    service: Name | None = None
    """The Service in the target's namespace that is used; found by its route."""
    url: Annotated[str, Limits(pattern=r"^https?://[^\s/]+")] | None = None
    """A base URL that leads to the application, instead of a route to the Service."""
    port: Annotated[int, Strict(), Limits(ge=1, le=65535)] | Name | None = None
    """The Service's port by number or name; needed when it has several."""
    path: PathText = "/"
    """The path requested, of traffic with one kind of request."""
    method: Method = "GET"
    """Its HTTP method."""
    headers: Headers = field(default_factory=dict)
    """Headers sent with each request: texts, or valueFrom: {env: NAME} for what must not stand in a file."""
    body: Payload = None
    """What the request carries: a text, or {text: ...}, {json: ...}, {file: ...}."""
    chunked: bool = False
    """Whether the body goes in chunks, without a length told before."""
    requests: tuple[SentRequest, ...] = ()
    """Several kinds of requests instead of path, method, body and chunked."""
    rate: RateField = by_default(100.0)
    """Requests a second, as 100/s."""
    arrivals: Literal["constant", "poisson"] = "constant"
    """How arrivals are spaced."""
    connections: Connections = field(default_factory=Connections)
    """The shares of the two connection policies."""
    timeout: DurationField = by_default(2.0)
    """When a request counts as failed, from its intended start."""
    via: Literal["auto", "url", "loadBalancer", "nodePort", "clusterIP"] = "auto"
    """How the Service is reached; auto tries the others in this order."""
    identity: Identity = field(default_factory=Identity)
    """Which response headers name pod, version and node."""
    locustfile: Path | None = None
    """A user's own locustfile. It is code: it deserves the trust of a Makefile."""
    users: Annotated[int, Strict(), Limits(ge=1, le=100_000)] | None = None
    """How many users of the locustfile."""
    trust_client: Annotated[bool, Strict()] = False
    """Let the locustfile use clients that cannot be tested for hidden retries; the run says so."""
    tls: TrafficTls | None = None
    """For https with built-in traffic; with it a route to the Service is https, whatever its port is called."""
    resolve_every: DurationField = by_default(10.0)
    """How long the addresses of a name are used before it is looked up again."""
    processes: Annotated[int, Strict(), Limits(ge=1, le=64)] = 1
    """How many processes share the traffic; about one for each 2,000 requests a second."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.service is None and self.url is None:
            raise ValueError("traffic needs a service or a url")
        if (self.locustfile is None) != (self.users is None):
            raise ValueError("locustfile and users belong together")
        if self.requests and (self.path, self.method, self.body, self.chunked) != ("/", "GET", None, False):
            raise ValueError("with requests, path, method, body and chunked belong into each of them")
        if self.locustfile is not None and (self.requests or self.body is not None or self.tls is not None):
            raise ValueError("requests, body and tls are for built-in traffic; a locustfile makes its own requests")
        if self.trust_client and self.locustfile is None:
            raise ValueError("trustClient is about the clients of a locustfile, and there is none")
        if self.tls is not None and self.url is not None and not self.url.startswith("https:"):
            raise ValueError("tls needs an https url")
        if self.resolve_every <= 0:
            raise ValueError("resolveEvery must be above zero")
        return self

    @property
    def kinds(self) -> tuple[SentRequest, ...]:
        """The kinds of requests of built-in traffic, one at least."""
        simple = SentRequest(path=self.path, method=self.method, body=self.body, chunked=self.chunked)
        return self.requests or (simple,)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Phases:
    """How long each phase lasts; warm-up, inject and settle end by facts, these are their latest ends."""

    warm_up: DurationField = by_default(30.0)
    """Latest end of the warm-up: the planned rate held and latency stable."""
    baseline: DurationField = by_default(10.0)
    """How long the steady state is measured before the fault."""
    hold: DurationField = by_default(15.0)
    """How long the fault is held once it was seen."""
    sustain: DurationField = by_default(5.0)
    """How long every promise has to hold again before the run ends."""
    settle: OptionalDurationField = by_default(None)
    """Latest end of the settling; by default the longest bound of the promises plus sustain."""


_LIMIT_PERCENT = re.compile(r"([1-9]\d?|100)%\Z")


def _limit(value: object) -> object:
    if (isinstance(value, int) and not isinstance(value, bool) and value >= 1) or (
        isinstance(value, str) and _LIMIT_PERCENT.match(value)
    ):
        return value
    raise ValueError(f"{value!r} is no limit; write a count of 1 or more, or a percentage from 1% to 100%")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Guards:
    """The limits of the blast radius, and objectives whose breach aborts the run and puts back."""

    keep: tuple[str, ...] = ()
    """Objectives watched while the fault is on, such as "availability >= 50% over 5s"; a breach aborts."""
    max_pods: Annotated[int | str, BeforeValidator(_limit)] | None = None
    """The most pods that may be touched: a count, or a percentage of each workload's pods, rounded down; by default what the target's pick says."""
    max_nodes: Annotated[int, Strict(), Limits(ge=1)] = 1
    """The most nodes that may be touched."""
    min_ready: Annotated[int, Strict(), Limits(ge=0)] = 1
    """How many pods of each touched workload must stay ready and untouched."""
    also_evict: tuple[Name, ...] = ()
    """Namespaces whose pods a drain may evict although they are protected or did not opt in."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Setup:
    """What is applied before the run: to a sandbox, or to a named cluster with --setup, and removed afterwards."""

    manifests: Path
    """A manifest file, or a folder of them. On a sandbox its containers run as processes of this user."""


Repeat = Annotated[int, Strict(), Limits(ge=1, le=1000)]
"""How often a fault is injected in one run."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Control:
    """An identical Service that is not faulted, under the same traffic: what breaches there too is not the fault's doing."""

    service: Name
    """The control's Service, in the target's namespace."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Experiment:
    """One claim put to the test. `slos` empty: the promises that fit the fault and its target are judged."""

    name: Name
    target: Target
    fault: SkipValidation[Fault]  # a Protocol: its class validated itself
    traffic: Traffic | None = None
    slos: SkipValidation[tuple[SLO, ...]] = ()
    aborts: SkipValidation[tuple[SLO, ...]] = ()  # guards.keep, parsed
    phases: Phases = field(default_factory=Phases)
    guards: Guards = field(default_factory=Guards)
    setup: Setup | None = None
    control: Control | None = None
    repeat: Repeat = 1
    """How often the fault is injected, each time on targets picked anew."""
    seed: int | None = None
    description: str = ""
    source: str = ""
