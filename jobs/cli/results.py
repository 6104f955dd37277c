"""Commands that show and hand out: labels, compare, evaluate, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog.export.writers import WRITERS
from catalog.words import count
from jobs.cli.common import (
    AsOwner,
    Format,
    Json,
    Quiet,
    database,
    progress_bar,
    run_and_report,
    say,
    say_json,
)

labels_app = typer.Typer(help="Label sets.")


def register(root: typer.Typer) -> None:
    """Add the commands that have no group."""
    root.command("compare")(compare)
    root.command("evaluate")(evaluate)
    root.command("export")(export)


@labels_app.command("list")
def labels_list(
    every: Annotated[bool, typer.Option("--all", help="All editions, not only the newest.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """List the published label sets."""
    from catalog.store.labels import list_label_sets
    from jobs.outcomes import labelled_words

    with database() as db, db.reader() as conn:
        found = list_label_sets(conn, all_editions=every)
        labelled = [] if as_json else [labelled_words(conn, s) for s in found]
    if as_json:
        for s in found:
            say_json(
                name=s.name, edition=s.edition, kind=s.kind, n_rows=s.n_rows,
                simulated=s.simulated,
            )  # fmt: skip
        return
    width = max((len(s.full_name) for s in found), default=9)
    for s, words in zip(found, labelled, strict=True):
        say(f"{s.full_name:{width}}  {s.kind:11}  {words:>15}  {s.description}")
    if not found:
        say("no label sets yet: crosslabel ingest publishes the first")


@labels_app.command("show")
def labels_show(
    name: Annotated[str, typer.Argument(help="NAME or NAME@EDITION")], as_json: Json = False
) -> None:
    """Show what a label set holds: counts, ranges, flags and provenance."""
    from jobs.evaluation.show import describe_label_set

    with database() as db, db.reader() as conn:
        shown = describe_label_set(conn, name)
    say_json(**shown.as_dict()) if as_json else say(shown.as_text())


def compare(
    reference: Annotated[str, typer.Argument(help="Reference label set.")],
    tests: Annotated[list[str], typer.Argument(help="Label sets to compare with it.")],
    sample: Annotated[str | None, typer.Option(help="Only the accepted pairs of this sample.")] = None,
    form: Format = "table",
    as_json: Json = False,
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap samples for the errors.")] = 200,
) -> None:  # fmt: skip
    """Compare label sets on the stars that all of them label."""
    from jobs.evaluation import compare_text
    from jobs.evaluation.compare import compare as compare_sets

    with database() as db, db.reader() as conn:
        result = compare_sets(conn, reference, tests, sample, bootstrap=bootstrap)
    writers = {
        "table": compare_text.as_table, "csv": compare_text.as_csv,
        "json": compare_text.as_json,
    }  # fmt: skip
    typer.echo(writers["json" if as_json else form](result).rstrip("\n"))


def evaluate(
    models: Annotated[list[str], typer.Argument(help="Models, whose out-of-fold labels are scored, or label sets.")],
    against: Annotated[list[str] | None, typer.Option(metavar="LABEL-SET", help="Label set to score beside them; repeatable. The survey's that the sample names, if not given; none: nothing.")] = None,
    reference: Annotated[str | None, typer.Option(metavar="LABEL-SET", help="Label set to score against; what the models learned, if not given.")] = None,
    sample: Annotated[str | None, typer.Option(help="Only the accepted pairs of this sample; that of the first model, if not given.")] = None,
    bins: Annotated[list[str] | None, typer.Option(help="Edges between bins, such as snr=20,40,80; repeatable, for snr, teff, logg, fe_h.")] = None,
    learning_curve: Annotated[str | None, typer.Option(help="Also train on fewer stars, such as 100,200,400,all, without publishing labels.")] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap samples for the errors.")] = 200,
    form: Format = "table",
    as_json: Json = False,
    to: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the scores to this file too.")] = None,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Score models bin by bin with errors, coverage and repeats, and keep the scores.

    Out-of-fold labels are scored against what the models learned, beside other
    label sets, all on the same spectra. The tables evaluation, evaluation_score,
    evaluation_repeat and learning_curve keep what was found.
    """
    from catalog.writing import replace_files
    from jobs.evaluation import evaluate as evaluate_models
    from jobs.evaluation import evaluate_text
    from jobs.evaluation.curves import read_curve
    from jobs.evaluation.stored import find_evaluation, write_evaluation
    from jobs.training.learning_curve import curve_jobs

    edges = evaluate_models.read_edges(bins or ())
    beside = [] if against == ["none"] else against
    with database() as db:
        with db.reader() as conn:
            inputs = evaluate_models.read_inputs(
                conn, models, beside, reference=reference, sample=sample, edges=edges,
                bootstrap=bootstrap,
            )  # fmt: skip
            found = find_evaluation(conn, inputs.evaluation)
        jobs = curve_jobs(db, models, learning_curve) if learning_curve else []
        rows = 0
        if found is None:
            found = evaluate_models.evaluate(inputs)
            with db.begin() as conn:
                rows = write_evaluation(conn, found)
        for job in jobs:
            run_and_report(job, db, quiet=quiet or as_json or form != "table")
        with db.reader() as conn:
            curves = [point for job in jobs for point in read_curve(conn, job.params.model)]
    if to is not None:
        with replace_files(to) as (stream,):
            stream.write(evaluate_text.as_csv(found).encode())
    if as_json or form == "json":
        typer.echo(evaluate_text.as_json(found, curves))
    elif form == "csv":
        typer.echo(evaluate_text.as_csv(found).rstrip("\n"))
    elif not quiet:
        typer.echo(evaluate_text.as_table(found, curves))
        kept = "these scores are kept in the catalog" if rows else "the catalog has these scores"
        typer.echo(f"\n{kept}: tables evaluation and evaluation_score")


