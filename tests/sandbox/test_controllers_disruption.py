"""Disruption budgets: the arithmetic as a table, and evictions against the real registry, granted and refused."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.sandbox.controllers.loop import crashes
from chaoskit.sandbox.facts.budgets import tally
from chaoskit.sandbox.registry import ApiError, Obj

from .controlled import World, daemons, run, set_ready, template, until, workload, world

NOW_S = 1_800_000_000.0
LATELY, LONG_AGO = "2027-01-15T07:59:00Z", "2027-01-15T07:00:00Z"


@pytest.fixture(autouse=True)
def _no_crash() -> Any:
    crashes.clear()
    yield
    assert not crashes


def pod(name: str, *, ready: bool = True, ending: bool = False) -> Obj:
    metadata = {"name": name} | ({"deletionTimestamp": LATELY} if ending else {})
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


@pytest.mark.parametrize(
    ("spec", "scale", "ready", "desired", "allowed"),
    [
        ({"minAvailable": 2}, 3, 3, 2, 1),
        ({"minAvailable": 3}, 3, 3, 3, 0),
        ({"minAvailable": 5}, 3, 3, 5, 0),
        ({"minAvailable": "50%"}, 3, 3, 2, 1),
        ({"minAvailable": "50%"}, 7, 7, 4, 3),
        ({"minAvailable": "0%"}, 3, 3, 0, 3),
        ({"maxUnavailable": 1}, 3, 3, 2, 1),
        ({"maxUnavailable": 1}, 3, 2, 2, 0),
        ({"maxUnavailable": "30%"}, 3, 3, 2, 1),
        ({"maxUnavailable": "34%"}, 3, 3, 1, 2),
        ({"maxUnavailable": 5}, 3, 3, 0, 3),
        ({"maxUnavailable": 0}, 3, 3, 3, 0),
        ({}, 3, 3, 0, 3),
        ({"minAvailable": 0}, 0, 0, 0, 0),
    ],
)
def test_percentages_round_up_and_nothing_is_allowed_below_what_is_desired(
    spec: Obj, scale: int, ready: int, desired: int, allowed: int
) -> None:
    pods = [pod(f"p{number}") for number in range(ready)]
    found = tally({"spec": spec, "metadata": {}}, pods, scale, NOW_S)
    assert (found.desired, found.healthy, found.allowed) == (desired, ready, allowed)


def test_neither_what_is_ending_nor_what_was_just_evicted_is_healthy() -> None:
    noted = {"a": LATELY, "b": LONG_AGO, "gone": LATELY, "ending": LATELY}
    budget = {"spec": {"minAvailable": 1}, "metadata": {}, "status": {"disruptedPods": noted}}
    pods = [pod("a"), pod("b"), pod("ending", ending=True), pod("sick", ready=False)]
    found = tally(budget, pods, 4, NOW_S)
    assert found.healthy == 1, "b is still here two minutes later, so it counts again"
    assert dict(found.disrupted) == {"a": LATELY}


def budget(here: World, name: str = "p", app: str = "web", **spec: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": app}}, **spec}}
    here.apply("poddisruptionbudgets", body)


def status(here: World, name: str = "p") -> Obj:
    found: Obj = here.registry.get("poddisruptionbudgets", "shop", name)["status"]
    return found


def numbers(here: World) -> tuple[int, int, int]:
    found = status(here)
    return found["disruptionsAllowed"], found["currentHealthy"], found["expectedPods"]


def refusal(here: World, name: str, **more: Any) -> ApiError:
    with pytest.raises(ApiError) as refused:
        here.registry.evict("shop", name, actor="test", **more)
    return refused.value


async def three_guarded(here: World, **spec: Any) -> list[str]:
    here.apply("deployments", workload("Deployment"))
    await here.settled()
    budget(here, **spec)
    await until(lambda: status(here).get("observedGeneration") == 1, "the budget is counted")
    return [each["metadata"]["name"] for each in here.pods()]


def test_an_eviction_writes_the_budget_the_condition_and_the_deletion_in_this_order() -> None:
    async def main() -> None:
        async with world() as here:
            here.graceful_s = 0.5
            names = await three_guarded(here, minAvailable=2)
            assert numbers(here) == (1, 3, 3) and status(here)["conditions"][0]["reason"] == "SufficientPods"
            watch = here.registry.subscribe("pods", "poddisruptionbudgets")
            watch.pending()
            here.registry.evict("shop", names[0], actor="test")
            charged, marked, deleted = watch.pending()
            assert charged.obj["status"]["disruptedPods"].keys() == {names[0]}
            assert charged.obj["status"]["conditions"][0]["reason"] == "InsufficientPods"
            assert charged.obj["status"]["disruptionsAllowed"] == 0
            condition = marked.obj["status"]["conditions"][-1]
            assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "EvictionByEvictionAPI")
            assert "deletionTimestamp" in deleted.obj["metadata"]
            second = refusal(here, names[1])
            assert (second.code, second.retry_after_s) == (429, None)
            await until(lambda: "disruptedPods" not in status(here), "the deletion was seen")
            await until(lambda: numbers(here) == (1, 3, 3), "a replacement is ready and the old one gone")
            counts = {each.obj["status"]["expectedPods"] for each in watch.pending() if each.resource != "pods"}
            assert counts == {3, 4}, "while the old one ends, four are expected"

    run(main())


def test_a_refusal_reads_as_recorded_and_changes_nothing() -> None:
    async def main() -> None:
        async with world() as here:
            names = await three_guarded(here, minAvailable=3)
            before = here.registry.store.revision
            for dry in (False, True):
                refused = refusal(here, names[0], dry_run=dry)
                assert refused.status == {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Failure",
                    "message": "Cannot evict pod as it would violate the pod's disruption budget.",
                    "reason": "TooManyRequests",
                    "details": {
                        "causes": [
                            {
                                "reason": "DisruptionBudget",
                                "message": "The disruption budget p needs 3 healthy pods and has 3 currently",
                            }
                        ]
                    },
                    "code": 429,
                }
            assert here.registry.store.revision == before

    run(main())


def test_a_budget_not_yet_counted_asks_to_come_again_and_two_budgets_are_an_error() -> None:
    async def main() -> None:
        async with world() as here:
            names = await three_guarded(here, minAvailable=1)
            here.patch("poddisruptionbudgets", "p", {"spec": {"minAvailable": 0}})
            early = refusal(here, names[0])
            assert (early.code, early.retry_after_s) == (429, 10)
            assert "still being processed" in early.status["details"]["causes"][0]["message"]
            budget(here, "q", minAvailable=0)
            both = refusal(here, names[0])
            assert both.code == 500 and "reason" not in both.status and "details" not in both.status

    run(main())


@pytest.mark.parametrize(("policy", "ready", "code"), [(None, 2, 201), (None, 1, 429), ("AlwaysAllow", 1, 201)])
def test_a_pod_that_is_not_ready_goes_when_the_others_suffice_or_always(
    policy: str | None, ready: int, code: int
) -> None:
    async def main() -> None:
        async with world() as here:
            spec = {"minAvailable": 2} | ({"unhealthyPodEvictionPolicy": policy} if policy else {})
            names = await three_guarded(here, **spec)
            for pod in here.pods()[ready:]:
                set_ready(here.registry, pod, False)
            await until(lambda: numbers(here)[1] == ready, "counted")
            if code == 429:
                assert refusal(here, names[2]).code == 429
            else:
                here.registry.evict("shop", names[2], actor="test")
                assert not status(here).get("disruptedPods"), "it costs the budget nothing"

    run(main())


def test_a_pending_pod_passes_and_a_stale_uid_costs_the_budget_all_the_same() -> None:
    async def main() -> None:
        async with world(nodes=0) as here:
            budget(here, minAvailable=1)
            here.apply("pods", {"metadata": {"name": "waiting", "labels": {"app": "web"}}, "spec": template()["spec"]})
            await until(lambda: status(here).get("expectedPods") == 1, "counted")
            here.registry.evict("shop", "waiting", actor="test")
            assert not here.pods()
        async with world() as here:
            names = await three_guarded(here, minAvailable=2)
            stale = refusal(here, names[0], uid="1111")
            assert stale.code == 409 and numbers(here)[0] == 0 and status(here)["disruptedPods"].keys() == {names[0]}
            assert not any(each["type"] == "DisruptionTarget" for each in here.pods()[0]["status"]["conditions"])

    run(main())


def test_the_scale_is_that_of_the_deployment_and_a_controller_without_one_fails_the_count() -> None:
    async def main() -> None:
        async with world() as here:
            await three_guarded(here, maxUnavailable="50%")
            assert (status(here)["desiredHealthy"], numbers(here)) == (1, (2, 3, 3))
            here.patch("deployments", "web", {"spec": {"replicas": 6}})
            await until(lambda: numbers(here) == (3, 6, 6), "the new scale")
            here.apply("daemonsets", daemons())
            budget(here, "d", app="agent", maxUnavailable=1)
            await until(lambda: "conditions" in status(here, "d"), "an answer")
            condition = status(here, "d")["conditions"][0]
            assert (condition["status"], condition["reason"]) == ("False", "SyncFailed")
            assert condition["message"] == "daemonsets.apps does not implement the scale subresource"

    run(main())
