"""Commands that match and select: crossmatch, sample; and the removal of predicted label sets."""

from __future__ import annotations

from typing import Annotated

import typer

from catalog.surveys.registry import all_instruments
from catalog.words import count, verb
from jobs.cli.common import (
    DryRun,
    Json,
    Quiet,
    database,
    run_and_report,
    say,
    say_json,
    words_of,
)
from jobs.cli.results import labels_app

sample_app = typer.Typer(help="Select matches.")


def register(root: typer.Typer) -> None:
    """Add the command that has no group."""
    root.command("crossmatch")(crossmatch)


def crossmatch(
    left: Annotated[str, typer.Option(metavar="SURVEY[/RELEASE]", help="Catalog of the reference stars.")] = "apogee/dr14",
    right: Annotated[str, typer.Option(metavar="SURVEY[/RELEASE]", help="Catalog of the spectra.")] = "sdss",
    radius: Annotated[float, typer.Option(metavar="ARCSEC", help="Largest separation, inclusive, in arcsec.")] = 2.0,
    quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Find all pairs within a radius; run again after an ingest to bring it up to date."""
    from jobs.crossmatch.crossmatch import CrossmatchParams, crossmatch_job

    with database() as db:
        job = crossmatch_job(CrossmatchParams(left, right, radius), db)
        run_and_report(job, db, quiet=quiet, as_json=as_json, dry_run=dry_run)


@sample_app.command("create")
def sample_create(
    name: Annotated[str, typer.Argument(help="Name of the sample.")],
    preset: Annotated[str, typer.Option(metavar="clean|seed-2018", help="Rules of the selection; seed-2018 is the notebook's.")] = "clean",
    left: Annotated[str, typer.Option(metavar="SURVEY[/RELEASE]", help="Left catalog of the crossmatch.")] = "apogee/dr14",
    right: Annotated[str, typer.Option(metavar="SURVEY[/RELEASE]", help="Right catalog of the crossmatch.")] = "sdss",
    radius: Annotated[float, typer.Option(metavar="ARCSEC", help="Radius of the crossmatch, in arcsec.")] = 2.0,
    reference: Annotated[str, typer.Option(metavar="LABEL-SET", help="Label set of the stars, or of their spectra, which trainings on the sample learn; aspcap/RELEASE if not given.")] = "",
    against: Annotated[str, typer.Option(metavar="LABEL-SET", help="Label set of the spectra, to compare with.")] = "sspp/dr12",
    needs: Annotated[str | None, typer.Option(metavar="LABEL,...", help="clean: which of teff, logg, fe_h a star must have, separated by commas; all if not given.")] = None,
    instruments: Annotated[str | None, typer.Option(metavar=",".join(all_instruments()), help="Only spectra of these instruments, separated by commas. Naming several allows a training to mix them.")] = None,
    min_sn: Annotated[float | None, typer.Option(help="clean: smallest median S/N per pixel; 10 if not given.")] = None,
    max_bad_fraction: Annotated[float | None, typer.Option(min=0, max=1, help="clean: largest fraction of bad pixels; 0.2 if not given.")] = None,
    max_rv_difference: Annotated[float | None, typer.Option(min=0, help="clean: largest difference of the radial velocities, in km/s; 60 if not given.")] = None,
    min_teff: Annotated[float | None, typer.Option(help="clean: lowest effective temperature, in K.")] = None,
    max_teff: Annotated[float | None, typer.Option(help="clean: highest effective temperature, in K.")] = None,
    aspcap_bad: Annotated[str | None, typer.Option(metavar="BIT,...", help="clean: bits of ASPCAPFLAG that reject a star, separated by commas.")] = None,
    max_distance: Annotated[float | None, typer.Option(help="seed-2018: the label distance must be below this; 4.5 if not given.")] = None,
    quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Select matches; every rejected pair keeps its reason."""
    from jobs.samples.options import make_rules
    from jobs.samples.select import SampleParams, sample_job, sample_report

    rules = make_rules(
        preset,
        {
            "needs": words_of(needs, str.lower), "instruments": words_of(instruments), "min_sn": min_sn,
            "max_bad_fraction": max_bad_fraction, "max_rv_difference": max_rv_difference,
            "min_teff": min_teff, "max_teff": max_teff, "aspcap_bad": words_of(aspcap_bad),
            "max_distance": max_distance,
        },
    )  # fmt: skip
    with database() as db:
        params = SampleParams(name, preset, left, right, radius, reference, against, rules)
        run_and_report(sample_job(params, db), db, quiet=quiet, as_json=as_json, dry_run=dry_run)
        if not quiet and not dry_run:
            with db.reader() as conn:
                counts, text = sample_report(conn, name)
            say_json(sample=name, counts=counts) if as_json else say(text)


@sample_app.command("list")
def sample_list(as_json: Json = False) -> None:
    """List the samples: how many pairs, and which models were trained on them."""
    from catalog.store.samples import list_samples_with_use

    with database() as db, db.reader() as conn:
        found = list_samples_with_use(conn)
    if as_json:
        for s in found:
            say_json(**s)
        return
    width = max((len(s["name"]) for s in found), default=0)
    for s in found:
        models = f"  models: {', '.join(s['models'])}" if s["models"] else ""
        say(f"{s['name']:{width}}  {s['preset']:9}  {s['accepted']:>7,} accepted{models}")
    if not found:
        say("no samples yet: crosslabel sample create makes the first")


@sample_app.command("show")
def sample_show(
    name: Annotated[str, typer.Argument(help="Name of the sample.")], as_json: Json = False
) -> None:
    """Show what a sample was selected from, and how many pairs each rule rejected."""
    from jobs.samples.select import sample_report

    with database() as db, db.reader() as conn:
        counts, text = sample_report(conn, name)
    say_json(sample=name, counts=counts) if as_json else say(text)


@sample_app.command("remove")
def sample_remove(
    name: Annotated[str, typer.Argument(help="Name of the sample.")], quiet: Quiet = False
) -> None:
    """Remove a sample; refused while models were trained on it."""
    from jobs.training.remove import remove_sample

    with database() as db:
        remove_sample(db, name)
    say(f"removed sample {name}", quiet=quiet)


@labels_app.command("remove")
def labels_remove(
    name: Annotated[str, typer.Argument(help="NAME, or NAME@EDITION.")],
    with_evaluations: Annotated[bool, typer.Option("--with-evaluations", help="Remove its stored evaluations too.")] = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Remove an edition that nothing rests on, with the sources that came with it."""
    from catalog.store.labels import find_label_set
    from jobs.outcomes import labelled_words
    from jobs.training.remove import remove_label_set

    with database() as db:
        with db.reader() as conn:
            labelled = labelled_words(conn, find_label_set(conn, name))
        gone = remove_label_set(db, name, with_evaluations=with_evaluations)
    words = f"removed label set {gone.full_name}: labels of {labelled}"
    if gone.sources:
        words += f", {count(gone.sources, 'source')} used by nothing else"
    if gone.kept:
        uses = ", ".join(f"{n:,} {use}" for use, n in gone.kept.items())
        n = sum(gone.kept.values())
        words += f"; {count(n, 'source')} {verb(n, 'stays', 'stay')}: {uses}"
    say(words, quiet=quiet)
