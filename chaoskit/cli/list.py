"""`chaoskit list`: the faults and SLOs there are. Shows the registers; loads what they name only for its first sentence."""

from __future__ import annotations

import click


@click.command("list", short_help="List the faults and SLOs.")
def list_() -> None:
    """List the faults and SLOs there are, those of installed plugins included."""
    from chaoskit.cli.catalogue import fault_entries, slo_entries

    for title, entries in (("Faults", fault_entries()), ("SLOs", slo_entries())):
        click.secho(title, bold=True)
        for entry in entries:
            click.echo(f"  {entry.name:<20}{entry.summary}")
