"""Trouble over real HTTP: the sandbox refuses, cuts off and leaves hanging chosen calls, and mangles watches; a run over it leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.safety.killing import Scene, scene

NODES, RECORDS, LEASES, PODS = "^/api/v1/nodes/", "/configmaps", "/leases", "^/api/v1/namespaces/shop/pods$"

TROUBLES: tuple[list[Mapping[str, Any]], ...] = (
    [{"method": "PATCH", "path": NODES, "kind": "reset-after"}, {"path": PODS, "kind": "duplicate", "times": 5}],
    [{"method": "PATCH", "path": NODES, "kind": "503", "skip": 1}, {"path": PODS, "kind": "drop", "times": 2}],
    [
        {"method": "PATCH", "path": NODES, "kind": "422", "skip": 1},
        {"method": "POST", "path": RECORDS, "kind": "reset-after"},
    ],
    [{"method": "PUT", "path": RECORDS, "kind": "reset-before"}, {"method": "POST", "path": LEASES, "kind": "429"}],
    [{"method": "GET", "path": LEASES, "kind": "401"}, {"method": "POST", "path": "/eviction$", "kind": "reset-after"}],
)


async def _order(here: Scene, rules: list[Mapping[str, Any]]) -> None:
    await here.live.transport.looking.put("/trouble.chaoskit.dev", json=rules)


async def _applied(here: Scene) -> list[bool]:
    answer = await here.live.transport.looking.get("/trouble.chaoskit.dev")
    return [bool(count) for count in answer.json()]


def test_a_drain_over_a_troubled_api_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSKIT_SANDBOX_TROUBLE", "1")

    async def story() -> None:
        async with scene() as here:
            for trouble in TROUBLES:
                await _order(here, trouble)
                code = await here.ended(here.job("drainNode"))
                met = await _applied(here)
                await _order(here, [])
                await here.settled()
                assert all(met), f"{trouble} {met}: some met no call"
                assert await here.is_as_before(10.0), (trouble, code, here.said[-4:])

    asyncio.run(story())
