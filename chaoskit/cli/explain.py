"""`chaoskit explain`: a fault or an SLO in its own words. Prints what the code says; nothing is written twice."""

from __future__ import annotations

import click


@click.command(short_help="Explain a fault or an SLO.")
@click.argument("name", metavar="FAULT")
def explain(name: str) -> None:
    """Explain FAULT: what it does, its witness and promises, and the fields it takes. Explains an SLO just so."""
    from chaoskit.cli.catalogue import entry
    from chaoskit.model.errors import UsageError

    try:
        found = entry(name)
    except ValueError as error:
        raise UsageError(f"{error}; `chaoskit list` shows what there is") from None
    click.secho(f"{found.name} ({found.noun})", bold=True)
    click.echo(f"\n{found.text}\n")
    if not found.fields:
        click.echo("It takes no fields.")
        return
    click.secho("Fields", bold=True)
    for field in found.fields:
        indent = "  " * (field.depth + 1)
        click.echo(f"{indent}{field.name}: {field.type} ({field.default})")
        if field.description:
            click.echo(f"{indent}    {' '.join(field.description.split())}")
