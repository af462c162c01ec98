"""The behaviour suite's own fixtures: a namespace to act in, the nodes' power, and the record that the public table is made of.

`--chaos-context NAME` runs it on a real cluster, `--chaos-nightly` adds the slow scenarios, `--chaos-record FILE` keeps the results.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.behaviour.access import Access, eventually
from tests.behaviour.power import Power, power_of
from tests.behaviour.space import Space

_results: list[dict[str, Any]] = []
_HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario(behaviour, source, differs): what Kubernetes does, and who says so")
    config.addinivalue_line("markers", "nightly: slow; runs with --chaos-nightly only")
    config.addinivalue_line("markers", "whole_cluster: changes nodes; nothing else of the suite runs meanwhile")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = config.getoption("--chaos-context") is not None
    late = [] if config.getoption("--chaos-nightly") else [item for item in items if item.get_closest_marker("nightly")]
    for item in items:
        if not item.path.is_relative_to(_HERE):
            continue
        # A real cluster starts containers, not processes, and its own pace is slower.
        item.add_marker(pytest.mark.timeout(900 if named else 240 if item.get_closest_marker("nightly") else 120))
    if late:
        config.hook.pytest_deselected(items=late)
        items[:] = [item for item in items if item not in late]


@pytest.fixture(scope="session")
def wire(kubeconfig: Access) -> Iterator[httpx.Client]:
    """One connection pool for the session; nothing is sent twice."""
    with kubeconfig.http(timeout_s=30.0) as http:
        http.timeout = httpx.Timeout(30.0, pool=None)
        yield http


@pytest.fixture(scope="session")
def target(wire: httpx.Client, request: pytest.FixtureRequest) -> str:
    """What the cluster calls itself: `sandbox`, or the version of a real one."""
    real = request.config.getoption("--chaos-context") is not None
    return str(wire.get("/version").json()["gitVersion"]) if real else "sandbox"


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """On a real cluster that several workers share: a scenario about nodes waits until it is alone."""
    context = request.config.getoption("--chaos-context")
    if context is None or not hasattr(request.config, "workerinput"):
        yield
        return
    alone = request.node.get_closest_marker("whole_cluster") is not None
    with _turn(Path(tempfile.gettempdir()) / f"chaoskit-behaviour-{os.getuid()}-{context}", alone):
        yield


@contextlib.contextmanager
def _turn(path: Path, alone: bool) -> Iterator[None]:
    with path.with_suffix(".door").open("w") as door, path.with_suffix(".room").open("w") as room:
        # Whoever waits for the room keeps the door: so many small scenarios cannot starve one that must be alone.
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


@pytest.fixture
def space(
    kubeconfig: Access, wire: httpx.Client, target: str, turn: None, namespace: str, request: pytest.FixtureRequest
) -> Iterator[Space]:
    """A namespace of the scenario's own. Its watches end with it."""
    # A pod is refused until the namespace has its ServiceAccount.
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    eventually(lambda: wire.get(account).status_code == 200, 30, "the namespace has a ServiceAccount")
    with contextlib.ExitStack() as stack:
        made = Space(kubeconfig, wire, namespace, target != "sandbox", stack)
        try:
            yield made
        finally:
            request.node.user_properties.append(("noted", made.noted))


@pytest.fixture
def power(space: Space, request: pytest.FixtureRequest) -> Iterator[Power]:
    """The nodes' power switches; skips where nobody has them. Everything is switched on again at the end."""
    switches = power_of(space.http, request.config.getoption("--chaos-context"))
    if switches is None:
        pytest.skip("nobody holds the power switches of this cluster's nodes")
    try:
        yield switches
    finally:
        switches.restore()


@pytest.fixture(autouse=True)
def _named(request: pytest.FixtureRequest, target: str) -> None:
    request.node.user_properties.append(("target", target))
    marker = request.node.get_closest_marker("scenario")
    if marker is not None:
        request.node.user_properties.append(
            ("scenario", dict(zip(("behaviour", "source"), marker.args, strict=True)) | marker.kwargs)
        )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "tests/behaviour/" not in report.nodeid or (report.when != "call" and report.outcome == "passed"):
        return
    said = dict(report.user_properties)
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    _results.append(
        {
            "test": report.nodeid.partition("tests/behaviour/")[2].partition("@")[0],
            "target": said.get("target", ""),
            "outcome": report.outcome,
            "seconds": round(report.duration, 1),
            "scenario": said.get("scenario"),
            "noted": said.get("noted") or {},
            "reason": str(reason).removeprefix("Skipped: "),
        }
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--chaos-record")
    if file is None or hasattr(session.config, "workerinput"):
        return
    path = Path(file)
    said = json.loads(path.read_text()) if path.exists() else {"results": []}
    fresh = {one["test"]: one | {"date": _today()} for one in _results}
    merged = {one["test"]: one for one in said["results"]} | fresh
    path.write_text(
        json.dumps(said | {"results": sorted(merged.values(), key=lambda one: one["test"])}, indent=1) + "\n"
    )


def _today() -> str:
    return datetime.datetime.fromtimestamp(time.time(), datetime.UTC).date().isoformat()
