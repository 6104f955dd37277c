"""Commands that bring files from the archive to this machine: fetch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from catalog.surveys.registry import all_catalogs
from catalog.words import count
from jobs.cli.common import (
    DryRun,
    Json,
    MaxBad,
    Quiet,
    database,
    run_and_report,
    say,
    say_json,
    settings,
)

app = typer.Typer(help="Download files of SDSS DR12 to DR17 from the archive.")

Release = Annotated[str, typer.Option(metavar="dr12|...|dr17", help="Data release.")]
Folder = Annotated[
    Path, typer.Option("--to", help="Folder for the files, in the archive's own layout.")
]
ListFile = Annotated[
    Path | None,
    typer.Option("--list", help="Download nothing; write a list for wget to this file."),
]
MinRate = Annotated[
    float, typer.Option(help="Bytes a second over a minute, below which a download is given up.", min=0)
]  # fmt: skip
Rsync = Annotated[bool, typer.Option("--rsync", help="With --list: a list for rsync.")]


def _catalog(
    kind: str, release: str, to: Path, list_file: Path | None, rsync: bool, min_rate: float,
    quiet: bool, as_json: bool, dry: bool,
) -> None:  # fmt: skip
    """Fetch a catalog file and say where it is, or write a list."""
    from catalog.archive.places import check_archive_release

    _check_rsync(rsync, list_file)
    release, archive = check_archive_release(release), settings().archive_url
    if list_file is not None:
        from jobs.fetch.lists import catalog_place

        _list(list_file, catalog_place(kind, release), archive, rsync, quiet)
        return
    from jobs.fetch.catalogs import FetchCatalogParams, catalog_file, fetch_catalog_job

    params = FetchCatalogParams(kind, release, str(to.absolute()), archive, min_rate=min_rate)
    with database(begins=not dry, quiet=quiet) as db:
        job = fetch_catalog_job(params, db)
        run_and_report(job, db, quiet=quiet, as_json=as_json, dry_run=dry)
        with db.reader() as conn:
            path = catalog_file(conn, params)
        if path and not quiet and not as_json and not dry:
            say(f"{path}\nread it with: crosslabel ingest {kind} {path} --release {release}")


def _list(out: Path, places: list[str], archive: str, rsync: bool, quiet: bool) -> None:
    """Write a list and say what to do with it."""
    from jobs.fetch.lists import write_list

    command = write_list(out, places, archive, rsync=rsync)
    found = f"{count(len(places), 'file')}; fetch with\n{command}"
    say(f"{out}: {found if places else 'no file is lacking'}", quiet=quiet)


def _check_rsync(rsync: bool, list_file: Path | None) -> None:
    """Refuse --rsync where no list is written: nothing is downloaded by rsync."""
    from catalog.errors import UsageError

    if rsync and list_file is None:
        raise UsageError("--rsync goes with --list only", "Name a file for the list: --list FILE")


def _catalog_command(kind: str, usual: Any) -> Callable[..., None]:
    """Return the command that fetches the catalogs of a kind; ``...``: a release must be named."""

    def fetch(
        release: Release = usual, to: Folder = Path("archive"), list_file: ListFile = None,
        rsync: Rsync = False, min_rate: MinRate = 10_000, quiet: Quiet = False,
        as_json: Json = False, dry_run: DryRun = False,
    ) -> None:  # fmt: skip
        _catalog(kind, release, to, list_file, rsync, min_rate, quiet, as_json, dry_run)

    return fetch


for _, _known in all_catalogs():
    if _known.places is not None:
        _size = f", {_known.size}" if _known.size else ""
        _words = f"Download {_known.product}{_size}; a broken download goes on where it stopped."
        app.command(_known.kind, help=_words)(_catalog_command(_known.kind, _known.fetched or ...))


@app.command()
def spectra(
    sample: Annotated[str, typer.Option(help="The sample that lacks spectra.")] = "clean",
    release: Release = "dr17", to: Folder = Path("archive"),
    again: Annotated[bool, typer.Option("--again", help="Ask again for what the archive did not have.")] = False,
    list_file: ListFile = None, rsync: Rsync = False, min_rate: MinRate = 10_000,
    max_bad: MaxBad = 0.1, quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Download the spectra that a sample's pairs still lack, four at a time."""
    from catalog.archive.places import check_archive_release

    _check_rsync(rsync, list_file)
    release, archive = check_archive_release(release), settings().archive_url
    with database(begins=not dry_run, quiet=quiet) as db:
        if list_file is not None:
            from jobs.fetch.lists import listed_places

            with db.reader() as conn:
                places = listed_places(conn, sample, release)
            _list(list_file, places, archive, rsync, quiet)
            return
        from jobs.fetch.outcomes import outcomes_in_words
        from jobs.fetch.spectra import KIND, FetchSpectraParams, fetch_spectra_job, wanted_spectra

        params = FetchSpectraParams(
            sample, release, str(to.absolute()), max_bad, again, archive, min_rate=min_rate
        )
        job = fetch_spectra_job(params, db)
        run_and_report(job, db, quiet=quiet, as_json=as_json, dry_run=dry_run)
        if dry_run or quiet:
            return
        with db.reader() as conn:
            among = [w.source_id for w in wanted_spectra(conn, sample, release)]
            counts, lines = outcomes_in_words(conn, KIND, release, among)
        if as_json:
            say_json(sample=sample, release=release, **counts)
            return
        say(lines)
        if counts["matched"]:
            say(f"read them with: crosslabel ingest spectra {to}; then create the sample again")


