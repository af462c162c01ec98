"""An experiment's traffic as the generator and the search for a route are told it; values from the environment are looked up here, last.

What is looked up goes to the traffic process through its socket, and is written nowhere.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from chaoskit.model.errors import UsageError
from chaoskit.model.experiment import Experiment, Traffic
from chaoskit.model.plan import Caveat, Route
from chaoskit.model.sending import Body, FromEnv, Headers, SentRequest
from chaoskit.runner.redact import learn
from chaoskit.traffic import ports
from chaoskit.traffic.plan import RequestKind, Tls, TrafficPlan

_SAFE = ("GET", "HEAD")


def traffic_plan(
    experiment: Experiment,
    route: Route,
    seed: int,
    environ: Mapping[str, str] = os.environ,
    lasts_s: float | None = None,
) -> TrafficPlan:
    """The experiment's traffic, as the generator is told it. Raises UsageError for a header whose variable is not set."""
    traffic = experiment.traffic
    assert traffic is not None
    return TrafficPlan(
        url=route.base_url,
        rate_per_s=traffic.rate,
        arrivals=traffic.arrivals,
        policies={"fresh": traffic.connections.fresh, "reuse": traffic.connections.reuse},
        timeout_s=traffic.timeout,
        seed=seed,
        headers=looked_up(traffic.headers, environ),
        identity={"pod": traffic.identity.pod, "version": traffic.identity.version, "node": traffic.identity.node},
        locustfile=traffic.locustfile,
        users=traffic.users or 1,
        processes=traffic.processes,
        requests=tuple(_kind(sent, environ) for sent in traffic.kinds),
        tls=tls_of(traffic),
        resolve_every_s=traffic.resolve_every,
        lasts_s=lasts_s,
        trust_client=traffic.trust_client,
    )


def looked_up(headers: Headers, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The headers with their values from the environment. Raises UsageError, which names the variable and never its value."""
    return {name: _value(name, value, environ) for name, value in headers.items()}


def refuse_missing_values(experiment: Experiment, environ: Mapping[str, str] = os.environ) -> None:
    """Raises UsageError for the first header whose variable is not set: before anything is started."""
    if experiment.traffic is not None:
        for headers in (experiment.traffic.headers, *(sent.headers for sent in experiment.traffic.requests)):
            looked_up(headers, environ)


def _value(name: str, value: str | FromEnv, environ: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return value
    variable = value.value_from.env
    found = environ.get(variable, "")
    if not found:
        raise UsageError(
            f"header {name} of the traffic comes from the environment variable {variable}, which is not set"
        )
    learn([found, found.partition(" ")[2]])
    if not found.isprintable():
        raise UsageError(f"header {name} of the traffic comes from {variable}, which is not one line of printable text")
    return found


def tls_of(traffic: Traffic) -> Tls:
    """Whom the traffic trusts."""
    tls = traffic.tls
    if tls is None:
        return Tls()
    return Tls(tls.ca_file, tls.server_name or "", tls.cert_file, tls.key_file, tls.insecure_skip_verify)


def _kind(sent: SentRequest, environ: Mapping[str, str]) -> RequestKind:
    headers, body = looked_up(sent.headers, environ), sent.body
    if body is not None and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = _content_type(body)
    return RequestKind(sent.path, sent.method, headers, _carried(body), sent.chunked, sent.weight, sent.name)


def _carried(body: Body | None) -> bytes | Path:
    if body is None:
        return b""
    if body.file is not None:
        return body.file
    return body.text.encode() if body.text is not None else json.dumps(body.json).encode()


def _content_type(body: Body) -> str:
    if body.file is not None:
        return "application/octet-stream"
    return "text/plain; charset=utf-8" if body.text is not None else "application/json"


def tried(traffic: Traffic, environ: Mapping[str, str] = os.environ) -> tuple[str, dict[str, str], bool]:
    """What a way to the application is tried with, which must change nothing there: path and headers of a GET, and whether it is one of the
    traffic's own; with none among them the path of the first."""
    own = next((sent for sent in traffic.kinds if sent.method in _SAFE), None)
    sent = own or traffic.kinds[0]
    return sent.path, looked_up({**traffic.headers, **sent.headers}, environ), own is not None


def caveats(experiment: Experiment, route: Route | None, lasts_s: float) -> tuple[Caveat, ...]:
    """What a reader of the plan should know of its traffic."""
    traffic = experiment.traffic
    if traffic is None or route is None:
        return ()
    found = []
    if traffic.tls is not None and traffic.tls.insecure_skip_verify:
        what = (
            "the traffic trusts whoever answers (tls.insecureSkipVerify): it may not be your service that is measured"
        )
        found.append(Caveat(what, fix="give tls.caFile"))
    if traffic.trust_client:
        what = "clients of the locustfile's own are taken at their word (trustClient): dropped requests that they hide are not counted"
        found.append(Caveat(what))
    host = urlsplit(route.base_url).hostname or ""
    if traffic.locustfile is None and _is_address(host):
        plan = TrafficPlan(
            route.base_url,
            rate_per_s=traffic.rate,
            policies={"fresh": traffic.connections.fresh, "reuse": traffic.connections.reuse},
            lasts_s=lasts_s,
        )
        if why := ports.refusal(plan, [host]):
            found.append(Caveat(why, blocks=True))
        elif why := ports.caution(plan, [host]):
            found.append(Caveat(why))
    return tuple(found)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
