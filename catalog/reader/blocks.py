"""Many spectra as matrices, a block at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalog.errors import CrosslabelError, UsageError
from catalog.reader.spectra import grid_values
from catalog.reader.tables import LimitWarning
from catalog.store.grids import RecipeGrid
from catalog.store.samples import sample_id_of
from catalog.store.spectra import (
    JOIN_NORMALIZED,
    USABLE,
    grid_loglam,
    read_normalized,
    read_spectra,
)
from catalog.words import part, verb


@dataclass(frozen=True)
class SpectrumBlock:
    """Some spectra on one grid of wavelengths.

    Attributes
    ----------
    survey, survey_key : ndarray of str, shape (n,)
        Names of the spectra.
    source_id : ndarray of int64, shape (n,)
        Their keys in this catalog.
    instrument : ndarray of str, shape (n,)
        ``SDSS``, ``BOSS`` or ``LAMOST``: spectra of two instruments differ also where the star does
        not.
    z : ndarray, shape (n,)
        Redshift; NaN where unknown.
    wavelength : ndarray, shape (n_pixels,)
        Vacuum wavelength [Angstrom], the same in all blocks: of the star with a recipe that shifts
        spectra, else heliocentric.
    flux, ivar : ndarray of float32, shape (n, n_pixels)
        Flux [1e-17 erg/s/cm2/Angstrom; LAMOST: relative], or with a recipe flux over continuum
        [1], and its inverse variance; 0 is no information.
    recipe : str or None
        How they are normalized.
    """

    survey: np.ndarray
    survey_key: np.ndarray
    source_id: np.ndarray
    instrument: np.ndarray
    z: np.ndarray
    wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    recipe: str | None

    def __len__(self) -> int:
        return len(self.source_id)


@dataclass(frozen=True)
class SpectrumList:
    """A list of spectra: rows of keys, instrument, redshift, and their common pixels."""

    rows: list[Any]
    first_index: int
    n_pixels: int


def list_spectra(
    conn: sa.Connection, sample: str | None, grid: RecipeGrid | None, stacklevel: int
) -> SpectrumList:
    """Return the usable spectra of a sample or all, by survey and key.

    Raises
    ------
    UsageError
        If there are none, or none that are normalized.
    """
    # A recipe that nobody has joins nothing.
    values = {"recipe": None, "recipe_version": None, "rest_frame": False}
    values |= {"sample_id": sample_id_of(conn, sample)} | (grid_values(grid) if grid else {})
    query = f"""SELECT b.source_id, s.survey, s.survey_key, b.instrument, b.z, b.first_index,
    b.n_pixels, n.source_id IS NOT NULL AS normalized
FROM spectrum_blob b JOIN source s USING (source_id)
{JOIN_NORMALIZED}
WHERE {USABLE}
ORDER BY s.survey COLLATE "C", s.survey_key COLLATE "C\""""
    rows = conn.execute(sa.text(query), values).all()
    of = f" of sample {sample}" if sample else ""
    if not rows:
        raise UsageError(f"there are no spectra{of}", "Run: crosslabel ingest spectra")
    if grid is None:
        first = min(r.first_index for r in rows)
        return SpectrumList(
            list(rows), first, max(r.first_index + r.n_pixels for r in rows) - first
        )
    kept = [r for r in rows if r.normalized]
    todo = f"Run: crosslabel normalize --recipe {grid.recipe}"
    if not kept:
        raise UsageError(f"no spectrum{of} is normalized by {grid.recipe}", todo)
    if len(kept) < len(rows):
        n = len(rows) - len(kept)
        left_out = f"{part(n, len(rows), 'spectrum')}{of} left out: "
        warnings.warn(
            LimitWarning(f"{left_out}{verb(n)} not normalized by {grid.recipe}. {todo}"),
            stacklevel=stacklevel,
        )
    return SpectrumList(kept, grid.first_index, grid.n_pixels)


def read_blocks(
    conn: sa.Connection, listed: SpectrumList, grid: RecipeGrid | None, size: int
) -> Iterator[SpectrumBlock]:
    """The listed spectra in their order, so many at a time.

    Raises
    ------
    CrosslabelError
        If a spectrum has gone meanwhile.
    """
    loglam = grid_loglam(listed.first_index, listed.n_pixels)
    for start in range(0, len(listed.rows), size):
        rows = listed.rows[start : start + size]
        source_id = np.array([r.source_id for r in rows], np.int64)
        found, flux, ivar = _matrices(conn, source_id, listed, grid)
        if len(found) < len(rows):
            raise CrosslabelError("spectra went while they were read", "Begin again")
        place = np.searchsorted(found, source_id)  # they come sorted by source_id
        yield SpectrumBlock(
            survey=np.array([r.survey for r in rows]),
            survey_key=np.array([r.survey_key for r in rows]),
            source_id=source_id,
            instrument=np.array([r.instrument for r in rows]),
            z=np.array([np.nan if r.z is None else r.z for r in rows]),
            wavelength=10.0**loglam,
            flux=flux[place],
            ivar=ivar[place],
            recipe=None if grid is None else grid.recipe,
        )


def _matrices(
    conn: sa.Connection, source_id: np.ndarray, listed: SpectrumList, grid: RecipeGrid | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source ids in ascending order, flux and ivar on the pixels of the list."""
    ids = source_id.tolist()
    if grid is not None:
        done = read_normalized(
            conn, grid.recipe, grid.version, ids, grid.n_pixels, with_continuum=False
        )
        return done.source_id, done.flux, done.ivar
    found = read_spectra(conn, ids)
    flux, ivar = np.zeros((2, len(found.source_id), listed.n_pixels), np.float32)
    begin = found.first_index - listed.first_index
    window = slice(begin, begin + found.flux.shape[1])
    flux[:, window], ivar[:, window] = found.flux, found.ivar
    return found.source_id, flux, ivar