def export(
    to: Annotated[Path, typer.Option(metavar="FILE|FOLDER", help=f"FILE{', '.join(WRITERS)}, or .npz of a sample; for spectra a folder.")],
    what: Annotated[str | None, typer.Argument(help="A view, table, label set or sample; or spectra.")] = None,
    against: Annotated[list[str] | None, typer.Option(metavar="LABEL-SET", help="Write WHAT, a label set, beside this one, spectrum by spectrum; repeatable.")] = None,
    sample: Annotated[str | None, typer.Option(help="Of spectra, or with --against: only the accepted pairs of this sample.")] = None,
    sql: Annotated[str | None, typer.Option(metavar="SELECT", help="Write the rows of this SELECT instead of WHAT, sorted by its columns from the left.")] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.001, max=1e6, help="Seconds that the SELECT may take.")] = 600,
    recipe: Annotated[str | None, typer.Option(help="Normalization of the spectra, or of those in FILE.npz.")] = None,
    as_owner: AsOwner = False,
    safe_cells: Annotated[bool, typer.Option(help="In CSV, put a quote before text that a spreadsheet would run as a formula.")] = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write a catalog file with units, descriptions and provenance; or spectra, a file each."""
    from catalog.errors import UsageError
    from catalog.export.comparison import comparison_selection
    from catalog.export.query import query_selection
    from catalog.export.selection import Selection
    from catalog.store.people import people_sql
    from jobs.export.tables import export as export_to
    from jobs.outcomes import exported_words

    if what == "spectra" and not (against or sql or safe_cells):
        _export_spectra(to, sample, recipe, quiet)
        return
    if (against and sql) or (sample and not against):
        raise UsageError(
            "--against and --sample are for comparisons of label sets", "Give WHAT and --against"
        )
    if (sql is None) == (what is None):
        raise UsageError("one of WHAT and --sql says what to export", "Give one, and not both")
    with database(as_owner=as_owner) as db, people_sql(db) if sql else db.reader() as conn:
        selection: str | Selection
        if sql is not None:
            selection = query_selection(conn, sql, timeout_s=timeout)
        else:
            assert what is not None
            selection = comparison_selection(conn, what, against, sample) if against else what
        summary = export_to(conn, selection, to, recipe=recipe, safe_cells=safe_cells)
        words = count(summary.n_rows, "row")
        if isinstance(selection, str):
            words = exported_words(conn, selection, summary.n_rows)
    say(f"{words} of {what or summary.what} in {to}", quiet=quiet)


def _export_spectra(folder: Path, sample: str | None, recipe: str | None, quiet: bool) -> None:
    """Write the spectra of a sample, or all, as FITS files."""
    from jobs.export.spectra import export_spectra

    with database() as db, db.reader() as conn, progress_bar(quiet) as progress:
        summary = export_spectra(conn, folder, sample=sample, recipe=recipe, progress=progress)
    unchanged = summary.n_spectra - summary.n_written
    words = f"{count(summary.n_written, 'file')} written, {unchanged:,} unchanged"
    say(f"{count(summary.n_spectra, 'spectrum')} in {folder}: {words}", quiet=quiet)
