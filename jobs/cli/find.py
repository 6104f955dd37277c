"""The command that shows all that the catalog has about one star."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catalog.errors import UsageError
from catalog.words import count
from jobs.cli.common import Json, database, say, say_json

if TYPE_CHECKING:
    from catalog.store.stars import Found

#: Degrees, as people write them: no identifier has a decimal point.
_COORDINATE = re.compile(r"[+-]?\d{1,3}\.\d+")


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("find", context_settings={"ignore_unknown_options": True})(find)


def find(
    what: Annotated[
        list[str],
        typer.Argument(
            help="An identifier that the catalog has, or RA and DEC [deg].", metavar="ID | RA DEC"
        ),
    ],
    radius: Annotated[
        float, typer.Option(help="Around RA and DEC [arcsec].", min=0, max=3600)
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Show all that the catalog has about one star: entries, spectra, labels of every set, matches.

    An identifier is APOGEE_ID or a 2MASS name, specObjID, plate-mjd-fiber, or
    LAMOST's key, as files write them.
    """
    from catalog.files.identifiers import spellings
    from catalog.store.stars import find_by_name, find_by_place

    if len(what) > 2:
        raise UsageError(
            "give one identifier, or RA and DEC", "Such as: crosslabel find 180.1 -0.5"
        )
    with database() as db, db.reader() as conn:
        if len(what) == 1:
            if _COORDINATE.fullmatch(what[0]):
                raise UsageError(
                    f"{what[0]} is one number, and neither a position nor a name",
                    "Give RA and DEC, in degrees: crosslabel find 180.1 -0.5",
                )
            found = find_by_name(conn, what[0], spellings(what[0]))
        else:
            found = find_by_place(
                conn, _degrees(what[0], 0, 360), _degrees(what[1], -90, 90), radius
            )
    if as_json:
        say_json(**asdict(found))
    else:
        say("\n".join(_lines(found)))


def _degrees(text: str, low: float, high: float) -> float:
    """Return a coordinate.

    Raises
    ------
    UsageError
        If the text is no number from ``low`` to ``high``.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise UsageError(
            f"{text} is no coordinate from {low:g} to {high:g}",
            "RA and DEC are in degrees: crosslabel find 180.1 -0.5",
        )
    return value


def _lines(found: Found) -> list[str]:
    """Return the page for people."""
    lines = []
    for entry in found.entries:
        lines += _entry_lines(entry)
        mine = [row for row in found.labels if row["survey_key"] == entry["survey_key"]]
        for name in dict.fromkeys(row["label_set"] for row in mine):
            lines.append(
                f"  labels {name}: {', '.join(_value(r) for r in mine if r['label_set'] == name)}"
            )
    lines.append("")
    for pair in found.matches:
        samples = f", in {', '.join(pair['samples'])}" if "samples" in pair else ""
        lines.append(
            f"match {pair['left_key']} with {pair['right_key']}: {pair['sep_arcsec']:.3f} arcsec "
            f"({pair['left_spec']}:{pair['right_spec']}:{pair['radius_arcsec']:g}){samples}"
        )
    names = {entry["star_key"] for entry in found.entries if entry["star_key"]}
    sets = {row["label_set"] for row in found.labels}
    lines.append(
        f"{count(len(names), 'star')} with {count(len(found.entries), 'entry')}, "
        f"{count(sum('file' in e for e in found.entries), 'spectrum file')}, "
        f"labels of {count(len(sets), 'set')}, {count(len(found.matches), 'candidate pair')}"
    )
    return lines


def _entry_lines(entry: dict[str, Any]) -> list[str]:
    """Return what a survey has of a star."""
    known = [f"star {entry['star_key']}"] if entry["star_key"] else []
    if entry.get("is_primary") is False:
        known.append("a duplicate row of its star")
    if "specobjid" in entry:
        known.append(f"specObjID {entry['specobjid']}")
    if "snr" in entry:
        known.append(f"S/N {entry['snr']:.0f}")
    words = f" ({', '.join(known)})" if known else ""
    lines = [
        f"{entry['survey']} {entry['survey_key']} at {entry['ra']:.6f} {entry['dec']:+.6f}{words}"
    ]
    if "file" in entry:
        parts = [entry["instrument"], entry["spectrum_state"]]
        if "sn_median" in entry:
            parts.append(f"S/N {entry['sn_median']:.1f} per pixel")
        parts += [entry[name] for name in ("class", "subclass") if entry.get(name)]
        if "z" in entry:
            parts.append(f"z {entry['z']:.5f}")
        if "normalized" in entry:
            parts.append(f"normalized by {', '.join(entry['normalized'])}")
        if entry.get("simulated"):
            parts.append("SIMULATED")
        lines.append(f"  spectrum {Path(entry['file']).name}: {', '.join(parts)}")
    return lines


def _value(row: dict[str, Any]) -> str:
    """Return a label with its error and unit, such as ``teff 4810 +- 90 K``."""
    digits = 0 if row.get("unit") == "K" else 2
    error = f" +- {row['err']:.{digits}f}" if "err" in row else ""
    unit = f" {row['unit']}" if row.get("unit") else ""
    return f"{row['label']} {row['value']:.{digits}f}{error}{unit}"
