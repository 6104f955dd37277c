"""Find the job of a run of the ledger, so that `resume` and `retry` can go on with it.

Every factory takes the parameters and the database, in which it may look up names; a run of the
ledger holds everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from catalog.errors import UsageError
from catalog.store.db import Database
from catalog.surveys.registry import all_catalogs
from jobs.engine.job import Job, Unresolved
from jobs.engine.ledger import Run
from jobs.engine.params import from_dict

#: Kind of the ledger -> module, parameter record, factory. By name: heavy parts load when used.
KINDS: dict[str, tuple[str, str, str]] = {
    "ingest specobj": ("jobs.ingest.specobj", "SpecObjParams", "ingest_specobj_job"),
    "ingest spectra": ("jobs.ingest.spectra", "SpectraParams", "ingest_spectra_job"),
    "ingest labels": ("jobs.ingest.labels", "LabelsParams", "ingest_labels_job"),
    "fetch spectra": ("jobs.fetch.spectra", "FetchSpectraParams", "fetch_spectra_job"),
    "fetch positions": ("jobs.fetch.positions", "FetchPositionsParams", "fetch_positions_job"),
    "fetch labels": ("jobs.fetch.labels", "FetchLabelsParams", "fetch_labels_job"),
    "crossmatch": ("jobs.crossmatch.crossmatch", "CrossmatchParams", "crossmatch_job"),
    "normalize": ("jobs.normalize", "NormalizeParams", "normalize_job"),
    "train": ("jobs.training.train", "TrainParams", "train_job"),
    "learning curve": ("jobs.training.learning_curve", "CurveParams", "curve_job"),
    "predict": ("jobs.training.predict", "PredictParams", "predict_job"),
    "scan": ("jobs.scan.scan", "ScanParams", "scan_job"),
    "sample": ("jobs.samples.select", "SampleParams", "sample_job"),
}
for _, _catalog in all_catalogs():
    if _catalog.label_set:
        KINDS[f"ingest {_catalog.kind}"] = ("jobs.ingest.catalogs", "CatalogParams", "ingest_job")
    if _catalog.places is not None:
        KINDS[f"fetch {_catalog.kind}"] = (
            "jobs.fetch.catalogs", "FetchCatalogParams", "fetch_catalog_job",
        )  # fmt: skip


def job_of(run: Run, db: Database) -> Job:
    """The job of a run, with the parameters it was started with.

    Raises
    ------
    UsageError
        If this version knows no such job.
    """
    try:
        module_name, params_name, factory_name = KINDS[run.kind]
    except KeyError:
        raise UsageError(
            f"run {run.run_id} is of a kind ({run.kind}) that this version does not know",
            "Use the version of crosslabel that started it",
        ) from None
    params: Any = from_dict(getattr(import_module(module_name), params_name), run.params)
    return _factory(module_name, factory_name)(params, db)


def locked_first(kind: str, target: str, params: Any, db: Database) -> Unresolved:
    """Return a job of which only the lock is known; whoever holds that makes the job.

    So one of several starts at once that finds the lock taken neither reads anything nor loads
    JAX, Astropy or the libraries of file formats.

    Parameters
    ----------
    kind, target : str
        As in the job that is made.
    params : dataclass or callable
        Its parameters, or what makes them once the lock is held, where that loads much.
    db : Database
    """
    module_name, _, factory_name = KINDS[kind]

    def resolve() -> Job:
        made = params() if callable(params) else params
        return _factory(module_name, factory_name)(made, db)

    return Unresolved(kind, target, resolve)


def _factory(module: str, name: str) -> Callable[[Any, Database], Job]:
    """Return the function that makes the jobs of a kind."""
    found: Callable[[Any, Database], Job] = getattr(import_module(module), name)
    return found
