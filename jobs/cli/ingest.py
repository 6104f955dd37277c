"""Commands that bring data in: ingest, simulate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.surveys.registry import SURVEYS, all_catalogs
from catalog.words import count
from jobs.cli.common import (
    DryRun,
    Json,
    MaxBad,
    Quiet,
    database,
    progress_bar,
    report,
    run_and_report,
    say,
    say_json,
    words_of,
)

if TYPE_CHECKING:
    from jobs.ingest.rows import Refused

app = typer.Typer(help="Read survey files into the catalog.")

Files = Annotated[list[Path], typer.Argument(help="FITS files, gzip-compressed or not.")]
Note = Annotated[
    str, typer.Option(help="What readers of these labels should know; shown with every comparison.")
]
Release = Annotated[str, typer.Option(help="Data release, such as dr14 or dr12.")]

AsRelease = Annotated[
    bool,
    typer.Option("--as-release", help="Take the files as of this release, whatever they say."),
]


def _catalog(
    kind: str, files: list[Path], release: str, as_release: bool, max_bad: float, note: str,
    quiet: bool, as_json: bool, dry: bool,
) -> None:  # fmt: skip
    """Ingest a catalog and show what became of its rows."""
    from jobs.ingest.catalogs import ingest_catalog
    from jobs.ingest.rows import refused_rows

    _check_files(files)
    with database(begins=not dry, quiet=quiet) as db:
        with progress_bar(quiet or as_json) as progress:
            summary = ingest_catalog(
                db, kind, files, release, as_release=as_release, max_bad=max_bad, note=note,
                retry_failed=True, dry_run=dry, progress=progress,
            )  # fmt: skip
        with db.reader() as conn:
            _say_refused(refused_rows(conn, kind, files), quiet or as_json)
        report(summary, quiet=quiet, as_json=as_json)


def _check_files(files: list[Path]) -> None:
    """Refuse what is no file."""
    from catalog.files.opening import require_file

    for file in files:
        require_file(file)


def _say_refused(refused: list[Refused], hidden: bool) -> None:
    """Tell how many rows went to the quarantine, why, and what to do about them."""
    from catalog.reasons import advice

    if refused and not hidden:
        words = ", ".join(f"{r.n_rows:,} {r.reason_code}" for r in refused)
        typer.echo(f"in quarantine from these files: {words}", err=True)
        for r in refused:
            typer.echo(f"  such as {r.example}", err=True)
        typer.echo(f"what to do: {advice(r.reason_code for r in refused)}", err=True)


def _catalog_command(kind: str) -> Callable[..., None]:
    """Return the command that ingests the catalogs of a kind."""

    def ingest(
        files: Files, release: Release, as_release: AsRelease = False, max_bad: MaxBad = 0.1,
        note: Note = "", quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
    ) -> None:  # fmt: skip
        _catalog(kind, files, release, as_release, max_bad, note, quiet, as_json, dry_run)

    return ingest


for _, _known in all_catalogs():
    if _known.label_set:
        _words = f"Ingest {_known.product} and publish the label set {_known.label_set}/RELEASE."
        app.command(_known.kind, help=_words)(_catalog_command(_known.kind))


@app.command()
def specobj(
    files: Files, release: Release, as_release: AsRelease = False,
    classes: Annotated[str, typer.Option(metavar="STAR,GALAXY,QSO|all", help="Rows of these classes, separated by commas.")] = "STAR",
    max_bad: MaxBad = 0.1, quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Ingest SDSS's specObj: which spectra there are, BOSS's among them, and where they point."""
    from jobs.ingest.rows import refused_rows
    from jobs.ingest.specobj import ingest_specobj

    _check_files(files)
    with database(begins=not dry_run, quiet=quiet) as db:
        with progress_bar(quiet or as_json) as progress:
            summary, left_out = ingest_specobj(
                db, files, release, classes=words_of(classes) or (), max_bad=max_bad,
                as_release=as_release, retry_failed=True, dry_run=dry_run, progress=progress,
            )  # fmt: skip
        with db.reader() as conn:
            _say_refused(refused_rows(conn, "specobj", files), quiet or as_json)
        if as_json:
            say_json(left_out=left_out)
        elif left_out:
            words = ", ".join(f"{n:,} {why}" for why, n in left_out.items())
            say(f"left out: {words}", quiet=quiet)
        report(summary, quiet=quiet, as_json=as_json)


_LAYOUTS = ", ".join(f.files for survey in SURVEYS.values() for f in survey.spectra)


