"""The steps that bring data in: one for each source, and one before it where it is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from catalog.errors import SourceUnavailableError
from catalog.files.opening import Limits
from catalog.surveys.find import has_files
from catalog.surveys.registry import SURVEYS, all_catalogs, find_catalog, spectrum_formats
from catalog.words import count
from jobs.engine.job import RunSummary
from jobs.fetch.catalogs import FetchCatalogParams, catalog_file, fetch_catalog_job
from jobs.fetch.labels import FetchLabelsParams, fetch_labels_job
from jobs.fetch.positions import FetchPositionsParams, fetch_positions_job
from jobs.ingest.catalogs import ingest_catalog
from jobs.ingest.labels import ingest_labels
from jobs.ingest.specobj import ingest_specobj
from jobs.ingest.spectra import SpectraParams, ingest_spectra_job
from jobs.sync.config import Config
from jobs.sync.files import find_files, find_roots
from jobs.sync.refused import usable_files
from jobs.sync.rows import Values
from jobs.sync.step import Step, Work, things

#: The order in which kinds of sources are read: labels and positions are of sources that are there.
ORDER = (
    *(c.kind for _, c in all_catalogs()), "positions", "spectra", "sppparams", "labels",
)  # fmt: skip


def catalogs(spec: str) -> tuple[str, ...]:
    """The things that stand for a catalog, ``survey`` or ``survey/release``, of a crossmatch."""
    name = spec.partition("/")[0]
    survey = SURVEYS.get(name)
    each_release = survey is not None and survey.key.has_release
    return (f"catalog {spec}",) if each_release else (f"catalog {name}",)


def source_steps(config: Config) -> Iterator[Step]:
    """The steps of all sources."""
    for row in sorted(config.sources, key=lambda row: ORDER.index(row["kind"])):
        yield from _STEPS[row["kind"]](row, config)


def _nothing_there(kind: str, row: Values) -> RunSummary:
    """Return the summary of a source whose patterns fit no file, or for which none was fetched."""
    paths = row.get("paths") or ()
    note = (
        f"no file fits {', '.join(paths)}; put the files there, or correct the paths of "
        f"{row['name']} in the configuration"
    )
    note = note if paths else "nothing was fetched for it yet"
    return RunSummary(kind, row["name"], None, "idle", notes={"note": note})


def sources_told(config: Config) -> list[str]:
    """Return how many files there are for each source that is read from paths, in words."""
    told = []
    for row in config.sources:
        paths = row.get("paths") or ()
        if paths:
            try:
                found = find_roots(paths)
                words = f"{count(len(found), 'match')} of {', '.join(paths)}"
            except SourceUnavailableError as exc:
                words = exc.reason
            told.append(f"{row['name']} ({words})")
    return told


def _catalog(row: Values, config: Config) -> Iterator[Step]:
    """A survey's catalog with labels, from files or from the archive."""
    survey, catalog = find_catalog(row["kind"])
    made = things(f"catalog {survey.name}", f"labels {catalog.label_set}/{row['release']}")
    if survey.key.has_release:
        made |= things(f"catalog {survey.name}/{row['release']}")

    def ingest(files: list[Path], work: Work) -> RunSummary:
        return _ingest_catalog(row["kind"], files, row, work)

    yield from _from_archive_or_paths(row, config, ingest, made)


def _from_archive_or_paths(
    row: Values, config: Config, ingest: Callable[[list[Path], Work], RunSummary],
    made: frozenset[str],
) -> Iterator[Step]:  # fmt: skip
    """Ingest the files of a catalog that the source names, or what is fetched for it."""
    file = f"file {row['name']}"

    def params(work: Work) -> FetchCatalogParams:
        folder = str(config.archive)
        return FetchCatalogParams(row["kind"], row["release"], folder, work.settings.archive_url)

    def fetch(work: Work) -> RunSummary:
        return work.do(fetch_catalog_job(params(work), work.db))

    def ingest_fetched(work: Work) -> RunSummary:
        with work.db.reader() as conn:
            found = catalog_file(conn, params(work))
        return ingest_usable([] if found is None else find_files([found]), work)

    def ingest_usable(files: list[Path], work: Work) -> RunSummary:
        def ingest_them(some: list[Path]) -> RunSummary:
            return ingest(some, work)

        return usable_files(files, row["kind"], row["release"], ingest_them)

    if row["fetch"]:
        yield Step(f"fetch {row['name']}", fetch, makes=things(file))
        yield Step(f"ingest {row['name']}", ingest_fetched, made, things(file))
    else:

        def ingest_found(work: Work) -> RunSummary:
            return ingest_usable(find_files(row["paths"]), work)

        yield Step(f"ingest {row['name']}", ingest_found, made)


