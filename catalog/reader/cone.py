"""Read positions and radii as people give them, and select the sources of a cone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from catalog.errors import UsageError
from catalog.export.selection import Selection
from catalog.surveys.registry import SURVEYS
from catalog.version import code_version
from catalog.words import names_near


def position_of(ra: Any, dec: Any) -> tuple[float, float]:
    """Return the ICRS position [deg] of a SkyCoord, or of two numbers [deg], angles or quantities.

    Raises
    ------
    UsageError
        If it is none, or not one.
    """
    try:
        if isinstance(ra, SkyCoord):
            if dec is not None:
                raise UsageError("a SkyCoord and a declination were given", "Give one of them")
            ra, dec = ra.icrs.ra, ra.icrs.dec
        if np.ma.is_masked(ra) or np.ma.is_masked(dec):  # else it would be 0
            raise ValueError("it is masked")
        lon, lat = (float(u.Quantity(x, u.deg).value) for x in (ra, dec))
    except (TypeError, ValueError, AttributeError) as exc:  # as units and frames do not fit
        raise UsageError(
            f"this is no single position: {exc}",
            "Give a SkyCoord of one position, or right ascension and declination in degrees",
        ) from exc
    if not (math.isfinite(lon) and -90 <= lat <= 90):
        raise UsageError(
            f"ra = {lon}, dec = {lat} is no position", "Declinations go from -90 to 90 degrees"
        )
    return lon % 360.0, lat


def radius_of(radius: Any, radius_arcsec: float | None) -> float:
    """Return the radius [arcsec] of a cone, given as a quantity or as a number of arcseconds.

    Raises
    ------
    UsageError
        If it is neither, or out of range.
    """
    if (radius is None) == (radius_arcsec is None):
        raise UsageError("a cone needs one radius", "Such as radius=5*u.arcmin, or radius_arcsec=2")
    if radius_arcsec is None and getattr(radius, "unit", None) is None:
        raise UsageError(
            f"the radius {radius} has no unit", "Such as radius=5*u.arcmin, or radius_arcsec=2"
        )
    try:
        arcsec = float(
            u.Quantity(radius if radius_arcsec is None else radius_arcsec, u.arcsec).value
        )
    except (TypeError, ValueError) as exc:
        raise UsageError(f"the radius {radius} is no angle: {exc}", "Such as 5*u.arcmin") from exc
    if not 0 <= arcsec <= 180 * 3600:
        raise UsageError(f"the radius {arcsec:g} arcsec is no angle", "From 0 to 180 degrees")
    return arcsec


def cone_selection(ra: float, dec: float, radius_arcsec: float, survey: str | None) -> Selection:
    """Return the selection of the sources within a cone.

    Parameters
    ----------
    ra, dec : float
        ICRS position of the centre [deg].
    radius_arcsec : float
        Largest distance, inclusive [arcsec].
    survey : str or None
        Its name, such as ``apogee``; None: all.

    Raises
    ------
    UsageError
        If there is no such survey.
    """
    if survey is not None and survey not in SURVEYS:
        raise UsageError(f"there is no survey {survey}", names_near(survey, SURVEYS, "Surveys"))
    only = "NULL" if survey is None else f"'{survey}'"
    query = f"""SELECT c.distance_arcsec, c.survey, c.survey_key, c.source_id, c.star_key, c.ra,
    c.dec, a.apogee_id, a.h, a.snr, p.plate, p.mjd, p.fiberid, p.run2d, p.specobjid, b.instrument,
    b.sn_median
FROM cone({ra!r}, {dec!r}, {radius_arcsec!r}, {only}) c
LEFT JOIN apogee_star a USING (source_id)
LEFT JOIN sdss_spectrum p USING (source_id)
LEFT JOIN spectrum_blob b USING (source_id)"""
    return Selection(
        name=f"cone of {radius_arcsec:g} arcsec around {ra:.6f} {dec:+.6f}",
        description=f"Sources within {radius_arcsec:g} arcsec of RA {ra}, Dec {dec} (deg, ICRS)",
        query=query,
        order=("distance_arcsec", "survey", "survey_key"),
        provenance={
            "what": "cone", "written_by": code_version(), "ra": ra, "dec": dec,
            "radius_arcsec": radius_arcsec, "survey": survey,
        },
    )  # fmt: skip
