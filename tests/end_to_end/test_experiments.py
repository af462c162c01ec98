"""Every file in experiments/ passes, and its fragile namesake fails with the promise it names. Whole runs, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.running import EXPERIMENTS, Place

FRAGILE_BREAKS = {
    "checkout-survives-a-killed-pod": "availability",
    "storefront-survives-a-drained-node": "availability",
    "checkout-restarts-in-place-when-liveness-fails": "restartedInPlace",
    "storefront-leaves-and-returns-when-readiness-fails": "returnsToService",
    "checkout-contains-a-bad-canary": "availability",
}
"""The promise that each fragile twin breaks."""


def test_every_experiment_has_a_fragile_namesake() -> None:
    sturdy = {path.name for path in EXPERIMENTS.glob("*.yaml")}
    assert (
        sturdy
        == {path.name for path in (EXPERIMENTS / "fragile").glob("*.yaml")}
        == {f"{name}.yaml" for name in FRAGILE_BREAKS}
    )


@pytest.mark.parametrize("name", FRAGILE_BREAKS)
def test_a_sturdy_application_passes(name: str, tmp_path: Path) -> None:
    place = Place(tmp_path)
    ended = place.run("run", str(EXPERIMENTS / f"{name}.yaml"), "--sandbox", "-o", "json")
    assert ended.code == 0, ended.out + ended.err
    assert ended.result["verdict"] == "PASS"
    assert ended.result["restored"] == "yes"
    assert place.leftovers() == []


@pytest.mark.parametrize("name", FRAGILE_BREAKS)
def test_a_fragile_application_fails_with_the_promise_it_breaks(name: str, tmp_path: Path) -> None:
    place = Place(tmp_path)
    ended = place.run("run", str(EXPERIMENTS / "fragile" / f"{name}.yaml"), "--sandbox", "-o", "json")
    assert ended.code == 1, ended.out + ended.err
    broken = [finding for finding in ended.result["findings"] if finding["grade"] == "FAIL"]
    assert FRAGILE_BREAKS[name] in {finding["slo"].split()[0] for finding in broken}
    assert all(any(digit.isdigit() for digit in finding["because"]) for finding in broken)
    assert place.leftovers() == []
