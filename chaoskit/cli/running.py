"""One run after the other, each from its place to its verdict, and what is said of it. Joins the parts; judges nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element

import click

from chaoskit.cli import gravest, known, tell
from chaoskit.cli.consent import confirm_production
from chaoskit.cli.endings import Ended, code_of, leftover_lines
from chaoskit.cli.files import ExperimentFile
from chaoskit.cli.live import display
from chaoskit.cli.options import Wanted
from chaoskit.cli.place import Place, place
from chaoskit.cli.planning import circumstances, planned
from chaoskit.cli.signals import Signals
from chaoskit.cli.staging import staged
from chaoskit.cli.talk import lively, result, talk
from chaoskit.cli.watching import claimed, watchdog
from chaoskit.model.errors import ChaosError, CouldNotRun, UsageError
from chaoskit.reports import html, junit
from chaoskit.reports.forecast import render_plan, render_plan_shortly
from chaoskit.reports.json import error_to_json, result_to_json
from chaoskit.reports.terminal import render_verdict
from chaoskit.runner.audit import author
from chaoskit.runner.claim import Claim
from chaoskit.runner.folder import REPORT, create_folder, write_private
from chaoskit.runner.place import STATE_NAMESPACE
from chaoskit.runner.plan import new_run_id
from chaoskit.runner.preflight import refuse_blocked
from chaoskit.runner.recover import find_leftovers
from chaoskit.runner.redact import clean
from chaoskit.runner.run import Run
from chaoskit.runner.session import Scene, check_unchanged, conduct, early_crew
from chaoskit.traffic.supervisor import Crew


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of a run."""

    wanted: Wanted
    yes: bool = False
    setup: bool = False
    run_dir: Path | None = None
    seed: int | None = None
    output: Literal["table", "json"] = "table"
    junit: Path | None = None
    state_namespace: str = STATE_NAMESPACE
    watchdog: bool = True


@dataclass(slots=True)
class Tally:
    """What became of the runs so far."""

    codes: list[int] = field(default_factory=list)
    suites: list[Element] = field(default_factory=list)
    last_words: list[str] = field(default_factory=list)


def refuse_to_guess_consent(options: Options) -> None:
    """Raises UsageError when a question would have to be asked and there is no terminal to ask on."""
    if options.wanted.context is not None and not options.yes and not sys.stdin.isatty():
        raise UsageError("a run on a named context asks first, and there is no terminal to ask on; --yes answers it")


async def run_all(files: Sequence[ExperimentFile], options: Options, signals: Signals) -> int:
    """Run the files in order until a signal; the exit code of them all."""
    tally = Tally()
    try:
        for file in files:
            if signals.heard is None:
                await _run_one(file, options, signals, tally)
        if options.junit is not None:
            options.junit.write_text(clean(junit.render(tally.suites)), encoding="utf-8")
    finally:
        # Last, so that nothing scrolls it away, and whatever else went wrong.
        for line in tally.last_words:
            talk().print(line, style="bold red", soft_wrap=True)
    return gravest(tally.codes)


async def _run_one(file: ExperimentFile, options: Options, signals: Signals, tally: Tally) -> None:
    """Run one file. Whatever goes wrong is told and counted, and the next one goes on; only a cancellation passes."""
    try:
        # The traffic's processes take a while to load: that fits beside the start of the place and the setup.
        async with early_crew(file.experiment) as crew, _at(file, options) as (where, claim):
            ended = await _conducted(file, where, claim, options, signals, crew)
            # First what matters most: if telling goes wrong, what was not put back is told all the same.
            tally.last_words += leftover_lines(ended)
            tally.codes.append(code_of(ended.verdict))
            tally.suites.append(junit.suite(ended.history, ended.verdict, ended.name))
            write_private(ended.folder / REPORT, html.render(ended.history, ended.verdict, ended.name))
            tally.codes.append(_told(ended, options))
    except (ChaosError, ExceptionGroup) as error:
        tally.codes.append(_failed(error, file, options, tally))
    finally:
        signals.release()


def _failed(error: Exception, file: ExperimentFile, options: Options, tally: Tally) -> int:
    ours = known(error)
    tally.suites.append(junit.suite_of_error(file.experiment.name, str(ours or error)))
    if ours is not None and ours.exit_code == 4:
        tally.last_words.append(f"NOT RESTORED: {ours}")
        return 4
    code = tell(error)
    if options.output == "json":
        _print_json(error_to_json(file.experiment.name, str(file.path), str(ours or error)))
    return code


