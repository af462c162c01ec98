"""The command line: one module per verb, loaded when it is called. Maps what happened to an exit code; imports nothing heavy and decides nothing else."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import IO, Any, cast

import click

from chaoskit.model.errors import ChaosError, CouldNotRun

VERBS = {
    "check": ("chaoskit.cli.check:check", "Say what is wrong with experiment files, if anything is."),
    "plan": ("chaoskit.cli.plan:plan", "Show what a run would do, to whom, and how it would be judged."),
    "run": ("chaoskit.cli.run:run", "Run experiments, judge them and write their reports."),
    "judge": ("chaoskit.cli.judge:judge", "Judge a saved run again; needs no cluster."),
    "report": ("chaoskit.cli.report:report", "Write the report of a saved run again; needs no cluster."),
    "export": ("chaoskit.cli.export:export", "Write the request log of a saved run for other tools; needs no cluster."),
    "recover": ("chaoskit.cli.recover:recover", "Put back what a killed run left in a cluster."),
    "halt": ("chaoskit.cli.halt:halt", "Stop every run on a cluster, and let none begin."),
    "rbac": ("chaoskit.cli.rbac:rbac", "Print the smallest role that runs an experiment."),
    "doctor": ("chaoskit.cli.doctor:doctor", "Say what works from here, and how to mend what does not."),
    "sandbox": ("chaoskit.cli.sandbox:sandbox", "Start, stop and look at the embedded cluster."),
    "list": ("chaoskit.cli.list:list_", "List the faults and SLOs there are."),
    "explain": ("chaoskit.cli.explain:explain", "Explain a fault or an SLO and its fields."),
}
"""Verb -> where it is, and its line in the help: a string is all that `chaoskit --help` needs of it."""

EXIT_CODES = """\b
Exit codes:
  0    every promise was kept (PASS), or nothing is wrong
  1    a promise was broken (FAIL)
  2    the command line or an experiment file is not valid; nothing was touched
  3    no conclusion (INCONCLUSIVE), or the run could not begin or go on
  4    NOT RESTORED: something that was changed could not be put back;
       the command to run is printed last
  129, 130, 143
       stopped by SIGHUP, SIGINT or SIGTERM; everything was put back
Of several files the first of 4, 129/130/143, 1, 3, 0 that occurred.

\b
An experiment file may name a locustfile and manifests. They are code: trust
such a file as you would a Makefile. `check` and `plan` name them and run
neither; only --sandbox starts the manifests' containers, as processes of
yours."""


class LazyGroup(click.Group):
    """A group whose verbs are strings until one of them is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        found: click.Command = getattr(import_module(module), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


def _say_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from chaoskit import __version__

        click.echo(f"chaoskit {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_say_version, help="Show the version."
)
def main() -> None:
    """Prove that an application on Kubernetes keeps its promises: one fault, real traffic, a verdict."""


def run_command_line(argv: Sequence[str]) -> int:
    """Run one command line; the exit code. Whatever goes wrong is told on stderr; nothing is raised."""
    if not argv or argv[0] not in VERBS:
        return _run_screened(argv)  # help and usage hold nothing of anybody's, and import nothing
    with screened_streams():
        return _run_screened(argv)


@contextlib.contextmanager
def screened_streams() -> Iterator[None]:
    """Whatever is said meanwhile, on stdout or stderr, by whichever part, is said without what is known to be secret."""
    from chaoskit.runner import redact

    redact.learn(redact.secrets_of_environment(os.environ))
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("Any", redact.Screened(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _run_screened(argv: Sequence[str]) -> int:
    try:
        code = _ended(argv)
        sys.stdout.flush()
    except OSError as error:
        # A reader that has gone, a full disk. What was to be told is lost, and that must not look like a success.
        _give_up(sys.stdout)
        where = f"{error.filename}: " if error.filename else ""
        code = tell(CouldNotRun(f"the result could not be written: {where}{error.strerror}"))
    return code


def _ended(argv: Sequence[str]) -> int:
    try:
        code = main.main(args=list(argv), prog_name="chaoskit", standalone_mode=False)
    except (KeyboardInterrupt, click.exceptions.Abort):
        # Only before our own handlers are in place: nothing has been started yet.
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - the front: the last place where an error can be told
        return tell(error)
    return code if isinstance(code, int) else 0


def _give_up(stream: IO[str]) -> None:
    """Let the stream end in nothing, or the interpreter would fail on it once more at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def tell(error: BaseException) -> int:
    """Say on stderr what went wrong; its exit code. An error that is not of our making shows where it came from."""
    ours = known(error)
    with contextlib.suppress(OSError):  # nobody may be there to listen, and the code still counts
        if ours is None:
            traceback.print_exception(error, file=sys.stderr)
            click.echo("chaoskit: internal error, see above; please report it", err=True)
        else:
            # A file's error stands alone on its line, so that editors can jump to it.
            click.echo(str(ours) if getattr(ours, "where", "") else f"chaoskit: {ours}", err=True)
    return 3 if ours is None else ours.exit_code


def known(error: BaseException) -> ChaosError | None:
    """The error of ours in it: itself, or the gravest of a group; None for anything else."""
    if isinstance(error, ChaosError):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    inside = [known(each) for each in error.exceptions]
    ours = [each for each in inside if each is not None]
    return max(ours, key=lambda each: each.exit_code, default=None)


GRAVEST_FIRST = (4, 130, 143, 129, 1, 3)


def gravest(codes: Iterable[int]) -> int:
    """The exit code of several runs: the first of 4, an interruption, 1, 3, 0 that occurred."""
    occurred = set(codes)
    # A code that nobody thought of must not pass for a success.
    return next((code for code in GRAVEST_FIRST if code in occurred), 3 if occurred - {0} else 0)
