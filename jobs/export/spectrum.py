"""Stored spectra as what their exported files say: keys, position, pixels, masks, provenance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalog.errors import ChunkFailed
from catalog.export.spectrum import SpectrumExport
from catalog.store.normalized import recipe_values
from catalog.store.samples import Sample
from catalog.store.spectra import JOIN_NORMALIZED, checksum, decode, grid_loglam
from catalog.surveys.registry import SURVEYS, all_instruments
from catalog.surveys.survey import Instrument
from catalog.version import code_version
from models.spectra.masks import SPPIXMASK
from models.spectra.normalize import NORMALIZE_FLAGS, Recipe

SPECTRA_PER_READ = 100
_REDSHIFT_UNKNOWN = next(
    b for b, (name, _) in NORMALIZE_FLAGS.items() if name == "REDSHIFT_UNKNOWN"
)

_READ = f"""
SELECT b.source_id, s.survey, s.survey_key, s.ra, s.dec, d.specobjid::text AS specobjid, d.plate,
       d.mjd, d.fiberid, d.run2d, b.instrument, b.class AS object_class, b.subclass, b.z, b.z_err,
       b.zwarning, b.sn_median, b.bad_fraction, b.loglam0, b.dloglam, b.n_pixels, b.flux, b.ivar,
       b.and_mask, b.or_mask, b.sha256, n.normalize_flags, n.good_fraction,
       n.flux AS normalized_flux, n.ivar AS normalized_ivar, n.continuum,
       t.star_key, l.survey AS left_survey, l.survey_key AS left_key, k.sep_arcsec,
       b.simulated OR EXISTS (SELECT FROM stellar_label x JOIN label_set y USING (label_set_id)
               WHERE x.source_id = b.source_id AND y.status = 'complete' AND y.kind = 'survey'
                 AND (y.params ->> 'simulated')::boolean) AS simulated
