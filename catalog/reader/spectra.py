"""One stored spectrum, found by any of its names, as the object that specutils works with."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from astropy import units as u
from astropy.nddata import InverseVariance

from catalog.errors import UsageError
from catalog.store.grids import RecipeGrid
from catalog.store.spectra import (
    FLUX_UNIT,
    JOIN_NORMALIZED,
    grid_loglam,
    read_normalized,
    read_spectra,
)
from catalog.surveys.registry import SURVEYS, all_instruments

if TYPE_CHECKING:
    from specutils import Spectrum

SMALLEST_SPECOBJID = 1 << 50  # of plate 1; the surrogate keys of sources lie far below
REDSHIFT_UNKNOWN = 1  # bit of normalize_flags: left in the observed frame
_PLATE_MJD_FIBER = re.compile(r"(\d+)-(\d+)-(\d+)(?:-(\w+))?", re.ASCII)
_FIND = """SELECT s.source_id, s.survey, s.survey_key, s.ra, s.dec, p.specobjid::text AS specobjid,
    b.instrument, b.class, b.subclass, b.z, b.z_err, b.zwarning, b.sn_median, b.spectrum_state,
    b.loglam0, b.dloglam, b.sha256, f.path
FROM source s
LEFT JOIN sdss_spectrum p USING (source_id)
LEFT JOIN spectrum_blob b USING (source_id)
LEFT JOIN input_file f USING (input_file_id)
WHERE """
_ABOUT = (
    "survey", "survey_key", "source_id", "specobjid", "ra", "dec", "instrument", "class",
    "subclass", "z", "z_err", "zwarning", "sn_median", "sha256", "path",
)  # fmt: skip


def read_spectrum(conn: sa.Connection, key: Any, grid: RecipeGrid | None) -> Spectrum:
    """One spectrum as it is stored, or normalized by a recipe.

    Parameters
    ----------
    key : str or int
        See `catalog.reader.spectrum_methods.SpectrumCatalog.spectrum`.
    grid : RecipeGrid or None
        Of the recipe; None: as it was observed.

    Raises
    ------
    UsageError
        If there is no such spectrum, or it is not normalized.
    """
    row = _find(conn, key)
    known = {name: getattr(row, name) for name in _ABOUT}
    meta = {name: value for name, value in known.items() if value is not None}
    meta["wavelength"] = "vacuum"
    if grid is not None:
        return _normalized(conn, row, meta, grid)
    found = read_spectra(conn, [row.source_id])
    loglam = row.loglam0 + row.dloglam * np.arange(found.flux.shape[1])
    meta |= {"frame": "observed, heliocentric", "and_mask": found.and_mask[0]}
    unit = _flux_unit(row)
    return _spectrum(loglam, found.flux[0] * unit, found.ivar[0] / unit**2, meta)


def _normalized(conn: sa.Connection, row: Any, meta: dict[str, Any], grid: RecipeGrid) -> Spectrum:
    """Return the up-to-date normalized form of a spectrum."""
    flags = conn.scalar(
        sa.text(
            f"SELECT n.normalize_flags FROM spectrum_blob b {JOIN_NORMALIZED} "
            "WHERE b.source_id = :id"
        ),
        grid_values(grid) | {"id": row.source_id},
    )
    if flags is None:
        raise UsageError(
            f"the spectrum {row.survey_key} is not normalized by {grid.recipe}",
            f"Run: crosslabel normalize --recipe {grid.recipe}",
        )
    found = read_normalized(conn, grid.recipe, grid.version, [row.source_id], grid.n_pixels)
    in_rest = grid.rest_frame and not flags & REDSHIFT_UNKNOWN
    meta |= {
        "recipe": grid.recipe,
        "recipe_version": grid.version,
        "normalize_flags": flags,
        "frame": "of the star" if in_rest else "observed, heliocentric",
        "continuum": found.continuum[0] * _flux_unit(row),
    }
    one = u.dimensionless_unscaled
    return _spectrum(
        grid_loglam(grid.first_index, grid.n_pixels), found.flux[0] * one, found.ivar[0] * one, meta
    )


def _flux_unit(row: Any) -> u.UnitBase:
    """Return the unit of a stored flux; relative ones have none."""
    instrument = all_instruments().get(row.instrument)
    is_relative = instrument is not None and instrument.relative_flux
    return u.dimensionless_unscaled if is_relative else u.Unit(FLUX_UNIT)


def grid_values(grid: RecipeGrid) -> dict[str, Any]:
    """Return the parameters that queries with `JOIN_NORMALIZED` need."""
    return {
        "recipe": grid.recipe, "recipe_version": grid.version, "rest_frame": grid.rest_frame,
    }  # fmt: skip


def _spectrum(
    loglam: np.ndarray, flux: u.Quantity, ivar: u.Quantity, meta: dict[str, Any]
) -> Spectrum:
    """Return the object; pixels without information are masked."""
    from specutils import Spectrum  # takes seconds, and only spectra need it

    return Spectrum(
        flux=flux,
        spectral_axis=10.0**loglam * u.Angstrom,
        uncertainty=InverseVariance(ivar),
        mask=ivar.value == 0,
        meta=meta,
    )


def _find(conn: sa.Connection, key: Any) -> Any:
    """Return the one source with a usable spectrum that a key names."""
    for condition, values in _conditions(key):
        found = conn.execute(sa.text(_FIND + condition), values).all()
        rows = [row for row in found if row.spectrum_state is not None] or found
        if len(rows) > 1:
            names = ", ".join(f"{r.survey} {r.survey_key}" for r in rows)
            raise UsageError(f"{key} names several spectra", f"Name one of them: {names}")
        if rows:
            return _usable(rows[0])
    raise UsageError(
        f"there is no source {key}",
        "Give plate-mjd-fiber or plate-mjd-fiber-run2d, a specObjID, or a source_id of this "
        "catalog; cone() and matches() list them",
    )


def _usable(row: Any) -> Any:
    """Return the row, if its spectrum has pixels."""
    survey = SURVEYS.get(row.survey)
    if row.spectrum_state is None:
        raise UsageError(
            f"the {row.survey} source {row.survey_key} has no spectrum in this catalog",
            f"{survey.title}'s own spectra are not kept: matches() names the optical ones"
            if survey is not None and not survey.spectra
            else "Bring its file in with: crosslabel ingest spectra, or fetch spectra",
        )
    if row.spectrum_state != "ok":
        raise UsageError(
            f"the spectrum {row.survey_key} has no usable pixels ({row.spectrum_state})",
            "There is nothing to see in it; samples leave it out",
        )
    return row


def _conditions(key: Any) -> list[tuple[str, dict[str, Any]]]:
    """Yield the meanings that a key may have, most exact first: SQL conditions and their values."""
    if isinstance(key, str):
        text, surveys = key.strip(), list(SURVEYS)
        meanings: list[tuple[str, dict[str, Any]]] = [
            # the surveys are named for the index
            ("s.survey = ANY(:surveys) AND s.survey_key = :key", {"key": text, "surveys": surveys})
        ]
        parts = _PLATE_MJD_FIBER.fullmatch(text)
        if parts and all(int(p) < 2**31 for p in parts.groups()[:3]):
            plate, mjd, fiberid = (int(p) for p in parts.groups()[:3])
            meanings.append(
                (
                    "p.plate = :plate AND p.mjd = :mjd AND p.fiberid = :fiberid "
                    "AND p.run2d = coalesce(:run2d, p.run2d) AND (CAST(:run2d AS text) IS NOT NULL "
                    "OR NOT EXISTS (SELECT FROM superseded_spectrum x "
                    "WHERE x.source_id = s.source_id))",
                    {"plate": plate, "mjd": mjd, "fiberid": fiberid, "run2d": parts[4]},
                )
            )
        if text.isdecimal() and int(text) >= SMALLEST_SPECOBJID:
            meanings += _conditions(int(text))
        return meanings
    try:
        number = operator.index(key)
    except TypeError:
        raise UsageError(
            f"{key!r} names no spectrum",
            "Give a text or an integer: numbers with a decimal point do not hold a specObjID",
        ) from None
    if number >= SMALLEST_SPECOBJID:
        return [("p.specobjid = CAST(:id AS numeric)", {"id": str(number)})]
    return [("s.source_id = :id", {"id": number})]
