"""`chaoskit recover`: put back what a killed run left in a cluster. Finds and undoes through the runner; decides the exit code."""

from __future__ import annotations

from pathlib import Path

import click

from chaoskit.cli.options import Wanted, kubeconfig_option, state_namespace_option


@click.command(short_help="Put back what a killed run left.")
@click.option("--context", metavar="NAME", required=True, help="The context of the kubeconfig to look at.")
@kubeconfig_option
@click.option("-n", "--namespace", metavar="NS", help="Look at nodes and this namespace only.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look everywhere; so it is without -n.")
@state_namespace_option
@click.option("--check", is_flag=True, help="Only look; put nothing back.")
@click.option("--force", is_flag=True, help="Put back what runs left that are still under way, too; they stop then.")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The killed run's folder: its journal helps where the run's record in the cluster was lost.",
)
def recover(
    context: str,
    kubeconfig: Path | None,
    namespace: str | None,
    all_namespaces: bool,
    state_namespace: str,
    check: bool,
    force: bool,
    run_dir: Path | None,
) -> int:
    """Put back what a killed run left in a cluster: found by its marks and its record there, nothing else is needed.

    A run that is still under way is left alone: whether it is takes up to 30 s to see. Values that somebody else has
    changed since are left alone too. Running it again does no harm.

    Each item ends as undone, already (it has its old value), gone, superseded (somebody else's value) or blocked, the
    last with the command to type.

    Exit codes: 0 clean, 4 something is left, 3 could not look everywhere that was asked.
    """
    if namespace is not None and all_namespaces:
        raise click.UsageError("-n and -A exclude each other.")

    from chaoskit.cli.recovering import recovered
    from chaoskit.cli.signals import interruptible
    from chaoskit.runner.recover import Scope

    wanted, scope = Wanted(context, kubeconfig), Scope(namespace or "", state_namespace)
    return interruptible(lambda signals: recovered(wanted, scope, check=check, force=force, run_dir=run_dir))
