"""``crosslabel model`` and ``explain``: what models there are, and what they look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.words import count, part
from jobs.cli.common import Json, Quiet, database, say, say_json

if TYPE_CHECKING:
    import sqlalchemy as sa

    from catalog.store.models import TrainedModel
    from models.predict import Model

app = typer.Typer(help="Trained models.")

Name = Annotated[str, typer.Argument(help="NAME or NAME@EDITION")]


def register(root: typer.Typer) -> None:
    """Add the command that has no group."""
    root.command("explain")(explain)


@app.command("list")
def models_list(
    every: Annotated[bool, typer.Option("--all", help="All editions, not only the newest.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """List the trained models with their out-of-fold scatter."""
    from dataclasses import asdict

    from catalog.store.columns import LABELS
    from catalog.store.models import list_models

    with database() as db, db.reader() as conn:
        found = list_models(conn, all_editions=every)
    if as_json:
        for m in found:
            say_json(**asdict(m))
        return
    width = max((len(m.full_name) for m in found), default=0)
    for m in found:
        scatter = ", ".join(
            f"{name} {x:.{0 if LABELS[name].unit == 'K' else 3}f}" if x is not None else name
            for name, x in m.sigma_mad.items()
        )
        origin = "from a file" if m.imported else f"{m.label_set}, sample {m.sample}"
        say(
            f"{m.full_name:{width}}  {m.preset:9}  {count(m.n_spectra, 'spectrum'):>14}  {scatter}  "
            f"({origin}{'; SIMULATED' if m.simulated else ''})"
        )
    if not found:
        say("no models yet: crosslabel train makes the first")


@app.command("show")
def models_show(name: Name, as_json: Json = False) -> None:
    """Show what a model says of itself: its manifest."""
    import json

    with database() as db, db.reader() as conn:
        trained, model = _load(conn, name)
    facts = {"name": trained.full_name, "sha256": trained.sha256, **model.manifest}
    say_json(**facts) if as_json else say(json.dumps(facts, indent=1, sort_keys=True))


@app.command("card")
def models_card(
    name: Name,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="File to write; printed if not given.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a page in plain words on a model: what it can do, and what it cannot."""
    from catalog.writing import replace_files
    from jobs.training.model_card import model_card

    with database() as db, db.reader() as conn:
        trained, model = _load(conn, name)
    card = model_card(model, trained.full_name, trained.sha256)
    if to is None:
        say(card.rstrip("\n"))
        return
    with replace_files(to) as (stream,):
        stream.write(card.encode())
    say(f"card of {trained.full_name} in {to}", quiet=quiet)


@app.command("export")
def models_export(
    name: Name,
    to: Annotated[Path, typer.Option(metavar="FILE.npz", help="File to write.")],
    quiet: Quiet = False,
) -> None:
    """Write a model to a file that another catalog can import."""
    from jobs.training.model_files import export_model

    with database() as db, db.reader() as conn:
        size = export_model(conn, name, to)
    say(f"model {name} in {to} ({size / 1e6:.1f} MB)", quiet=quiet)


@app.command("import")
def models_import(
    file: Annotated[Path, typer.Argument(help="File that model export wrote.")],
    name: Annotated[str | None, typer.Option(help="Name of the model here; its own by default.")] = None,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Take a model from a file into the catalog."""
    from jobs.training.model_files import import_model

    with database(begins=True, quiet=quiet) as db:
        found = import_model(db, file, name)
    say(
        f"model {found.full_name} {'imported' if found.is_new else 'is here already'}: "
        f"{part(found.known_spectra, found.training_spectra, 'training spectrum')} in this catalog",
        quiet=quiet,
    )


@app.command("remove")
def models_remove(
    name: Annotated[str, typer.Argument(help="NAME@EDITION, or NAME for all its editions.")],
    with_labels: Annotated[bool, typer.Option("--with-labels", help="Remove the label sets that it made too.")] = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Remove a model; refused while label sets that it made are there, unless they go too."""
    from jobs.training.remove import remove_model

    with database() as db:
        gone, n_sets = remove_model(db, name, with_labels=with_labels)
    made = f", and {count(n_sets, 'edition')} of label sets" if n_sets else ""
    say(f"removed {', '.join(gone)}{made}", quiet=quiet)


def explain(
    model: Annotated[str, typer.Argument(help="Model: NAME or NAME@EDITION.")],
    sample: Annotated[str | None, typer.Option(help="Take the spectra of this sample; the training spectra by default.")] = None,
    spectra: Annotated[int, typer.Option(min=1, help="Number of spectra to look at.")] = 12,
    as_json: Json = False,
    to: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the share of each pixel to this file.")] = None,
) -> None:  # fmt: skip
    """Show which lines the labels of a model hang on, and whether they lean on what is not the star."""
    from catalog.writing import replace_files
    from jobs.training.explain import explain_model
    from jobs.training.explain_text import as_csv, as_dict, as_text

    with database() as db, db.reader() as conn:
        found = explain_model(conn, model, sample, spectra)
    if to is not None:
        with replace_files(to) as (stream,):
            stream.write(as_csv(found).encode())
    say_json(**as_dict(found)) if as_json else say(as_text(found))


def _load(conn: sa.Connection, name: str) -> tuple[TrainedModel, Model]:
    """A model of the catalog, read from its artifact."""
    from catalog.store.models import find_model
    from jobs.training.model_files import open_model

    trained = find_model(conn, name)
    return trained, open_model(conn, trained)
