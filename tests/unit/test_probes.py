"""Probes: what is watched becomes a feed, pruned, and a closed probe leaves no watch behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from importlib.metadata import EntryPoint
from typing import Any, cast

import pytest

import chaoskit.probes as probes
from chaoskit.model.errors import ClusterError
from chaoskit.model.resource import Obj, Ref
from chaoskit.model.seams import Gap, Listed, Seen, Sight
from chaoskit.model.step import Condition
from chaoskit.model.subject import Subject
from chaoskit.probes import PROBES, load_probe, probes_for
from tests.histories import deployment, pod, replicaset, shop


class Scripted:
    """A View whose watches say what they are given and then wait; `open` counts the watches that were not closed."""

    def __init__(self, script: dict[tuple[str, str], Sequence[Sight | Exception]]) -> None:
        self.script = script
        self.open = 0
        self.asked: list[tuple[str, str]] = []

    async def watch(self, kind: str, namespace: str = "", *, labels: str = "") -> AsyncIterator[Sight]:
        self.open += 1
        self.asked.append((kind, namespace))
        try:
            for heard in self.script.get((kind, namespace), ()):
                if isinstance(heard, Exception):
                    raise heard
                yield heard
            await asyncio.Event().wait()
        finally:
            self.open -= 1

    async def get(self, ref: Ref) -> Obj:
        raise AssertionError("a probe only watches")

    async def find(self, ref: Ref) -> Obj | None:
        raise AssertionError("a probe only watches")

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[Obj]:
        raise AssertionError("a probe only watches")

    async def holds(self, condition: Condition) -> bool:
        raise AssertionError("a probe only watches")


def seen(obj: Obj, t_ns: int = 1) -> Seen:
    return Seen(t_ns, "whatever the watch calls it", "ADDED", obj)


def heard(kind: str, view: Scripted, count: int, subject: Subject | None = None) -> list[Sight]:
    """The first `count` things a probe tells; then it is closed."""

    async def collect() -> list[Sight]:
        told: list[Sight] = []
        async with aclosing(cast("Any", load_probe(kind).observe(view, subject or shop()))) as sights:
            async for sight in sights:
                told.append(sight)
                if len(told) == count:
                    break
        assert view.open == 0
        return told

    return asyncio.run(asyncio.wait_for(collect(), 10))


def test_pods_are_pruned_and_bear_the_feeds_name() -> None:
    secret = {"name": "app", "env": [{"name": "PASSWORD", "value": "secret"}]}
    (told,) = heard("pods", Scripted({("Pod", "shop"): [seen(pod("a", containers=[secret]))]}), 1)
    assert isinstance(told, Seen)
    assert (told.feed, told.type, told.t_ns) == ("pods", "ADDED", 1)
    assert "secret" not in str(told.obj)
    assert told.obj["metadata"]["uid"] == "a"


def test_a_gap_is_passed_on_under_the_feeds_name() -> None:
    told = heard("endpoints", Scripted({("EndpointSlice", "shop"): [Gap(1, 5, "endpointslices", "cut")]}), 1)
    assert told == [Gap(1, 5, "endpoints", "cut")]


def test_workloads_are_two_watches_in_one_feed_with_their_kinds() -> None:
    bare = {key: value for key, value in replicaset().items() if key != "kind"}
    view = Scripted({("Deployment", "shop"): [seen(deployment())], ("ReplicaSet", "shop"): [seen(bare)]})
    told = heard("workloads", view, 2)
    assert {cast("Seen", each).obj["kind"] for each in told} == {"Deployment", "ReplicaSet"}
    assert {each.feed for each in told} == {"workloads"}


def test_a_feed_of_two_watches_is_listed_when_both_are() -> None:
    deployments, replicasets = ("Deployment", "shop"), ("ReplicaSet", "shop")
    one: dict[tuple[str, str], Sequence[Sight | Exception]]
    one = {deployments: [Listed(1, "deployments"), seen(deployment())], replicasets: []}
    assert not [each for each in heard("workloads", Scripted(one), 1) if isinstance(each, Listed)]
    one = {deployments: [Listed(1, "deployments")], replicasets: [Listed(2, "replicasets")]}
    assert heard("workloads", Scripted(one), 1) == [Listed(2, "workloads")]


def test_every_namespace_of_the_subject_is_watched_and_nodes_have_none() -> None:
    far: Any = pod("far")
    far["metadata"]["namespace"] = "other"
    view = Scripted({("Event", "other"): [seen(pod("x"))]})
    heard("events", view, 1, shop(pod("a"), far))
    assert sorted(view.asked) == [("Event", "other"), ("Event", "shop")]
    view = Scripted({("Node", ""): [seen({"metadata": {"name": "n1", "uid": "n1"}})]})
    heard("nodes", view, 1)
    assert view.asked == [("Node", "")]


def test_what_a_watch_raises_is_raised_and_ends_the_others() -> None:
    view = Scripted({("Deployment", "shop"): [ClusterError("forbidden", 403)]})
    with pytest.raises(ClusterError, match="forbidden"):
        heard("workloads", view, 1)
    assert view.open == 0


def test_a_cancelled_probe_closes_its_watches() -> None:
    view = Scripted({("Pod", "shop"): [seen(pod("a"))]})

    async def cancel() -> None:
        async def follow() -> None:
            async for _ in load_probe("pods").observe(view, shop()):
                begun.set()

        begun = asyncio.Event()
        following = asyncio.create_task(follow())
        await asyncio.wait_for(begun.wait(), 10)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert view.open == 0

    asyncio.run(cancel())


@pytest.mark.parametrize("kind", list(PROBES))
def test_each_probe_writes_the_feed_of_its_name(kind: str) -> None:
    probe = load_probe(kind)
    assert probe.kind == kind
    assert probe.feeds == {kind}


def test_probes_are_chosen_by_feed_each_once() -> None:
    assert [probe.kind for probe in probes_for(["pods", "nodes", "pods"])] == ["nodes", "pods"]
    assert probes_for([]) == ()


def test_a_feed_or_a_kind_that_nobody_has_is_an_error() -> None:
    with pytest.raises(ValueError, match="no probe writes the feed 'weather'"):
        probes_for(["weather"])
    with pytest.raises(ValueError, match="'weather' is not a probe; known: pods"):
        load_probe("weather")


def test_another_package_may_offer_a_probe_but_not_take_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def offer(*names: str) -> None:
        points = [EntryPoint(name, "chaoskit.probes.feeds:Nodes", probes.GROUP) for name in names]
        monkeypatch.setattr(probes, "entry_points", lambda group: points)

    offer("weather")
    assert load_probe("weather").kind == "nodes"
    offer("pods")
    with pytest.raises(ValueError, match="'pods' is offered by two packages, chaoskit and"):
        load_probe("nodes")
