"""All that is known of a run: events, objects over time, requests. One class for the live tail and the saved run. Holds and answers; never judges."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaoskit.model.event import Event
from chaoskit.model.requests import Requests
from chaoskit.model.resource import Json, Obj, Ref
from chaoskit.model.subject import Subject, subject_from_json
from chaoskit.model.timeline import Census
from chaoskit.model.verdict import Window


@dataclass(frozen=True, slots=True)
class Deaf:
    """A stretch in which a feed heard nothing."""

    feed: str
    start_ns: int
    end_ns: int
    because: str


@dataclass(slots=True)
class History:
    """`add` takes each event once, in order. `requests` must be ordered by intended start when it is judged; `control`: those to an identical
    Service that was not faulted, None when there is no such control. `memo` is the judges' own: what they computed of a window.
    """

    subject: Subject = field(default_factory=Subject)
    requests: Requests = field(default_factory=Requests)
    control: Requests | None = None
    events: list[Event] = field(default_factory=list)
    feeds: dict[str, Census[Obj]] = field(default_factory=dict)
    deaf: list[Deaf] = field(default_factory=list)
    plan: Mapping[str, Json] = field(default_factory=dict)
    memo: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def add(self, event: Event) -> None:
        """Take in one event."""
        match event.kind:
            case "seen":
                self._see(event)
                return
            case "planned":
                self.subject = subject_from_json(event.data["subject"])
                self.plan = event.data
            case "feed.opened":
                self.feeds.setdefault(event.data["feed"], Census())
            case "feed.gap":
                self.deaf.append(
                    Deaf(event.data["feed"], event.data["start"], event.data["end"], event.data["because"])
                )
        self.events.append(event)

    def _see(self, event: Event) -> None:
        obj = event.data["obj"]
        census = self.feeds.setdefault(event.data["feed"], Census())
        census.record(obj["metadata"]["uid"], event.t_ns, None if event.data["type"] == "DELETED" else obj)

    def of(self, *kinds: str, within: Window | None = None) -> Sequence[Event]:
        """The events of these kinds, in order."""
        return [event for event in self.events if event.kind in kinds and (within is None or within.holds(event.t_ns))]

    def objects(self, feed: str, *, owner: Ref | None = None) -> Census[Obj]:
        """The objects of a feed; with an owner, only those its uid controls directly."""
        census = self.feeds.get(feed, Census())
        if owner is None:
            return census
        return census.only(
            lambda obj: any(
                ref["uid"] == owner.uid and ref.get("controller")
                for ref in obj["metadata"].get("ownerReferences") or ()
            )
        )

    def heard(self, feed: str) -> bool:
        """Whether the feed was opened at all."""
        return feed in self.feeds

    def gaps(self, feeds: frozenset[str], window: Window) -> Sequence[Deaf]:
        """The stretches inside the window in which one of the feeds was deaf."""
        return [
            gap
            for gap in self.deaf
            if gap.feed in feeds and gap.start_ns < window.end_ns and gap.end_ns > window.start_ns
        ]

    def phase_start(self, name: str, round: int = 0) -> int | None:
        """When a phase of a round began, or None. A run ends once, whatever its rounds."""
        return next(
            (
                event.t_ns
                for event in self.of("phase")
                if event.data["name"] == name and (name == "ended" or event.data.get("round", 0) == round)
            ),
            None,
        )

    @property
    def rounds(self) -> int:
        """How many rounds were begun: 1 unless the fault is injected several times."""
        return 1 + max((int(event.data.get("round", 0)) for event in self.of("phase")), default=0)

    @property
    def now_ns(self) -> int:
        """The time of the last thing known."""
        last_event = self.events[-1].t_ns if self.events else 0
        return max(
            [last_event, *(line.times[-1] for census in self.feeds.values() for line in census.timelines.values())]
        )

    def injected_ns(self, round: int = 0) -> int | None:
        """When the first mutation of the fault was intended in a round, or None when there was none."""
        return next((e.t_ns for e in self.of("stage.intended") if e.data.get("round", 0) == round), None)

    def windows(self, name: str) -> Sequence[Window]:
        """The windows of that name, one per round; empty when the run did not get there.

        baseline: its phase, once. fault: first mutation until revert begins. recovery: revert begins until settle ends. run: all of it; of several
        rounds the first has the baseline, and each ends where the next begins to inject.
        """
        found = (self._window(name, number) for number in range(1 if name == "baseline" else self.rounds))
        return [window for window in found if window is not None]

    def _window(self, name: str, round: int) -> Window | None:
        start = self._start_of(name, round)
        return None if start is None else Window(name, round, start, self._end_of(name, round))

    def _start_of(self, name: str, round: int) -> int | None:
        match name:
            case "fault":
                return self.injected_ns(round)
            case "recovery":
                return self.phase_start("revert", round)
            case _:
                return self.phase_start("inject", round) if round else self.phase_start("baseline")

    def _end_of(self, name: str, round: int) -> int:
        # A run that stops early skips phases: a window ends with the first one that came after it.
        following = {"baseline": ("inject", "revert", "ended"), "fault": ("revert", "ended")}.get(name, ("ended",))
        ends = [end for phase in following if (end := self.phase_start(phase, round)) is not None]
        if name in ("recovery", "run") and (after := self.phase_start("inject", round + 1)) is not None:
            ends.append(after)
        return min(ends) if ends else self.now_ns
