"""What an author states: whom, under which traffic, which fault, which promises, for how long, within which limits. Frozen values; never a procedure."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, SkipValidation, Strict, model_validator
from pydantic import Field as Limits
from pydantic.dataclasses import dataclass

from chaoskit.model.seams import SLO, Fault
from chaoskit.model.target import STRICT, Name, Target
from chaoskit.model.units import Duration, Rate, Ratio

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

    fresh: Ratio = 0.5
    """Share of requests on a connection of their own."""
    reuse: Ratio = 0.5
    """Share of requests on kept connections."""

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(self.fresh + self.reuse - 1) > 1e-9:
            raise ValueError("the shares of fresh and reuse must add up to 100%")
        return self


def _header(text: object) -> object:
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError("a header value must be one line of text")
    return text


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Traffic:
    """Who keeps using the system meanwhile: built-in arrivals at a rate (open model), or a locustfile with users (closed model)."""

    service: Name | None = None
    """The Service in the target's namespace that is used; found by its route."""
    url: Annotated[str, Limits(pattern=r"^https?://[^\s/]+")] | None = None
    """A base URL that leads to the application, instead of a route to the Service."""
    port: Annotated[int, Strict(), Limits(ge=1, le=65535)] | Name | None = None
    """The Service's port by number or name; needed when it has several."""
    path: Annotated[str, Limits(pattern=r"^/\S*$")] = "/"
    """The path requested."""
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE"] = "GET"
    """The HTTP method."""
    headers: dict[str, Annotated[str, BeforeValidator(_header)]] = field(default_factory=dict)
    """Headers sent with each request."""
    rate: Rate = 100.0
    """Requests a second, as 100/s."""
    arrivals: Literal["constant", "poisson"] = "constant"
    """How arrivals are spaced."""
    connections: Connections = field(default_factory=Connections)
    """The shares of the two connection policies."""
    timeout: Duration = 2.0
    """When a request counts as failed, from its intended start."""
    via: Literal["auto", "url", "loadBalancer", "nodePort", "clusterIP"] = "auto"
    """How the Service is reached; auto tries the others in this order."""
    identity: Identity = field(default_factory=Identity)
    """Which response headers name pod, version and node."""
    locustfile: Path | None = None
    """A user's own locustfile. It is code: it deserves the trust of a Makefile."""
    users: Annotated[int, Strict(), Limits(ge=1, le=100_000)] | None = None
    """How many users of the locustfile."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.service is None and self.url is None:
            raise ValueError("traffic needs a service or a url")
        if (self.locustfile is None) != (self.users is None):
            raise ValueError("locustfile and users belong together")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Phases:
    """How long each phase lasts; warm-up, inject and settle end by facts, these are their latest ends."""

    warm_up: Duration = 30.0
    """Latest end of the warm-up: the planned rate held and latency stable."""
    baseline: Duration = 10.0
    """How long the steady state is measured before the fault."""
    hold: Duration = 15.0
    """How long the fault is held once it was seen."""
    sustain: Duration = 5.0
    """How long every promise has to hold again before the run ends."""
    settle: Duration | None = None
    """Latest end of the settling; by default the longest bound of the promises plus sustain."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Guards:
    """The limits of the blast radius, and objectives whose breach aborts the run and puts back."""

    keep: tuple[str, ...] = ()
    """Objectives watched while the fault is on, such as "availability >= 50% over 5s"; a breach aborts."""
    max_pods: Annotated[int, Strict(), Limits(ge=1)] | None = None
    """The most pods that may be touched; by default what the target's pick says."""
    max_nodes: Annotated[int, Strict(), Limits(ge=1)] = 1
    """The most nodes that may be touched."""
    min_ready: Annotated[int, Strict(), Limits(ge=0)] = 1
    """How many pods of each touched workload must stay ready and untouched."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Setup:
    """What is applied before the run: to a sandbox, or to a named cluster with --setup, and removed afterwards."""

    manifests: Path
    """A manifest file, or a folder of them. On a sandbox its containers run as processes of this user."""


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
    seed: int | None = None
    description: str = ""
    source: str = ""
