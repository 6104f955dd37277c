"""Commands of learning: normalize, train, scan, predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.words import count
from jobs.cli.common import (
    DryRun,
    Json,
    Quiet,
    database,
    progress_bar,
    report,
    run_and_report,
    say,
    words_of,
)
from models.presets import LISTED

if TYPE_CHECKING:
    from catalog.store.db import Database

PRESETS = "|".join(LISTED)
SUMMARIES = ", ".join(f"{name} ({listed.summary})" for name, listed in LISTED.items())
Sample = Annotated[str | None, typer.Option(help="Only the accepted pairs of this sample.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.command("normalize")(normalize)
    root.command("train")(train)
    root.command("scan")(scan)
    root.command("predict")(predict)


def _normalize_first(
    db: Database, recipe: str, sample: str | None, quiet: bool, as_json: bool, dry_run: bool
) -> bool:
    """Normalize the spectra that a training or prediction needs; return whether it can go on."""
    from jobs.engine.runner import run_job
    from jobs.normalize import NormalizeParams, normalize_job

    with progress_bar(quiet or as_json) as progress:
        job = normalize_job(NormalizeParams(recipe, sample), db)
        summary = run_job(job, db, dry_run=dry_run, progress=progress)
    if summary.state == "idle" or (summary.state == "planned" and not summary.chunks_left):
        return True
    report(summary, quiet=quiet, as_json=as_json)
    return not dry_run


def normalize(
    recipe: Annotated[str, typer.Option(metavar="default|masked|seed-2018", help="Recipe: masked leaves out telluric bands, interstellar features and sky lines; seed-2018 is the notebook's.")] = "default",
    sample: Sample = None,
    quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Divide spectra by their pseudo-continuum."""
    from jobs.normalize import NormalizeParams, normalize_job, normalize_report

    with database() as db:
        job = normalize_job(NormalizeParams(recipe, sample), db)
        run_and_report(job, db, quiet=quiet, as_json=as_json, dry_run=dry_run)
        if not (quiet or as_json or dry_run):
            with db.reader() as conn:
                say(normalize_report(conn, recipe, sample))


def train(
    preset: Annotated[str, typer.Option(metavar=PRESETS, help=f"Kind of model: {SUMMARIES}.")],
    sample: Annotated[str, typer.Option(help="Sample to train on.")],
    name: Annotated[str, typer.Option(help="Name of the model; its scores go to NAME/oof.")],
    reference: Annotated[str, typer.Option(metavar="LABEL-SET", help="Label set to learn; the one by which the sample was selected, if not given.")] = "",
    recipe: Annotated[str | None, typer.Option(metavar="default|masked|seed-2018", help="Normalization; the preset's by default.")] = None,
    labels: Annotated[str, typer.Option(metavar="LABEL,...", help="Labels, separated by commas.")] = "teff,logg,fe_h",
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation.")] = 10,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; the preset's by default.")] = None,
    reverse_epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of the reverse network.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=2, help="Rounds of normalization, of presets with a reverse network; 2 if not given.")] = None,
    validation: Annotated[float, typer.Option(min=0, max=0.9, help="Fraction held out in a run that records loss curves.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers.")] = 0,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the preset, such as batch=32; may be given several times. An unknown name lists them all.")] = None,
    quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Train a model on a sample, and label each of its stars by one that never saw it."""
    from jobs.registry import locked_first
    from jobs.training.params import TrainParams, recipe_name, with_settings

    names = words_of(labels, str) or ()
    params = TrainParams(
        name=name, preset=preset, sample=sample, target=reference, recipe=recipe, labels=names,
        folds=folds, epochs=epochs, reverse_epochs=reverse_epochs, rounds=rounds,
        validation=validation, seed=seed,
    )  # fmt: skip
    params = with_settings(params, settings or ())
    with database() as db:
        used = recipe_name(preset, recipe)
        if _normalize_first(db, used, sample, quiet, as_json, dry_run):
            job = locked_first("train", f"model {name}", params, db)
            run_and_report(job, db, quiet=quiet, as_json=as_json, dry_run=dry_run)


def scan(
    preset: Annotated[str, typer.Option(metavar=PRESETS, help="Kind of model whose settings are searched.")],
    sample: Annotated[str, typer.Option(help="Sample to train on.")],
    name: Annotated[str, typer.Option(help="Name of the scan.")],
    space: Annotated[str, typer.Option(metavar="FILE.toml|notebook|networks", help="Settings to search: a TOML file, or one of two that come with crosslabel.")],
    trials: Annotated[int | None, typer.Option(min=1, help="Settings to try; all of a grid if not given. A scan goes on if there are more.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Outer folds: each chooses its own best, and its held-out stars judge.")] = 5,
    reference: Annotated[str, typer.Option(metavar="LABEL-SET", help="Label set to learn; the one by which the sample was selected, if not given.")] = "",
    recipe: Annotated[str | None, typer.Option(metavar="default|masked|seed-2018", help="Normalization; the preset's by default.")] = None,
    labels: Annotated[str, typer.Option(metavar="LABEL,...", help="Labels, separated by commas.")] = "teff,logg,fe_h",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers.")] = 0,
    to: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write all trials to this file, by validation loss.")] = None,
    quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Search the best settings of a preset; no star judges what it helped to choose."""
    import dataclasses

    from jobs.engine.extras import require_extra
    from jobs.registry import locked_first
    from jobs.scan.params import ScanParams
    from jobs.scan.space import read_space
    from jobs.training.params import check_preset_name, recipe_name

    require_extra("scan")
    check_preset_name(preset)
    names = words_of(labels, str) or ()

    def params() -> ScanParams:
        return ScanParams(
            name, preset, sample, dataclasses.asdict(read_space(space, preset)), trials,
            target=reference, recipe=recipe, labels=names, folds=folds, seed=seed,
        )  # fmt: skip

    with database() as db:
        used = recipe_name(preset, recipe)
        if not _normalize_first(db, used, sample, quiet, as_json, dry_run):
            return
        job = locked_first("scan", f"scan {name}", params, db)
        run_and_report(job, db, quiet=quiet, as_json=as_json, dry_run=dry_run)
        if dry_run:
            say(
                f"{count(params().search.n_trials(trials), 'trial')} in {folds} folds",
                quiet=quiet or as_json,
            )
            return
        from catalog.writing import replace_files
        from jobs.scan.report import scan_csv, scan_report

        with db.reader() as conn:
            if to is not None:
                with replace_files(to) as (stream,):
                    stream.write(scan_csv(conn, name).encode())
            if not (quiet or as_json):
                say(scan_report(conn, name))


def predict(
    model: Annotated[str, typer.Argument(help="Name of a trained model.")],
    name: Annotated[str, typer.Option(help="Name of the label set to publish.")],
    sample: Sample = None,
    quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Label spectra with a trained model and publish them as a label set."""
    from catalog.store.models import find_model
    from jobs.registry import locked_first
    from jobs.training.predict import PredictParams

    with database() as db:
        with db.reader() as conn:
            used = find_model(conn, model).recipe
        if not _normalize_first(db, used, sample, quiet, as_json, dry_run):
            return
        params = PredictParams(model=model, name=name, sample=sample)
        job = locked_first("predict", f"label set {name}", params, db)
        summary = run_and_report(job, db, quiet=quiet, as_json=as_json, dry_run=dry_run)
        if summary.outcome.counts.get("trained_on_count") and not (quiet or as_json):
            say(
                "note: the model has seen the labels of its training spectra; compare it with other "
                "label sets by its out-of-fold labels"
            )
