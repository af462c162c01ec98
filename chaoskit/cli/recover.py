"""`chaoskit recover`: put back what a killed run left in a cluster. Finds and undoes through the runner; decides the exit code."""

from __future__ import annotations

from pathlib import Path

import click

from chaoskit.cli.place import kubeconfig_option


@click.command(short_help="Put back what a killed run left.")
@click.option("--context", metavar="NAME", required=True, help="The context of the kubeconfig to look at.")
@kubeconfig_option
@click.option("-n", "--namespace", metavar="NS", help="Look at nodes and this namespace only.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look everywhere; so it is without -n.")
@click.option("--check", is_flag=True, help="Only look; put nothing back.")
@click.option(
    "--run-dir", type=click.Path(path_type=Path), metavar="DIR", help="The killed run's folder: its journal knows most."
)
def recover(
    context: str,
    kubeconfig: Path | None,
    namespace: str | None,
    all_namespaces: bool,
    check: bool,
    run_dir: Path | None,
) -> int:
    """Put back what a killed run left in a cluster, found by its marks there and, with --run-dir, in its journal.

    Values that somebody else has changed since are left alone. Running it again does no harm.

    Exit codes: 0 clean, 4 something is left, 3 could not look everywhere that was asked.
    """
    if namespace is not None and all_namespaces:
        raise click.UsageError("-n and -A exclude each other.")

    from chaoskit.cli.place import Wanted
    from chaoskit.cli.recovering import recovered
    from chaoskit.cli.signals import interruptible

    wanted = Wanted(context, kubeconfig)
    return interruptible(lambda signals: recovered(wanted, namespace or "", check, run_dir))
