"""What all suites share: a cluster to talk to, and a namespace of their own in it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.behaviour.access import Access, user_access

CONTEXT_OPTION = "--chaos-context"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        CONTEXT_OPTION,
        default=None,
        metavar="NAME",
        help="run the behaviour tests on this context of your kubeconfig instead of a sandbox",
    )
    parser.addoption("--chaos-nightly", action="store_true", help="run the slow behaviour scenarios too")
    parser.addoption(
        "--chaos-record", default=None, metavar="FILE", help="keep the results of the behaviour scenarios in this file"
    )


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Iterator[Access]:
    """A cluster, as a kubeconfig and a context in it: a sandbox for the session, or the one that was named."""
    context = request.config.getoption(CONTEXT_OPTION)
    if context is not None:
        yield user_access(context)
        return
    from chaoskit.sandbox.cluster import sandbox

    with asyncio.Runner() as runner:
        cluster = sandbox()
        info = runner.run(cluster.__aenter__())
        try:
            yield Access(info.kubeconfig, info.context)
        finally:
            runner.run(cluster.__aexit__(None, None, None))


@pytest.fixture
def namespace(kubeconfig: Access) -> Iterator[str]:
    """A namespace for one test, deleted after it."""
    from kubernetes import client

    name = f"test-{secrets.token_hex(4)}"
    with kubeconfig.api_client() as api_client:
        core: Any = client.CoreV1Api(api_client)
        core.create_namespace({"metadata": {"name": name}})
        try:
            yield name
        finally:
            with contextlib.suppress(client.ApiException):
                core.delete_namespace(name)
