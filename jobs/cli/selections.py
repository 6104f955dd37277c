"""Commands that list and remove what is derived: samples, predicted label sets."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import Json, Quiet, database, say, say_json
from jobs.cli.ingest import sample_app
from jobs.cli.results import labels_app


@sample_app.command("list")
def sample_list(as_json: Json = False) -> None:
    """List the samples: how many pairs, and which models were trained on them."""
    from jobs.list_samples import list_samples_with_use

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


@sample_app.command("remove")
def sample_remove(
    name: Annotated[str, typer.Argument(help="Name of the sample.")], quiet: Quiet = False
) -> None:
    """Remove a sample; refused while models were trained on it."""
    from jobs.remove_models import remove_sample

    with database() as db:
        remove_sample(db, name)
    say(f"removed sample {name}", quiet=quiet)


@labels_app.command("remove")
def labels_remove(
    name: Annotated[str, typer.Argument(help="NAME@EDITION of a predicted label set.")],
    quiet: Quiet = False,
) -> None:
    """Remove an edition of labels that a model predicted; other label sets stay."""
    from jobs.remove_models import remove_prediction

    with database() as db:
        gone = remove_prediction(db, name)
    say(f"removed label set {gone}", quiet=quiet)
