"""A few spectra of the sample for the figures that show spectra: the same ones every time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from catalog.store.labels import find_label_set
from catalog.store.samples import find_sample
from catalog.store.spectra import SpectrumMatrix, read_spectra
from jobs.report.drawing import Subject

_CANDIDATES = """
    SELECT k.right_id, r.survey_key, b.sn_median, s.teff, s.logg, s.fe_h
    FROM star_link k JOIN source r ON r.source_id = k.right_id
    JOIN spectrum_blob b ON b.source_id = k.right_id
    JOIN stellar_label s ON s.label_set_id = :reference
                        AND s.source_id IN (k.left_id, k.right_id)
    WHERE k.sample_id = :sample_id AND b.spectrum_state = 'ok' AND s.teff IS NOT NULL
    ORDER BY s.teff, r.survey_key"""


@dataclass(frozen=True)
class ChosenSpectra:
    """Some spectra with what is known of their stars, from cool to hot.

    Attributes
    ----------
    keys : tuple of str
        Keys of the spectra with their S/N per pixel, for headings.
    labels : tuple of str
        Labels of the reference set, for headings.
    matrix : SpectrumMatrix
        The stored spectra, in the same order.
    """

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    matrix: SpectrumMatrix


def choose_spectra(
    conn: sa.Connection, subject: Subject, n: int, *, least_sn: float = 0.0
) -> ChosenSpectra | None:
    """Choose spectra of the sample at even steps of the ranking by temperature.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction.
    subject : Subject
        Whose sample and reference labels are used.
    n : int
        How many; fewer where the sample has no more.
    least_sn : float
        Share of the spectra, those of the lowest signal-to-noise ratio, that are passed over.

    Returns
    -------
    ChosenSpectra or None
        None where the sample has no spectrum with a temperature.
    """
    given = {
        "sample_id": find_sample(conn, subject.sample).sample_id,
        "reference": find_label_set(conn, subject.reference).label_set_id,
    }
    rows = conn.execute(sa.text(_CANDIDATES), given).all()
    if not rows:
        return None
    sn = np.array([np.nan if row.sn_median is None else row.sn_median for row in rows])
    floor = np.quantile(sn[np.isfinite(sn)], least_sn) if np.isfinite(sn).any() else 0.0
    rows = [row for row, value in zip(rows, sn, strict=True) if not value < floor]
    places = np.unique(np.linspace(0, len(rows) - 1, n + 2).round().astype(int)[1:-1])
    chosen = [rows[i] for i in places]
    matrix = read_spectra(conn, [row.right_id for row in chosen])
    order = [int(np.flatnonzero(matrix.source_id == row.right_id)[0]) for row in chosen]
    keys, labels = tuple(map(_key, chosen)), tuple(map(_labels, chosen))
    return ChosenSpectra(keys, labels, _reordered(matrix, np.array(order)))


def _key(row: sa.Row[Any]) -> str:
    """Return the key and S/N of a spectrum."""
    return row.survey_key + (f", S/N {row.sn_median:.0f}" if row.sn_median is not None else "")


def _labels(row: sa.Row[Any]) -> str:
    """Return labels of a star, in one line."""
    words = [f"Teff {row.teff:.0f} K"]
    words += [f"log g {row.logg:.2f}"] if row.logg is not None else []
    words += [f"[Fe/H] {row.fe_h:+.2f}"] if row.fe_h is not None else []
    return ", ".join(words)


def _reordered(matrix: SpectrumMatrix, order: NDArray[np.int64]) -> SpectrumMatrix:
    """Return the same spectra in another order."""
    return SpectrumMatrix(
        source_id=matrix.source_id[order],
        first_index=matrix.first_index,
        flux=matrix.flux[order],
        ivar=matrix.ivar[order],
        and_mask=matrix.and_mask[order],
        z=matrix.z[order],
        sha256=tuple(matrix.sha256[i] for i in order),
    )
