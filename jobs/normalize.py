"""Normalize spectra by a recipe: those that are new, or have changed since they were normalized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.bulk import upsert_arrays
from catalog.store.db import Database
from catalog.store.labels import register_flags
from catalog.store.normalized import (
    FROM_SPECTRA,
    batch_keys,
    batch_range,
    recipe_values,
    stale_ids,
)
from catalog.store.samples import sample_id_of
from catalog.store.schema import normalized_spectrum
from catalog.store.spectra import encode, read_spectra
from catalog.words import count, names_near, verb
from jobs.engine.job import Job, Outcome
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED
from models.spectra.normalize import NORMALIZE_FLAGS, RECIPES, Normalized, Recipe, normalize

KIND = "normalize"
PRODUCER = "normalize"  # of the flag bits
SPECTRA_PER_CHUNK = 200


@dataclass(frozen=True)
class NormalizeParams:
    """Parameters of a normalization.

    Attributes
    ----------
    recipe : str
        ``default`` or ``seed-2018``; see `models.spectra.normalize`.
    sample : str, optional
        Only the spectra of the accepted pairs of this sample.
    batch : int
        Spectra that commit together.
    """

    recipe: str = "default"
    sample: str | None = None
    batch: int = field(default=SPECTRA_PER_CHUNK, metadata=NOT_HASHED)


class Batch(NamedTuple):
    """Normalized spectra with what they were made from."""

    source_id: np.ndarray
    spectrum_sha256: tuple[str, ...]
    z: np.ndarray
    normalized: Normalized


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises
    ------
    UsageError
        If there is none; the message lists them.
    """
    if name not in RECIPES:
        raise UsageError(f"there is no recipe {name}", names_near(name, RECIPES, "Recipes"))
    return RECIPES[name]


def normalize_job(params: NormalizeParams, db: Database) -> Job:
    """Make the job that brings the normalized spectra of a recipe up to date.

    Raises
    ------
    UsageError
        If there is no such recipe or sample.
    """
    recipe = find_recipe(params.recipe)
    with db.reader() as conn:
        sample_id_of(conn, params.sample)

    def plan(conn: sa.Connection) -> Sequence[str]:
        stale = stale_ids(conn, recipe, sample_id_of(conn, params.sample))
        return batch_keys(stale, params.batch)

    def compute(conn: sa.Connection, key: str) -> Batch | None:
        # What is stale is asked again: a resumed run, or another sample's, may have done a part.
        sample_id = sample_id_of(conn, params.sample)
        return _normalize(conn, recipe, stale_ids(conn, recipe, sample_id, batch_range(key)))

    def begin(conn: sa.Connection, run: Run) -> int:
        register_flags(conn, PRODUCER, dict(NORMALIZE_FLAGS))
        return 0

    return Job(
        KIND, f"recipe {recipe.name}", params, plan, compute,
        write=lambda conn, run, batch: _write(conn, recipe, batch), begin=begin,
        outcome=lambda conn, run_id: _outcome(
            conn, recipe, sample_id_of(conn, params.sample)
        ),
        unit=f"batches of {params.batch} spectra",
    )  # fmt: skip


def _normalize(conn: sa.Connection, recipe: Recipe, source_ids: list[int]) -> Batch | None:
    """Read spectra and normalize them; None where another run has done all of them."""
    if not source_ids:
        return None
    spectra = read_spectra(conn, source_ids)
    done = normalize(
        recipe, spectra.first_index, spectra.flux, spectra.ivar, spectra.and_mask, spectra.z
    )
    z = spectra.z if recipe.rest_frame else np.full(len(spectra.z), np.nan)
    return Batch(spectra.source_id, spectra.sha256, z.astype(np.float32), done)


def _write(conn: sa.Connection, recipe: Recipe, batch: Batch | None) -> int:
    """Write one batch; returns the rows that changed."""
    if batch is None:
        return 0
    n = len(batch.source_id)
    done = batch.normalized
    return upsert_arrays(
        conn,
        normalized_spectrum,
        {
            "source_id": batch.source_id,
            "recipe": _objects([recipe.name] * n),
            "recipe_version": np.full(n, recipe.version, np.int32),
            "spectrum_sha256": _objects(batch.spectrum_sha256),
            "z": batch.z,
            "normalize_flags": done.flags,
            "good_fraction": done.good_fraction,
            "flux": _objects([encode(row) for row in done.flux]),
            "ivar": _objects([encode(row) for row in done.ivar]),
            "continuum": _objects([encode(row) for row in done.continuum]),
        },
    )