@app.command(help=f"Ingest optical spectra: {_LAYOUTS}.")
def spectra(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders of spec-*.fits.")],
    max_bad: MaxBad = 0.1, quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Ingest the spectra below some paths."""
    from jobs.ingest.spectra import SpectraParams, ingest_spectra_job, spectra_said

    absolute = tuple(str(p.absolute()) for p in paths)
    with database(begins=not dry_run, quiet=quiet) as db:
        job = ingest_spectra_job(SpectraParams(absolute, max_bad), db)
        try:
            run_and_report(
                job, db, quiet=quiet, as_json=as_json, dry_run=dry_run, retry_failed=True
            )
        finally:  # also where too many were refused
            if not (quiet or as_json or dry_run):
                with db.reader() as conn:
                    for line in spectra_said(conn, absolute):
                        typer.echo(line, err=True)


@app.command()
def labels(
    file: Annotated[Path, typer.Argument(help="A table: .csv, .tsv, .txt, .ecsv, .fits, .vot, .parquet; .gz after it.")],
    survey: Annotated[str, typer.Option(metavar="|".join(SURVEYS), help="Survey whose sources the rows are.")],
    name: Annotated[str, typer.Option(help="Name of the label set.")],
    key: Annotated[str, typer.Option(help="Column that names the source; survey_key, apogee_id or specobjid if not given.")] = "",
    hdu: Annotated[str, typer.Option(help="Number or name of the HDU or table of the file, if several have labels.")] = "",
    allow_overflow: Annotated[bool, typer.Option("--allow-overflow", help="Take a VOTable of which its service says that rows are missing.")] = False,
    max_bad: MaxBad = 0.1, note: Note = "",
    max_rows: Annotated[int, typer.Option(help="Rows above which a table is not read.", min=1)] = 10_000_000,
    max_bytes: Annotated[int, typer.Option(help="Bytes above which a table is not read, counted after unpacking.", min=1)] = 1 << 30,
    quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Ingest anyone's table of labels and publish it as a label set."""
    from catalog.files.opening import Limits
    from jobs.ingest.label_rows import ingested
    from jobs.ingest.labels import KIND, ingest_labels
    from jobs.ingest.rows import refused_rows

    with database(begins=not dry_run, quiet=quiet) as db:
        summary = ingest_labels(
            db, file, survey, name, key=key, hdu=hdu, allow_overflow=allow_overflow,
            max_bad=max_bad, note=note, limits=Limits(max_bytes, max_rows), retry_failed=True,
            dry_run=dry_run,
        )  # fmt: skip
        if summary.state == "succeeded" and not quiet and not as_json:
            with db.reader() as conn:
                for line in ingested(conn, name):
                    say(line)
                _say_refused(refused_rows(conn, KIND, [file]), hidden=False)
        report(summary, quiet=quiet, as_json=as_json)


def register(root: typer.Typer) -> None:
    """Add the command that has no group."""
    root.command("simulate")(simulate)


def simulate(
    to: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to, a new one: spectra that are there stay.")],
    matched: Annotated[int, typer.Option(help="Stars with both labels and spectra.")] = 150,
    apogee: Annotated[int, typer.Option(help="Entries of allStar: stars, and repeats of 3 in 100.")] = 600,
    sspp: Annotated[int, typer.Option(help="Spectra in ssppOut.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.")] = 1,
    release: Annotated[str, typer.Option(help="Release whose layout allStar has.")] = "dr14",
    quiet: Quiet = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Write a small simulated survey in the archives' own file formats."""
    from catalog.errors import UsageError
    from catalog.surveys.simulate import write_survey

    try:
        counts = write_survey(
            to, n_matched=matched, n_apogee=apogee, n_sspp=sspp, seed=seed, release=release
        )
    except ValueError as exc:
        raise UsageError(str(exc).rstrip("."), "See: crosslabel simulate --help") from exc
    except OSError as exc:
        raise UsageError(
            f"{exc.filename or to} cannot be written: {exc.strerror}", "Name another folder"
        ) from exc
    if as_json:
        say_json(**counts)
    else:
        stars = counts["allstar_rows"] - counts["duplicate_rows"]
        words = (
            f"{count(stars, 'star')} in allStar, {count(counts['sspp_rows'], 'spectrum')} in ssppOut, "
            f"{count(counts['spectra'], 'spectrum')} as files; {count(counts['matched_stars'], 'star')} "
            "with labels and spectra"
        )
        say(f"simulated survey in {to}: {words}", quiet=quiet)
