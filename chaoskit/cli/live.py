"""What is seen while a run lasts: a moving view on a terminal, one plain line per phase elsewhere. Looks at the history; steers nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chaoskit.model.history import History
from chaoskit.model.verdict import Window
from chaoskit.runner.run import Run
from chaoskit.semantics.owners import desired, pods_of, roots
from chaoskit.semantics.pods import serves

REFRESH_S = 0.33
PHASES = ("warm-up", "baseline", "inject", "hold", "revert", "settle", "ended")


@dataclass(frozen=True, slots=True)
class Facts:
    """The last second: requests and failures in it, pods of the target that serve, pods that are wanted."""

    requests: int = 0
    failed: int = 0
    serving: int = 0
    wanted: int = 0


def facts(history: History, now_ns: int) -> Facts:
    """What is known of the last full second. Requests still on their way are not counted."""
    last = history.requests.within(Window("", 0, now_ns - 1_250_000_000, now_ns - 250_000_000))
    failed = sum(1 for status in last.status if not 0 < status < 500)
    workloads = roots(history.subject.workloads)
    controllers = (*history.subject.workloads, *history.objects("workloads").at(now_ns))
    pods = history.objects("pods").at(now_ns)
    serving = sum(1 for each in workloads for pod in pods_of(each, controllers, pods) if serves(pod))
    return Facts(len(last), failed, serving, sum(map(desired, workloads)))


class Display:
    """Told of the run and of each phase by the runner."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console = console
        self._live = live
        self._run: Run | None = None
        self._began = time.monotonic()
        self._phases: list[tuple[str, float]] = []

    def on_run(self, run: Run) -> None:
        self._run = run

    def on_phase(self, name: str) -> None:
        self._phases.append((name, self._elapsed_s()))
        if self._live is None:
            self._console.print(f"t+{self._elapsed_s():5.1f} s  {name:<9}{self._told()}".rstrip(), soft_wrap=True)

    async def keep_moving(self) -> None:
        """Draw until cancelled."""
        while self._live is not None:
            self._live.update(self._drawn(), refresh=True)
            await asyncio.sleep(REFRESH_S)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def _facts(self) -> Facts | None:
        if self._run is None or not self._phases:
            return None
        return facts(self._run.history, time.monotonic_ns())

    def _told(self) -> str:
        seen = self._facts()
        if seen is None or self._phases[-1][0] == "warm-up":
            return ""
        return f"{_traffic(seen)}, {seen.serving} of {seen.wanted} pods ready"

    def _drawn(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_row(self._bar(), Text(f"t+{self._elapsed_s():.0f} s", style="dim"))
        seen = self._facts()
        if seen is not None:
            style = "bold red" if seen.failed else ""
            pods = Text(
                f"{seen.serving} of {seen.wanted} pods ready", style="" if seen.serving >= seen.wanted else "yellow"
            )
            table.add_row(Text(_traffic(seen), style=style), pods)
        return table

    def _bar(self) -> Text:
        bar, now = Text(), self._phases[-1][0] if self._phases else ""
        past = {name for name, _ in self._phases}
        for name in PHASES[:-1]:
            style = "reverse bold" if name == now else "" if name in past else "dim"
            bar.append(f" {name} ", style)
        return bar


def _traffic(seen: Facts) -> str:
    return f"{seen.requests} requests/s, {seen.failed} failed"


@asynccontextmanager
async def display(console: Console, lively: bool) -> AsyncIterator[Display]:
    """A Display on the console; it moves if `lively`."""
    if not lively:
        yield Display(console, None)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        shown = Display(console, live)
        moving = asyncio.create_task(shown.keep_moving())
        try:
            yield shown
        finally:
            moving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await moving