@asynccontextmanager
async def _at(file: ExperimentFile, options: Options) -> AsyncIterator[tuple[Place, Claim]]:
    """The place, with the experiment's setup in it, and the run's claim on it."""
    run, say = new_run_id(), _say
    if options.wanted.context is None:
        say("starting a sandbox (profile fast) ...")
    async with place(options.wanted) as where:
        await _refuse_leftovers(file, where, options.state_namespace)
        await confirm_production(where, _line_of_stdin)
        if options.setup and not where.is_sandbox:
            await _confirm(options, f"Apply {len(file.manifests)} manifests to context {where.cluster.context}?")
        async with (
            claimed(where, run, options.state_namespace, say) as claim,
            staged(file, where, run, options.setup, say),
        ):
            yield where, claim


async def _conducted(
    file: ExperimentFile, where: Place, claim: Claim, options: Options, signals: Signals, crew: Crew | None
) -> Ended:
    experiment, err = file.experiment, talk()
    run = claim.holder.run
    plan = await planned(file, where, run, options.seed, is_fresh=where.is_sandbox or options.setup)
    render = render_plan_shortly if where.is_sandbox else render_plan
    err.print(render(experiment, plan, circumstances(file, where)))
    refuse_blocked(plan.caveats)
    if not where.is_sandbox:
        await _confirm(options, f"Run this on context {plan.context}?")
    clock = await where.clock()
    await check_unchanged(experiment, plan, where.cluster)
    folder = _made(options.run_dir or _default_folder(file, run))
    watch = watchdog(plan, options.wanted, folder, options.state_namespace, _say) if options.watchdog else None
    scene = Scene(plan.server, plan.context, where.profile, clock, where.clock)
    async with display(err, lively()) as shown:

        def on_run(live: Run) -> None:
            shown.on_run(live)
            signals.give(live)

        history, verdict = await conduct(
            experiment,
            file.text,
            plan,
            where.cluster,
            folder,
            scene,
            crew=crew,
            by=author(await where.cluster.user()),
            claim=claim,
            watch=watch,
            announce=where.cluster.keep,
            on_run=on_run,
            on_phase=shown.on_phase,
        )
    context = "" if where.is_sandbox else plan.context
    return Ended(experiment.name, context, experiment.target.namespace or "", folder, history, verdict)


def _told(ended: Ended, options: Options) -> int:
    """Print the result; 3 when stdout does not take it. The undo and the evidence must not hang on a pipe."""
    try:
        _print_result(ended, options)
    except OSError as error:
        return tell(
            CouldNotRun(f"the result could not be written to stdout: {error.strerror}; it is in {ended.folder}")
        )
    return 0


def _print_result(ended: Ended, options: Options) -> None:
    if options.output == "json":
        _print_json(result_to_json(ended.history, ended.verdict, ended.name, str(ended.folder)))
        return
    result().print(render_verdict(ended.history, ended.verdict, ended.name, str(ended.folder)))


def _print_json(data: object) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _made(folder: Path) -> Path:
    """The new run folder. Raises CouldNotRun when there is no place for it: without evidence nothing is touched."""
    try:
        return create_folder(folder)
    except OSError as error:
        raise CouldNotRun(f"the run folder {folder} cannot be made: {error.strerror}; nothing was touched") from None


def _default_folder(file: ExperimentFile, run: str) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return Path("runs") / f"{stamp}-{file.experiment.name}-{run}"


async def _refuse_leftovers(file: ExperimentFile, where: Place, state_namespace: str) -> None:
    """Raises CouldNotRun when an earlier run left something here: what is measured now would not be the application as it is meant to be."""
    if where.is_sandbox:
        return
    namespace = file.experiment.target.namespace or "default"
    found, unseen = await find_leftovers(where.cluster, namespace, state_namespace)
    for why in unseen:
        _say(f"could not look for leftovers of earlier runs: {why}")
    if found:
        runs = ", ".join(sorted({left.run for left in found}))
        command = f"chaoskit recover --context {where.cluster.context} -n {namespace}"
        raise CouldNotRun(f"{len(found)} leftovers of earlier runs are here ({runs}); put them back first: {command}")


async def _confirm(options: Options, question: str) -> None:
    """Ask on the terminal. Raises CouldNotRun when the answer is not yes."""
    if options.yes:
        return
    click.echo(f"{question} Type yes to go on: ", err=True, nl=False)
    if (await _line_of_stdin()).strip().lower() not in ("y", "yes"):
        raise CouldNotRun("not confirmed; nothing was touched")


async def _line_of_stdin() -> str:
    """One line, read by the loop: a thread that waits for the terminal could not be ended by a signal."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ready.set)
    try:
        await ready.wait()
        return os.read(sys.stdin.fileno(), 1000).decode(errors="replace")
    finally:
        loop.remove_reader(sys.stdin.fileno())


def _say(text: str) -> None:
    talk().print(text, soft_wrap=True)
