"""Who did what, when, from which file, with which version: for the journal, the run's record in the cluster, and Events on the targets.

Composes; the Events are told on the side, one after the other, and a cluster that does not take them costs nothing but a line in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hashlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from chaoskit import __version__
from chaoskit.cluster.mark import OWN_LABELS, RUN_LABEL
from chaoskit.model.errors import ChaosError
from chaoskit.model.event import Event
from chaoskit.model.experiment import Experiment
from chaoskit.model.operation import describe
from chaoskit.model.resource import Json, Obj, Ref, resource_of
from chaoskit.model.step import Step, step_from_json
from chaoskit.runner.redact import clean

Announce: TypeAlias = Callable[[Obj], Awaitable[object]]
"""Creates a core/v1 Event."""

TELL_WITHIN_S = 2.0
"""How long the last Events may take when the run is over, in seconds."""

_REASONS: Mapping[str, tuple[str, str]] = {
    "step.seen": ("Normal", "ChaosInjected"),
    "undone": ("Normal", "ChaosRecovered"),
    "already": ("Normal", "ChaosRecovered"),
    "superseded": ("Warning", "ChaosSuperseded"),
    "blocked": ("Warning", "ChaosNotRecovered"),
}


@dataclass(frozen=True, slots=True)
class Author:
    """Who acts: the user the server sees ("" where it does not tell), and the account on this machine."""

    user: str = ""
    local: str = ""


NOBODY = Author()


def author(user: str) -> Author:
    """The author of a run from this process. `user` is the server's word: SelfSubjectReview."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Author(user, f"{name}@{socket.gethostname()}")


def audit_record(experiment: Experiment, text: str, by: Author) -> Mapping[str, Json]:
    """Who, from which file, with which version, and when on our clocks; what was done is in the stages beside it."""
    return {
        "who": {"user": by.user, "local": by.local},
        "version": __version__,
        "experiment": {"name": experiment.name, "source": experiment.source, "digest": digest(text)},
        "when": {"wall": time.time(), "monotonic": time.monotonic()},
    }


def digest(text: str) -> str:
    """The SHA-256 of an experiment file as it was read."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True)
class Chronicle:
    """Hears the journal and turns what happened to targets into Events. `hear` never waits and never fails."""

    run: str
    experiment: str
    steps: dict[str, Step] = field(default_factory=dict)
    waiting: asyncio.Queue[Obj] = field(default_factory=asyncio.Queue)

    def hear(self, event: Event) -> None:
        """Take an event of the journal."""
        if event.kind == "stage.intended":
            self.steps |= {step["id"]: step_from_json(step) for step in event.data["steps"]}
        how = event.data.get("how") if event.kind == "step.undone" else event.kind
        step = self.steps.get(str(event.data.get("id", "")))
        if step is not None and how in _REASONS:
            kind, reason = _REASONS[str(how)]
            done = step.do if event.kind == "step.seen" else step.undo or step.do
            words = f"chaoskit run {self.run} ({self.experiment}): {describe(done)}"
            self.waiting.put_nowait(event_of(step.do.ref, kind, reason, words, f"{self.run}.{event.seq}", self.run))

    async def tell(self, announce: Announce) -> None:
        """Announce what is heard, until cancelled. An Event that is not taken is lost: the journal has it all."""
        while True:
            heard = await self.waiting.get()
            with contextlib.suppress(ChaosError):
                await announce(heard)
            self.waiting.task_done()


@asynccontextmanager
async def chronicled(chronicle: Chronicle, announce: Announce | None) -> AsyncIterator[None]:
    """Events are told for the length of the block, and the last ones within two seconds of its end."""
    if announce is None:
        yield
        return
    telling = asyncio.create_task(chronicle.tell(announce))
    try:
        yield
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TELL_WITHIN_S):
                await chronicle.waiting.join()
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


def event_of(ref: Ref, kind: str, reason: str, message: str, name: str, run: str) -> Obj:
    """A core/v1 Event about an object; of something in no namespace it lies in `default`. Source: kubernetes.io, Event v1 core."""
    namespace = ref.namespace or "default"
    at = resource_of(ref.kind)
    about = {"kind": ref.kind, "name": ref.name, "apiVersion": f"{at.group}/{at.version}".lstrip("/")}
    about |= ({"namespace": ref.namespace} if ref.namespace else {}) | ({"uid": ref.uid} if ref.uid else {})
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "kind": "Event",
        "metadata": {"name": f"chaoskit.{name}", "namespace": namespace, "labels": {**OWN_LABELS, RUN_LABEL: run}},
        "involvedObject": about,
        "type": kind,
        "reason": reason,
        "message": clean(message)[:1000],
        "source": {"component": "chaoskit"},
        "reportingComponent": "chaoskit.dev/chaoskit",
        "reportingInstance": run,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
