"""Spectra in the database: arrays as checksummed blobs, matrices on a window of the log grid.

The grid is loglam = 3.5 + 1e-4 i (log10 of the vacuum wavelength in Angstrom), the one on which
SDSS writes all its coadds; a spectrum is a run of pixels from ``first_index`` on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalog.errors import ChunkFailed

LOGLAM_ORIGIN = 3.5
LOGLAM_STEP = 1e-4
FLUX_UNIT = "1e-17 erg / (s cm2 Angstrom)"  # of stored fluxes; LAMOST's are relative


def grid_loglam(first_index: int, n_pixels: int) -> np.ndarray:
    """log10 of the vacuum wavelengths [Angstrom] of pixels of the grid, shape (n_pixels,)."""
    return LOGLAM_ORIGIN + LOGLAM_STEP * (first_index + np.arange(n_pixels))


def encode(values: np.ndarray) -> bytes:
    """Return a 1-D array as little-endian bytes: integers as int32, anything else as float32."""
    kind = "<i4" if np.asarray(values).dtype.kind in "iub" else "<f4"
    return np.ascontiguousarray(values, dtype=kind).tobytes()


def decode(blob: bytes | memoryview, dtype: str = "<f4") -> np.ndarray:
    """Return the array of a blob, native-endian."""
    return np.frombuffer(blob, dtype).astype(np.dtype(dtype).newbyteorder("="))


def checksum(*blobs: bytes) -> str:
    """Return the SHA-256 over blobs, each preceded by its length."""
    total = hashlib.sha256()
    for blob in blobs:
        total.update(len(blob).to_bytes(8, "little"))
        total.update(blob)
    return total.hexdigest()


@dataclass(frozen=True)
class SpectrumMatrix:
    """Spectra on one window of the grid, padded with ivar 0.

    Attributes
    ----------
    source_id : ndarray, shape (n,)
    first_index : int
        Grid index of the first column.
    flux, ivar : ndarray of float32, shape (n, n_pixels)
        1e-17 erg/s/cm2/A and its inverse variance; 0 is no information.
    and_mask : ndarray of int32, shape (n, n_pixels)
    z : ndarray, shape (n,)
        Redshift, NaN if unknown.
    sha256 : tuple of str
        Checksum of each stored spectrum.
    """

    source_id: np.ndarray
    first_index: int
    flux: np.ndarray
    ivar: np.ndarray
    and_mask: np.ndarray
    z: np.ndarray
    sha256: tuple[str, ...]


_READ = sa.text("""
    SELECT b.source_id, b.first_index, b.n_pixels, b.flux, b.ivar, b.and_mask, b.or_mask, b.sha256,
           b.z
    FROM spectrum_blob b
    WHERE b.source_id = ANY(:ids) AND b.spectrum_state = 'ok' ORDER BY b.source_id""")


def read_spectra(conn: sa.Connection, source_ids: Sequence[int]) -> SpectrumMatrix:
    """Stored spectra as matrices, in the order of ``source_id``; those without pixels are left out.

    Raises
    ------
    ChunkFailed
        If a blob does not have the checksum it was stored with.
    """
    rows = conn.execute(_READ, {"ids": [int(i) for i in source_ids]}).all()
    for row in rows:
        if checksum(row.flux, row.ivar, row.and_mask, row.or_mask) != row.sha256:
            raise ChunkFailed(
                f"the stored spectrum of source {row.source_id} is damaged (checksum)",
                "Ingest its file again",
            )
    first = min((r.first_index for r in rows), default=0)
    last = max((r.first_index + r.n_pixels for r in rows), default=0)
    shape = (len(rows), last - first)
    flux, ivar = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    mask = np.zeros(shape, np.int32)
    for i, row in enumerate(rows):
        window = slice(row.first_index - first, row.first_index - first + row.n_pixels)
        flux[i, window] = decode(row.flux)
        ivar[i, window] = decode(row.ivar)
        mask[i, window] = decode(row.and_mask, "<i4")
    return SpectrumMatrix(
        source_id=np.array([r.source_id for r in rows], np.int64),
        first_index=first,
        flux=flux,
        ivar=ivar,
        and_mask=mask,
        z=np.array([np.nan if r.z is None else r.z for r in rows], float),
        sha256=tuple(r.sha256 for r in rows),
    )


#: Joins ``n``, the up-to-date normalized spectrum, to a row ``b`` of spectrum_blob.
JOIN_NORMALIZED = """LEFT JOIN normalized_spectrum n
    ON n.source_id = b.source_id AND n.recipe = :recipe AND n.recipe_version = :recipe_version
   AND n.spectrum_sha256 = b.sha256
   AND n.z IS NOT DISTINCT FROM (CASE WHEN :rest_frame THEN b.z END)"""

#: Condition on a row ``b`` of spectrum_blob: usable, and of a sample's pairs where one is given;
#: else the newest reduction of its observation. A sample keeps what it was selected from.
USABLE = """b.spectrum_state = 'ok' AND CASE WHEN CAST(:sample_id AS bigint) IS NULL
    THEN NOT EXISTS (SELECT FROM superseded_spectrum x WHERE x.source_id = b.source_id)
    ELSE b.source_id IN (SELECT right_id FROM star_link WHERE sample_id = :sample_id) END"""


@dataclass(frozen=True)
class NormalizedMatrix:
    """Normalized spectra on the grid of their recipe; arrays of shape (n, n_pixels).

    The continuum is NaN where it was not asked for.
    """

    source_id: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    continuum: np.ndarray


def read_normalized(
    conn: sa.Connection,
    recipe: str,
    version: int,
    source_ids: Sequence[int],
    n_pixels: int,
    *,
    with_continuum: bool = True,
) -> NormalizedMatrix:
    """Normalized spectra of a recipe, in the order of ``source_id``; missing ones are left out.

    Parameters
    ----------
    conn : Connection
        With psycopg below.
    recipe, version
        Of the normalization.
    source_ids : sequence of int
        Which spectra.
    n_pixels : int
        Length of the recipe's grid.
    with_continuum : bool
        Whether to read the continuum, a third of what there is to read.
    """
    names = ("flux", "ivar", "continuum")[: 3 if with_continuum else 2]
    # In text, the other form that the server knows, the arrays are twice as long.
    cursor: Any = conn.connection.cursor(binary=True)
    cursor.execute(
        f"SELECT source_id, {', '.join(names)} FROM normalized_spectrum "
        "WHERE recipe = %s AND recipe_version = %s AND source_id = ANY(%s) ORDER BY source_id",
        (recipe, version, [int(i) for i in source_ids]),
    )
    rows = cursor.fetchall()
    matrices = [
        np.frombuffer(bytearray().join(row[i] for row in rows), "<f4").reshape(-1, n_pixels)
        for i in range(1, len(names) + 1)
    ]
    if not with_continuum:
        matrices.append(np.broadcast_to(np.float32(np.nan), matrices[0].shape))
    return NormalizedMatrix(np.array([row[0] for row in rows], np.int64), *matrices)