def _outcome(conn: sa.Connection, recipe: Recipe, sample_id: int | None) -> Outcome:
    """Count the spectra of a sample, or all, that are normalized by a recipe now."""
    query = sa.text(f"SELECT count(n.source_id) {FROM_SPECTRA}")
    n = conn.scalar(query, recipe_values(recipe, sample_id)) or 0
    return Outcome(f"{count(n, 'spectrum')} normalized", {"spectrum_count": n})


def _objects(values: Sequence[str | bytes]) -> np.ndarray:
    """Texts or blobs as an array of Python objects."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


@dataclass(frozen=True)
class NormalizeCounts:
    """Counts and ranges of the normalized spectra of a recipe.

    Attributes
    ----------
    recipe : Recipe
    n_spectra, n_missing : int
        Spectra with an up-to-date normalized one, and without.
    first_wavelength, last_wavelength : float
        Pixels that all these spectra cover before normalization [Angstrom]; NaN if there are none.
    sn_min, sn_median : float
        Smallest and median signal-to-noise ratio per pixel of the spectra; NaN if there are none.
    flags : dict of str to int
        Spectra with each flag of `models.spectra.normalize.NORMALIZE_FLAGS`.
    """

    recipe: Recipe
    n_spectra: int
    n_missing: int
    first_wavelength: float
    last_wavelength: float
    sn_min: float
    sn_median: float
    flags: dict[str, int]


def count_normalized(conn: sa.Connection, recipe_name: str, sample: str | None) -> NormalizeCounts:
    """Count and describe the normalized spectra of a recipe, of a sample or all.

    Raises
    ------
    UsageError
        If there is no such recipe or sample.
    """
    recipe = find_recipe(recipe_name)
    bits = ", ".join(
        f"count(*) FILTER (WHERE n.normalize_flags >> {bit} & 1 = 1)" for bit in NORMALIZE_FLAGS
    )
    query = f"""
        SELECT count(n.source_id), count(*) - count(n.source_id),
               power(10, 3.5 + 1e-4 * max(b.first_index) FILTER (WHERE n.source_id IS NOT NULL)),
               power(10, 3.5 + 1e-4 * (min(b.first_index + b.n_pixels)
                                       FILTER (WHERE n.source_id IS NOT NULL) - 1)),
               min(b.sn_median) FILTER (WHERE n.source_id IS NOT NULL),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY b.sn_median)
                   FILTER (WHERE n.source_id IS NOT NULL), {bits}
        {FROM_SPECTRA}"""
    values = recipe_values(recipe, sample_id_of(conn, sample))
    n, missing, *numbers = conn.execute(sa.text(query), values).one()
    first, last, sn_min, sn_median = (np.nan if x is None else float(x) for x in numbers[:4])
    names = [name for name, _ in NORMALIZE_FLAGS.values()]
    flags = dict(zip(names, numbers[4:], strict=True))
    return NormalizeCounts(recipe, n, missing, first, last, sn_min, sn_median, flags)


def normalize_report(conn: sa.Connection, recipe_name: str, sample: str | None = None) -> str:
    """Describe the normalized spectra of a recipe in a few lines; see `count_normalized`."""
    counts = count_normalized(conn, recipe_name, sample)
    wavelength = counts.recipe.wavelength
    frame = "the star's frame" if counts.recipe.rest_frame else "the observed frame"
    lines = [
        f"{count(counts.n_spectra, 'spectrum')} normalized by {recipe_name}"
        + (f" in sample {sample}" if sample else "")
        + (f", {counts.n_missing:,} {verb(counts.n_missing)} not" if counts.n_missing else ""),
        f"cropped to {wavelength[0]:.1f} - {wavelength[-1]:.1f} A in {frame} "
        f"({counts.recipe.n_pixels} pixels)",
    ]
    if counts.n_spectra:
        lines += [
            _common_range(counts),
            f"signal-to-noise ratio per pixel: minimum {counts.sn_min:.1f}, "
            f"median {counts.sn_median:.1f}",
        ]
    flagged = ", ".join(f"{n:,} {name}" for name, n in counts.flags.items() if n)
    return "\n".join([*lines, f"flags: {flagged or 'none'}"])


def _common_range(counts: NormalizeCounts) -> str:
    """Return the wavelengths that all spectra cover, in words."""
    if counts.first_wavelength > counts.last_wavelength:
        return "no pixel is covered by all spectra"
    return (
        f"all spectra cover {counts.first_wavelength:.1f} - {counts.last_wavelength:.1f} A "
        "in the observed frame"
    )
