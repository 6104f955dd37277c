"""All that the catalog has about one star: entries of surveys, spectra, labels, matches.

A star is what its entries share (`source.star_id`) and what a crossmatch has matched with them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.surveys.registry import all_details
from catalog.words import count

MAX_STARS = 20  # that one question shows

_OF_DETAILS = "".join(
    f"UNION SELECT source_id FROM {d.table} WHERE "
    + " OR ".join(f"{name} IN :names" for name in d.names) + "\n    "
    for _, d in all_details() if d.names
)  # fmt: skip
# Any name of an entry: the survey's key, the names in its own columns, specObjID, plate-mjd-fiber
# without the reduction, the star's own name.
_BY_NAME = f"""
    SELECT source_id FROM source WHERE survey_key IN :names
    UNION SELECT source_id FROM source JOIN star USING (star_id) WHERE star_key IN :names
    {_OF_DETAILS}UNION SELECT source_id FROM sdss_spectrum WHERE specobjid = :number
    UNION SELECT source_id FROM sdss_spectrum
        WHERE (plate, mjd, fiberid) = (:plate, :mjd, :fiber) AND :plate > 0"""
_BY_PLACE = "SELECT source_id FROM cone(:ra, :dec, :radius)"
# From the entries found to all of their stars, and what matches those.
_STAR = """
    WITH found AS ({found}),
    near AS (
        SELECT source_id FROM found
        UNION SELECT s.source_id FROM source s JOIN source f USING (star_id)
            WHERE f.source_id IN (SELECT source_id FROM found)),
    matched AS (
        SELECT source_id FROM near
        UNION SELECT right_id FROM match WHERE left_id IN (SELECT source_id FROM near)
        UNION SELECT left_id FROM match WHERE right_id IN (SELECT source_id FROM near))
    SELECT source_id FROM matched
    UNION SELECT s.source_id FROM source s JOIN source f USING (star_id)
        WHERE f.source_id IN (SELECT source_id FROM matched)"""
_ENTRIES = """
    SELECT s.source_id, s.survey, s.survey_key, t.star_key, s.ra, s.dec, s.epoch, s.pmra, s.pmdec,
           a.apogee_id, a.data_release, a.is_primary, a.snr, d.specobjid::text AS specobjid,
           b.instrument, b.spectrum_state, b.sn_median, b.class, b.subclass, b.z, b.simulated,
           f.path AS file,
           (SELECT array_agg(recipe ORDER BY recipe) FROM normalized_spectrum n
            WHERE n.source_id = s.source_id) AS normalized
    FROM source s LEFT JOIN star t USING (star_id) LEFT JOIN apogee_star a USING (source_id)
    LEFT JOIN sdss_spectrum d USING (source_id) LEFT JOIN spectrum_blob b USING (source_id)
    LEFT JOIN input_file f USING (input_file_id)
    WHERE s.source_id = ANY(:ids) ORDER BY s.survey, s.survey_key"""
_LABELS = """
    SELECT s.survey_key, v.label_set, v.label, v.value, v.err, v.unit, v.flags
    FROM stellar_label_long v JOIN source s USING (source_id)
    WHERE v.source_id = ANY(:ids) ORDER BY v.label_set, s.survey_key, v.label"""
_MATCHES = """
    SELECT l.survey_key AS left_key, r.survey_key AS right_key, x.left_spec, x.right_spec,
           x.radius_arcsec, m.sep_arcsec,
           (SELECT array_agg(p.name ORDER BY p.name)
            FROM star_link k JOIN sample p USING (sample_id)
            WHERE k.left_id = m.left_id AND k.right_id = m.right_id) AS samples
    FROM match m JOIN crossmatch x USING (crossmatch_id)
    JOIN source l ON l.source_id = m.left_id JOIN source r ON r.source_id = m.right_id
    WHERE m.left_id = ANY(:ids) AND m.right_id = ANY(:ids)
    ORDER BY m.sep_arcsec, l.survey_key, r.survey_key, m.crossmatch_id"""


@dataclass(frozen=True)
class Found:
    """All rows that the catalog has about a star, as plain values.

    Attributes
    ----------
    entries : list of dict
        Entries of surveys with position [deg], identifiers and, where there is one, spectrum.
    labels : list of dict
        Every label of the newest edition of each set: label, value, error, unit, flags.
    matches : list of dict
        Candidate pairs with separation [arcsec], and the samples that took them.
    """

    entries: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    matches: list[dict[str, Any]]


def find_by_name(conn: sa.Connection, name: str, spellings: Collection[str]) -> Found:
    """Return all about the star that has an identifier.

    Parameters
    ----------
    name : str
        APOGEE_ID or 2MASS name, specObjID, plate-mjd-fiber with or without run2d, LAMOST's key.
    spellings : collection of str
        The forms in which the catalog may have it (`catalog.files.identifiers.spellings`).

    Raises
    ------
    UsageError
        If nothing has it.
    """
    number = next((n for n in map(_number, spellings) if n is not None), -1)
    plate, mjd, fiber = _fibre(name)
    query = sa.text(_STAR.format(found=_BY_NAME)).bindparams(sa.bindparam("names", expanding=True))
    values = {
        "names": sorted(spellings),
        "number": number,
        "plate": plate,
        "mjd": mjd,
        "fiber": fiber,
    }
    ids = list(conn.scalars(query, values))
    if not ids:
        raise UsageError(
            f"the catalog has nothing called {name}",
            "Names are APOGEE_ID, specObjID, plate-mjd-fiber or LAMOST's key; or give RA DEC in "
            "degrees",
        )
    return _about(conn, ids)


def find_by_place(conn: sa.Connection, ra: float, dec: float, radius: float) -> Found:
    """Return all about the stars with an entry within a radius of a position.

    Parameters
    ----------
    ra, dec : float
        ICRS [deg].
    radius : float
        [arcsec]

    Raises
    ------
    UsageError
        If there is none, or there are more than `MAX_STARS`.
    """
    query = sa.text(_STAR.format(found=_BY_PLACE))
    ids = list(conn.scalars(query, {"ra": ra, "dec": dec, "radius": radius}))
    if not ids:
        nearest = conn.execute(
            sa.text("SELECT survey_key, distance_arcsec FROM nearest(:ra, :dec)"),
            {"ra": ra, "dec": dec},
        ).first()
        far = f"; the nearest is {nearest[0]}, {nearest[1]:,.1f} arcsec away" if nearest else ""
        raise UsageError(
            f"the catalog has nothing within {radius:g} arcsec of {ra:g} {dec:g}{far}",
            "A larger radius: --radius",
        )
    found = _about(conn, ids)
    stars = {e["star_key"] or e["survey_key"] for e in found.entries}
    if len(stars) > MAX_STARS:
        raise UsageError(
            f"{count(len(stars), 'star')} are within {radius:g} arcsec of {ra:g} {dec:g}",
            "A smaller radius; for many stars: crossmatch and export",
        )
    return found


def _about(conn: sa.Connection, ids: list[int]) -> Found:
    """Return the rows about some entries; what has no value is left out."""

    def rows(query: str) -> list[dict[str, Any]]:
        found = conn.execute(sa.text(query), {"ids": ids}).mappings()
        return [{name: v for name, v in row.items() if v is not None} for row in found]

    entries = [{"star_key": "", **row} for row in rows(_ENTRIES)]
    return Found(entries, rows(_LABELS), rows(_MATCHES))


def _number(name: str) -> int | None:
    """Return a specObjID; None if the text is none."""
    return int(name) if name.isascii() and name.isdigit() and len(name) <= 20 else None


def _fibre(name: str) -> tuple[int, int, int]:
    """Return plate, MJD and fibre of ``plate-mjd-fiber``; zeros if the text is not one."""
    parts = name.removeprefix("spec-").split("-")
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) <= 6 for p in parts):
        return 0, 0, 0
    return int(parts[0]), int(parts[1]), int(parts[2])
