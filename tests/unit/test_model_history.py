"""The history of a run: events in, objects, windows and gaps out."""

from __future__ import annotations

from chaoskit.model.event import Event
from chaoskit.model.history import History
from chaoskit.model.resource import Ref
from tests.histories import Told, kill, ns, pod, window


def test_windows_follow_phases_and_the_first_mutation() -> None:
    told = (
        Told()
        .phases(warm_up=0, baseline=5, inject=15, hold=17, revert=32, settle=32, ended=40)
        .done_and_seen(16, kill("a"))
    )
    history = told.history()
    assert history.windows("baseline") == [window("baseline", 5, 15)]
    assert history.windows("fault") == [window("fault", 16, 32)]
    assert history.windows("recovery") == [window("recovery", 32, 40)]
    assert history.windows("run") == [window("run", 5, 40)]


def test_a_run_that_stopped_early_has_the_windows_it_reached() -> None:
    history = Told().phases(baseline=5, revert=9, ended=10).history()
    assert history.windows("baseline") == [window("baseline", 5, 9)]
    assert history.windows("fault") == []
    assert Told().history().windows("run") == []


def test_an_open_window_reaches_to_the_last_thing_known() -> None:
    told = Told().phases(baseline=5, inject=15).done_and_seen(16, kill("a")).see("pods", 21, pod("a"))
    assert told.history().windows("fault") == [window("fault", 16, 21)]


def test_objects_are_timelines_by_uid_and_deleted_ones_are_none() -> None:
    history = Told().see("pods", 1, pod("a"), pod("x", owned_by="other")).gone("pods", 2, pod("a")).history()
    line = history.objects("pods").each()["a"]
    assert [value is None for value in line.values] == [False, True]
    assert list(history.objects("pods", owner=Ref("ReplicaSet", "shop-1", "shop", "rs")).each()) == ["a"]
    assert history.objects("nodes").each() == {}


def test_a_feed_is_heard_when_it_was_opened_or_told_something() -> None:
    history = Told().see("pods", 1, pod("a")).history()
    history.add(Event(99, ns(2), "feed.opened", {"feed": "nodes"}))
    assert history.heard("pods")
    assert history.heard("nodes")
    assert not history.heard("events")


def test_gaps_touch_a_window_when_they_overlap_it() -> None:
    history = Told().deaf("pods", 5, 8).history()
    assert [gap.feed for gap in history.gaps(frozenset({"pods"}), window("fault", 7, 9))] == ["pods"]
    assert history.gaps(frozenset({"pods"}), window("fault", 8, 9)) == []
    assert history.gaps(frozenset({"nodes"}), window("fault", 0, 9)) == []


def test_events_of_unknown_kinds_are_kept_and_selected_by_kind_and_window() -> None:
    history = History()
    history.add(Event(0, ns(1), "from.a.later.version", {"x": 1}))
    history.add(Event(1, ns(2), "phase", {"name": "baseline"}))
    assert [event.seq for event in history.of("from.a.later.version")] == [0]
    assert history.of("phase", within=window("", 3, 4)) == []
    assert history.phase_start("baseline") == ns(2)
    assert history.injected_ns() is None


def test_the_subject_and_the_plan_come_from_the_planned_event() -> None:
    history = Told(timeout=1.5).history()
    assert [each["metadata"]["name"] for each in history.subject.pods] == ["a", "b", "c"]
    assert history.plan["traffic"]["timeout"] == 1.5