@app.command()
def positions(
    left: Annotated[str, typer.Option(help="Catalog of the stars: survey or survey/release.")] = "apogee/dr14",
    release: Release = "dr17",
    radius: Annotated[float, typer.Option(metavar="ARCSEC", help="Search radius, up to 180 arcsec.")] = 2.0,
    max_bad: MaxBad = 0.1, quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Ask SkyServer for spectra at the stars' positions, where no catalog file is wanted."""
    from catalog.archive.places import check_archive_release
    from jobs.fetch.outcomes import outcomes_in_words
    from jobs.fetch.positions import FetchPositionsParams, fetch_positions_job, stars_to_ask

    params = FetchPositionsParams(
        left, check_archive_release(release), radius, max_bad, settings().skyserver_url
    )
    with database(begins=not dry_run, quiet=quiet) as db:
        job = fetch_positions_job(params, db)
        run_and_report(job, db, quiet=quiet, as_json=as_json, dry_run=dry_run)
        if dry_run or quiet:
            return
        with db.reader() as conn:
            among = [s.source_id for s in stars_to_ask(conn, params)]
            counts, lines = outcomes_in_words(conn, params.kind, params.release, among)
        say_json(left=left, release=params.release, **counts) if as_json else say(lines)


@app.command()
def labels(
    release: Release = "dr17", to: Folder = Path("archive"), max_bad: MaxBad = 0.1,
    quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Ask SkyServer for SSPP's labels of the SDSS spectra that no ingested ssppOut row describes."""
    from catalog.archive.places import check_archive_release
    from jobs.fetch.labels import KIND, FetchLabelsParams, fetch_labels_job, undescribed_spectra
    from jobs.fetch.outcomes import outcomes_in_words

    release = check_archive_release(release)
    params = FetchLabelsParams(release, str(to.absolute()), max_bad, settings().skyserver_url)
    with database(begins=not dry_run, quiet=quiet) as db:
        job = fetch_labels_job(params, db)
        run_and_report(job, db, quiet=quiet, as_json=as_json, dry_run=dry_run)
        if dry_run or quiet:
            return
        with db.reader() as conn:
            among = [u.source_id for u in undescribed_spectra(conn, release)]
            counts, lines = outcomes_in_words(conn, KIND, release, among)
        if as_json:
            say_json(release=release, **counts)
            return
        say(lines)
        if counts["matched"]:
            files = f"{to}/{release}/sppParams/*.fits"
            say(f"read them with: crosslabel ingest sspp {files} --release {release}")
