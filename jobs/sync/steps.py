"""The steps of a sync in their order: sources, matches, samples, what is computed, what is read."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.store.models import find_model
from catalog.surveys.find import has_files
from jobs.crossmatch.crossmatch import CrossmatchParams, crossmatch_job
from jobs.engine.job import RunSummary
from jobs.fetch.spectra import FetchSpectraParams, fetch_spectra_job
from jobs.normalize import NormalizeParams, normalize_job
from jobs.samples.select import SampleParams, sample_job
from jobs.sync.config import Config
from jobs.sync.exports import refresh_export
from jobs.sync.reports import refresh_report
from jobs.sync.rows import Values
from jobs.sync.sources import catalogs, ingest_spectra, source_steps
from jobs.sync.step import Step, Work, things
from jobs.training.predict import PredictParams, predict_job, prediction_is_current


def make_steps(config: Config) -> list[Step]:
    """All steps that a configuration asks for, in order."""
    return [
        *source_steps(config),
        *map(_crossmatch, config.crossmatches),
        *(step for row in config.samples for step in _sample(row, config)),
        *map(_normalization, config.normalizations),
        *(step for row in config.predictions for step in _prediction(row)),
        *map(_export, config.exports),
        *(_report(row, config) for row in config.reports),
    ]


def _crossmatch(row: Values) -> Step:
    """Bring a crossmatch up to date."""
    params = CrossmatchParams(row["left"], row["right"], row["radius"])
    return Step(
        f"crossmatch {row['name']}",
        lambda work: work.do(crossmatch_job(params, work.db)),
        things(f"crossmatch {row['name']}"),
        things(*catalogs(row["left"]), *catalogs(row["right"])),
    )


def _sample(row: Values, config: Config) -> Iterator[Step]:
    """Select a sample; where its spectra are fetched, read them and select it again."""
    params: SampleParams = row["params"]
    name = params.name
    uses = things(
        f"crossmatch {row['crossmatch']}", f"labels {params.reference_labels}",
        f"labels {params.compared_labels}", "spectra",
    )  # fmt: skip

    def select(work: Work) -> RunSummary:
        return work.do(sample_job(params, work.db))

    yield Step(f"sample {name}", select, things(f"sample {name}"), uses)
    if not row["fetch_spectra"]:
        return

    def fetch(work: Work) -> RunSummary:
        archive = work.settings.archive_url
        fetched = FetchSpectraParams(
            name, row["fetch_spectra"], str(config.archive), row["max_bad"], archive_url=archive
        )
        return work.do(fetch_spectra_job(fetched, work.db))

    def ingest(work: Work) -> RunSummary:
        # nothing was lacking, or the archive had none of it
        if not has_files([config.archive], spectra=True):
            return RunSummary("ingest spectra", str(config.archive), None, "idle")
        return ingest_spectra(work, [config.archive], row["max_bad"])

    file = f"spectra of {name}"
    yield Step(f"fetch spectra of {name}", fetch, things(file), things(f"sample {name}"))
    yield Step(f"ingest fetched spectra of {name}", ingest, things("spectra"), things(file))
    yield Step(f"sample {name} with them", select, things(f"sample {name}"), uses)


def _normalization(row: Values) -> Step:
    """Normalize the spectra that are not yet."""
    params = NormalizeParams(row["recipe"], row["sample"])
    of_sample = f" of {row['sample']}" if row["sample"] else ""
    return Step(
        f"normalize {row['recipe']}{of_sample}",
        lambda work: work.do(normalize_job(params, work.db)),
        things("normalized spectra"),
        things("spectra", f"sample {row['sample']}" if row["sample"] else ""),
    )


def _prediction(row: Values) -> Iterator[Step]:
    """Normalize spectra as a model needs them, then label them with it."""
    model, sample = row["model"], row["sample"]
    params = PredictParams(model, row["label_set"], sample)
    uses = things("spectra", f"sample {sample}" if sample else "")

    def normalize(work: Work) -> RunSummary:
        with work.db.reader() as conn:
            recipe = find_model(conn, model).recipe
        return work.do(normalize_job(NormalizeParams(recipe, sample), work.db))

    def predict(work: Work) -> RunSummary:
        with work.db.reader() as conn:
            if prediction_is_current(conn, params):
                return RunSummary("predict", f"label set {params.name}", None, "idle")
        return work.do(predict_job(params, work.db))

    ready = things(f"spectra for {row['label_set']}")
    yield Step(f"normalize for {row['label_set']}", normalize, ready, uses)
    yield Step(
        f"predict {row['label_set']}", predict, things(f"labels {row['label_set']}"),
        uses | ready | things("normalized spectra"),
    )  # fmt: skip


def _export(row: Values) -> Step:
    """Refresh an export."""
    named = [n.partition("@")[0] for n in (row["content"], *row["against"], row["sample"]) if n]
    return Step(
        f"export {row['file'].name}",
        lambda work: refresh_export(work.db, row, work.seen, dry_run=work.dry_run),
        uses=things(*(f"{kind} {name}" for name in named for kind in ("labels", "sample"))),
    )


def _report(row: Values, config: Config) -> Step:
    """Refresh a report; one that names no sample could be on any."""
    samples = [row["sample"]] if row["sample"] else [r["name"] for r in config.samples]
    return Step(
        f"report {row['folder'].name}",
        lambda work: refresh_report(work.db, row, work.seen, dry_run=work.dry_run),
        uses=things("normalized spectra", *(f"sample {name}" for name in samples)),
    )