FROM spectrum_blob b
JOIN source s ON s.source_id = b.source_id
LEFT JOIN sdss_spectrum d ON d.source_id = b.source_id
{JOIN_NORMALIZED}
LEFT JOIN star_link k ON k.right_id = b.source_id AND k.sample_id = :sample_id
LEFT JOIN star t ON t.star_id = k.star_id
LEFT JOIN source l ON l.source_id = k.left_id
WHERE b.source_id = ANY(:ids)
ORDER BY s.survey, s.survey_key COLLATE "C"
"""


@dataclass(frozen=True)
class Chosen:
    """The sample and recipe of an export, with the cards of all its files.

    Attributes
    ----------
    recipe : Recipe
        Of the normalization.
    sample : Sample or None
        None: all usable spectra.
    provenance : dict
        JSON-able values.
    simulated : bool
        Whether the reference labels of the sample are simulated.
    """

    recipe: Recipe
    sample: Sample | None
    provenance: dict[str, Any]
    simulated: bool

    @property
    def sample_id(self) -> int | None:
        """The id of the sample; None where there is none."""
        return None if self.sample is None else self.sample.sample_id


def read_exported(conn: sa.Connection, chosen: Chosen, ids: list[int]) -> Iterator[Any]:
    """The rows of some normalized spectra, a few read at a time.

    Raises
    ------
    ChunkFailed
        If a stored spectrum is damaged.
    """
    values = recipe_values(chosen.recipe, chosen.sample_id)
    for i in range(0, len(ids), SPECTRA_PER_READ):
        part = {"ids": ids[i : i + SPECTRA_PER_READ]}
        for row in conn.execute(sa.text(_READ), values | part).all():
            if checksum(row.flux, row.ivar, row.and_mask, row.or_mask) != row.sha256:
                raise ChunkFailed(
                    f"the stored spectrum {row.survey_key} is damaged (checksum)",
                    "Ingest its file again",
                )
            yield row


def as_export(row: Any, chosen: Chosen) -> SpectrumExport:
    """Return a row as what its file says."""
    recipe = chosen.recipe
    rest = recipe.rest_frame and not row.normalize_flags >> _REDSHIFT_UNKNOWN & 1
    instrument = all_instruments().get(row.instrument, Instrument(name=row.instrument))
    left = SURVEYS.get(row.left_survey or "apogee")
    reference = row.left_survey if left is None else left.title
    cards = {
        "ORIGIN": ("crosslabel", ""),
        "CREATOR": (f"crosslabel {code_version()}", ""),
        "SIMULATE": (
            True if row.simulated or chosen.simulated else None,
            "it, or its labels, nobody observed",
        ),
        "OBJECT": (row.star_key or row.survey_key, "star, or spectrum"),
        "SURVEY": (row.survey, ""),
        "SURVKEY": (row.survey_key, "key in the survey"),
        "SPECID": (row.specobjid, "specObjID, unsigned 64-bit"),
        "PLATEID": (row.plate, ""),
        "MJD": (row.mjd, ""),
        "FIBERID": (row.fiberid, ""),
        "RUN2D": (row.run2d, "reduction"),
        "INSTRUME": (row.instrument, ""),
        "RA": (row.ra, "[deg]"),
        "DEC": (row.dec, "[deg]"),
        "RADESYS": ("ICRS", ""),
        "CLASS": (row.object_class, "of the pipeline"),
        "SUBCLASS": (row.subclass, "of the pipeline"),
        "Z": (_short(row.z), "redshift of the pipeline"),
        "Z_ERR": (_short(row.z_err), ""),
        "ZWARNING": (row.zwarning, ""),
        "SN_MED": (_short(row.sn_median), "median of flux * sqrt(ivar)"),
        "BADFRAC": (_short(row.bad_fraction), "fraction of pixels with ivar = 0"),
        "VACUUM": (True, "wavelengths are those in vacuum"),
        "SPECSHA": (row.sha256, "SHA-256 of the stored spectrum"),
        "SAMPLE": (None if chosen.sample is None else chosen.sample.name, ""),
        "LEFTKEY": (row.left_key, f"matched {reference} source"),
        "SEPARCS": (row.sep_arcsec, "[arcsec] separation from it"),
    }
    bits = [
        f"and_mask, or_mask bit {bit}: {name}, {what}" for bit, (name, what) in SPPIXMASK.items()
    ]
    notes = (
        bits
        if instrument.sdss_masks
        else [f"{row.instrument} numbers its mask bits in its own way."]
    )
    if instrument.relative_flux:
        # With a unit, specutils finds the flux; without one it would not open the file.
        notes.append(
            f"The flux of {row.instrument} is relative: its unit is nominal, its shape counts."
        )
    return SpectrumExport(
        cards=cards,
        notes=tuple(notes),
        provenance=chosen.provenance,
        loglam=row.loglam0 + row.dloglam * np.arange(row.n_pixels),
        flux=decode(row.flux),
        ivar=decode(row.ivar),
        and_mask=decode(row.and_mask, "<i4"),
        or_mask=decode(row.or_mask, "<i4"),
        normalized_cards={
            "RECIPE": (recipe.name, "of the normalization"),
            "RECVER": (recipe.version, "its version"),
            "FRAME": ("STAR" if rest else "OBSERVED", "frame of the wavelengths"),
            "NORMFLAG": (row.normalize_flags, "bits of the normalization"),
            "GOODFRAC": (_short(row.good_fraction), "fraction of good pixels"),
        },
        normalized_notes=tuple(
            f"NORMFLAG bit {bit}: {name}, {what}" for bit, (name, what) in NORMALIZE_FLAGS.items()
        ),
        normalized_loglam=grid_loglam(recipe.first_index, recipe.n_pixels),
        normalized_flux=decode(row.normalized_flux),
        normalized_ivar=decode(row.normalized_ivar),
        continuum=decode(row.continuum),
    )


def _short(value: float | None) -> float | None:
    """Return a float32 of the database as the shortest number that means it."""
    return None if value is None else float(str(np.float32(value)))