def _ingest_catalog(kind: str, files: list[Path], row: Values, work: Work) -> RunSummary:
    """Ingest the files of a catalog, if there are any."""
    if not files:
        return _nothing_there(f"ingest {kind}", row)
    return ingest_catalog(
        work.db, kind, files, row["release"], as_release=row.get("as_release", False),
        max_bad=row["max_bad"], note=row["note"],
        retry_failed=True, dry_run=work.dry_run, progress=work.progress,
        identify=work.seen.identify,
    )  # fmt: skip


def _specobj(row: Values, config: Config) -> Iterator[Step]:
    """specObj, spectra without labels, from files or from the archive."""

    def ingest(files: list[Path], work: Work) -> RunSummary:
        if not files:
            return _nothing_there("ingest specobj", row)
        summary, _ = ingest_specobj(
            work.db, files, row["release"], as_release=row["as_release"],
            classes=row["classes"], max_bad=row["max_bad"],
            retry_failed=True, dry_run=work.dry_run, progress=work.progress,
            identify=work.seen.identify,
        )  # fmt: skip
        return summary

    yield from _from_archive_or_paths(row, config, ingest, things("catalog sdss"))


def _positions(row: Values, config: Config) -> Iterator[Step]:
    """Spectra that SkyServer knows at the stars' positions."""

    def fetch(work: Work) -> RunSummary:
        params = FetchPositionsParams(
            row["left"], row["release"], row["radius"], row["max_bad"], work.settings.skyserver_url
        )
        return work.do(fetch_positions_job(params, work.db))

    uses = things(*catalogs(row["left"]))
    yield Step(f"fetch {row['name']}", fetch, things("catalog sdss"), uses)


def _spectra(row: Values, config: Config) -> Iterator[Step]:
    """Folders and files of spectra."""

    def ingest(work: Work) -> RunSummary:
        roots = find_roots(row["paths"])
        if not has_files(roots):
            return _nothing_there("ingest spectra", row)
        return ingest_spectra(work, roots, row["max_bad"])

    makes = things(*(f"catalog {survey.name}" for survey, _ in spectrum_formats()), "spectra")
    yield Step(f"ingest {row['name']}", ingest, makes)


def ingest_spectra(work: Work, roots: list[Path], max_bad: float) -> RunSummary:
    """Ingest the spectra below some folders."""
    params = SpectraParams(tuple(str(path) for path in roots), max_bad)
    return work.do(ingest_spectra_job(params, work.db, work.seen.identify))


def _sppparams(row: Values, config: Config) -> Iterator[Step]:
    """SSPP's labels from SkyServer, of spectra that no ssppOut row describes."""
    release, file = row["release"], f"file {row['name']}"

    def fetch(work: Work) -> RunSummary:
        params = FetchLabelsParams(
            release, str(config.archive), row["max_bad"], work.settings.skyserver_url
        )
        return work.do(fetch_labels_job(params, work.db))

    def ingest(work: Work) -> RunSummary:
        files = sorted((config.archive / release / "sppParams").glob("*.fits"))
        return _ingest_catalog("sspp", files, row, work)

    uses = things("catalog sdss", "spectra")
    yield Step(f"fetch {row['name']}", fetch, things(file), uses)
    made = things("catalog sdss", f"labels sspp/{release}")
    yield Step(f"ingest {row['name']}", ingest, made, things(file))


def _labels(row: Values, config: Config) -> Iterator[Step]:
    """Anyone's table of labels."""

    def ingest(work: Work) -> RunSummary:
        files = find_files(row["paths"])
        if not files:
            return _nothing_there("ingest labels", row)
        if len(files) > 1:
            raise SourceUnavailableError(
                f"{count(len(files), 'file')} fit the paths of {row['name']}: {files[0]} and others"
                "",
                "A table of labels is one file: take the others away",
            )
        return ingest_labels(
            work.db, files[0], row["survey"], row["label_set"], key=row["key"], hdu=row["hdu"],
            allow_overflow=row["allow_overflow"],
            max_bad=row["max_bad"], note=row["note"],
            limits=Limits(row["max_bytes"], row["max_rows"]), retry_failed=True,
            dry_run=work.dry_run, identify=work.seen.identify,
        )  # fmt: skip

    uses = things(f"catalog {row['survey']}")
    yield Step(f"ingest {row['name']}", ingest, things(f"labels {row['label_set']}"), uses)


_STEPS: dict[str, Callable[[Values, Config], Iterator[Step]]] = {
    **{c.kind: _catalog for _, c in all_catalogs() if c.label_set},
    "specobj": _specobj, "positions": _positions,
    "spectra": _spectra, "sppparams": _sppparams, "labels": _labels,
}  # fmt: skip
