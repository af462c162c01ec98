"""The store: revisions, replay, the past, and what is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoskit.sandbox.store import Change, Expired, Store, thaw


def _obj(name: str, namespace: str = "ns", uid: str = "", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "uid": uid or f"uid-{namespace}-{name}"} | more}


def _told(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.type, change.key[1]) for change in changes]


def test_revisions_only_grow_and_stand_in_the_object() -> None:
    store = Store()
    revisions = [store.put("pods", _obj(name)).revision for name in ("a", "b", "a")]
    revisions.append(store.remove("pods", "ns", "b").revision)
    assert revisions == sorted(set(revisions)) and store.revision == revisions[-1]
    found = store.get("pods", "ns", "a")
    assert found is not None and found.obj["metadata"]["resourceVersion"] == str(found.revision)


def test_what_is_handed_out_is_never_changed_by_a_later_write() -> None:
    store = Store()
    first = store.put("pods", _obj("a"))
    before = thaw(first.obj)
    store.put("pods", thaw(first.obj))
    store.remove("pods", "ns", "a")
    assert first.obj == before


def test_a_replay_from_any_revision_gives_exactly_the_rest() -> None:
    store = Store()
    for name in ("a", "b", "c", "a"):
        store.put("pods", _obj(name))
    store.remove("pods", "ns", "c")
    everything = store.since("pods", 1)
    for index, change in enumerate(everything):
        assert store.since("pods", change.after.revision) == everything[index + 1 :]
    assert _told(everything) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"), ("MODIFIED", "a"), ("DELETED", "c")]


def test_what_the_ring_has_forgotten_is_expired_and_what_it_holds_is_not() -> None:
    store = Store(ring=3)
    revisions = [store.put("pods", _obj("a")).revision for _ in range(5)]
    with pytest.raises(Expired):
        store.since("pods", revisions[0])
    assert len(store.since("pods", revisions[1])) == 3
    assert store.since("configmaps", 1) == []


def test_the_past_is_computed_from_what_happened_since() -> None:
    store = Store()
    for name in ("a", "b"):
        store.put("pods", _obj(name))
    then = store.revision
    store.put("pods", _obj("c"))
    store.put("pods", _obj("a", labels={"new": "yes"}))
    store.remove("pods", "ns", "b")
    past = store.at("pods", "ns", then)
    assert [version.obj["metadata"]["name"] for version in past] == ["a", "b"]
    assert "labels" not in past[0].obj["metadata"]
    assert [version.obj["metadata"]["name"] for version in store.items("pods")] == ["a", "c"]


def test_items_come_in_key_order_by_namespace() -> None:
    store = Store()
    for namespace, name in (("b", "1"), ("a", "2"), ("a", "1")):
        store.put("pods", _obj(name, namespace))
    keys = [(v.obj["metadata"]["namespace"], v.obj["metadata"]["name"]) for v in store.items("pods")]
    assert keys == [("a", "1"), ("a", "2"), ("b", "1")]
    assert len(list(store.items("pods", "a"))) == 2


def test_a_subscription_begins_with_what_exists_and_goes_on() -> None:
    async def follow() -> list[tuple[str, str]]:
        store = Store()
        store.put("pods", _obj("old"))
        subscription = store.subscribe(["pods", "nodes"])
        store.put("pods", _obj("new"))
        store.put("configmaps", _obj("other"))
        store.remove("pods", "ns", "old")
        seen = [await anext(subscription) for _ in range(3)]
        subscription.close()
        assert [change async for change in subscription] == []
        return _told(seen)

    assert asyncio.run(follow()) == [("ADDED", "old"), ("ADDED", "new"), ("DELETED", "old")]


def test_a_subscription_wakes_a_waiting_reader() -> None:
    async def wait() -> list[Change]:
        store = Store()
        subscription = store.subscribe(["pods"])
        reader = asyncio.create_task(subscription.batch())
        await asyncio.sleep(0)
        store.put("pods", _obj("a"))
        return await asyncio.wait_for(reader, 1)

    assert _told(asyncio.run(wait())) == [("ADDED", "a")]


def test_a_reader_that_falls_behind_is_cut_off() -> None:
    store = Store()
    subscription = store.subscribe(["pods"], limit=2, initial=False)
    for _ in range(3):
        store.put("pods", _obj("a"))
    assert subscription.overflowed
    store.put("pods", _obj("a"))
    assert len(subscription.pending()) == 2


def test_dependents_follow_their_owner_references() -> None:
    store = Store()
    store.put("pods", _obj("a", ownerReferences=[{"uid": "owner"}]))
    store.put("pods", _obj("b", ownerReferences=[{"uid": "owner"}]))
    assert store.dependents("owner") == [("pods", "ns", "a"), ("pods", "ns", "b")]
    store.put("pods", _obj("a"))
    assert store.dependents("owner") == [("pods", "ns", "b")]
    store.remove("pods", "ns", "b")
    assert store.dependents("owner") == [] and store.by_uid("uid-ns-b") is None
    assert store.by_uid("uid-ns-a") == ("pods", "ns", "a")


def test_one_version_is_encoded_once_for_all_readers() -> None:
    version = Store().put("pods", _obj("a"))
    assert version.encoded is version.encoded
