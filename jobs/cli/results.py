"""Commands that show and hand out: labels, compare, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.common import Json, Quiet, database, say, say_json

labels_app = typer.Typer(help="Label sets.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the commands that have no group."""
    root.command("compare")(compare)
    root.command("export")(export)


@labels_app.command("list")
def labels_list(
    every: Annotated[bool, typer.Option("--all", help="All editions, not only the newest.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """List the published label sets."""
    from catalog.store.labels import list_label_sets

    with database() as db, db.reader() as conn:
        found = list_label_sets(conn, all_editions=every)
    if as_json:
        for s in found:
            say_json(name=s.name, edition=s.edition, kind=s.kind, n_rows=s.n_rows)
        return
    width = max((len(s.full_name) for s in found), default=9)
    for s in found:
        say(f"{s.full_name:{width}}  {s.kind:11}  {s.n_rows:>9,} rows  {s.description}")
    if not found:
        say("no label sets yet: crosslabel ingest publishes the first")


@labels_app.command("show")
def labels_show(
    name: Annotated[str, typer.Argument(help="NAME or NAME@EDITION")], as_json: Json = False
) -> None:
    """Show what a label set holds: counts, ranges, flags and provenance."""
    from jobs.show_labels import describe_label_set

    with database() as db, db.reader() as conn:
        shown = describe_label_set(conn, name)
    say_json(**shown.as_dict()) if as_json else say(shown.as_text())


def compare(
    ref: Annotated[str, typer.Argument(help="Reference label set.")],
    tests: Annotated[list[str], typer.Argument(help="Label sets to compare with it.")],
    sample: Annotated[str | None, typer.Option(help="Only the accepted pairs of this sample.")] = None,
    form: Annotated[str, typer.Option("--format", help="table, csv or json")] = "table",
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap samples for the errors.")] = 200,
) -> None:  # fmt: skip
    """Compare label sets on the stars that all of them label."""
    from catalog.errors import UsageError
    from jobs.compare_labels import compare as compare_sets
    from jobs.comparison_text import as_csv, as_json, as_table

    renderers = {"table": as_table, "csv": as_csv, "json": as_json}
    if form not in renderers:
        raise UsageError(f"there is no format {form}", f"One of: {', '.join(renderers)}")
    with database() as db, db.reader() as conn:
        result = compare_sets(conn, ref, tests, sample, bootstrap=bootstrap)
    typer.echo(renderers[form](result).rstrip("\n"))


def export(
    what: Annotated[str, typer.Argument(help="A view, table, label set or sample.")],
    to: Annotated[Path, typer.Option(help="FILE.csv, FILE.fits, or FILE.npz of a sample.")],
    recipe: Annotated[str | None, typer.Option(help="Normalization of the spectra in FILE.npz.")] = None,
    safe_cells: Annotated[bool, typer.Option(help="In CSV, quote text that a spreadsheet would run as a formula.")] = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write a catalog file with units, descriptions and provenance."""
    from jobs.export_catalog import export as export_to

    with database() as db, db.reader() as conn:
        n = export_to(conn, what, to, recipe=recipe, safe_cells=safe_cells).n_rows
    say(f"{n:,} rows of {what} in {to}", quiet=quiet)
