"""Two catalogs as arrays, cut into sky pixels: what a pixel holds, and its matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from catalog.errors import UsageError
from catalog.sky.healpix import MAX_ORDER, border, coarsen, neighbours, order_for_radius
from catalog.sky.xmatch import crossmatch
from catalog.store.bulk import fetch_arrays
from catalog.surveys.registry import SURVEYS
from catalog.words import names_near

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# The border of a pixel is this much finer: it adds an eighth to the pixel's area.
BORDER_ORDERS = 5
_ROW = np.dtype([("source_id", "i8"), ("ra", "f8"), ("dec", "f8"), ("healpix29", "i8")])


@dataclass(frozen=True)
class Catalog:
    """Sources of one side, sorted by HEALPix index.

    Attributes
    ----------
    source_id, healpix29 : ndarray of int64, shape (n,)
        Key, and nested HEALPix index at order 29.
    ra, dec : ndarray, shape (n,)
        ICRS position [deg].
    """

    source_id: Integers
    ra: Floats
    dec: Floats
    healpix29: Integers

    def rows_in(self, pixels: Integers, order: int) -> Integers:
        """Find the rows that lie in any of the pixels."""
        shift = 2 * (MAX_ORDER - order)
        begin = np.searchsorted(self.healpix29, pixels << shift)
        end = np.searchsorted(self.healpix29, (pixels + 1) << shift)
        return np.concatenate([np.arange(b, e) for b, e in zip(begin, end, strict=True)])


@dataclass(frozen=True)
class PixelPairs:
    """The matches of one pixel.

    Attributes
    ----------
    searched : ndarray of int64, shape (n_left,)
        Every left source of the pixel, matched or not.
    left_id, right_id : ndarray of int64, shape (n_pairs,)
        Pairs within the radius.
    sep_arcsec : ndarray, shape (n_pairs,)
        Separation [arcsec].
    """

    searched: Integers
    left_id: Integers
    right_id: Integers
    sep_arcsec: Floats


def split_spec(spec: str) -> tuple[str, str]:
    """Split ``survey`` or ``survey/release`` into the survey and the prefix of its keys."""
    survey, _, release = spec.partition("/")
    return survey, f"{release}/" if release else ""


def load_catalog(conn: sa.Connection, spec: str) -> Catalog:
    """Read the positions of a catalog.

    Parameters
    ----------
    spec : str
        ``survey``, or ``survey/release``.

    Raises
    ------
    UsageError
        If the database has no such sources; the message lists what there is.
    """
    survey, prefix = split_spec(spec)
    rows = fetch_arrays(
        conn,
        "SELECT source_id, ra, dec, healpix29 FROM source "
        "WHERE survey = :survey AND starts_with(survey_key, :prefix)",
        _ROW,
        {"survey": survey, "prefix": prefix},
    )
    if rows["source_id"].size == 0:
        raise UsageError(
            f"there are no sources of {spec}",
            f"{names_near(spec, _known_specs(conn), 'There are')}. {_how_to_ingest(survey)}",
        )
    by = np.argsort(rows["healpix29"], kind="stable")
    return Catalog(**{name: values[by] for name, values in rows.items()})


def _known_specs(conn: sa.Connection) -> list[str]:
    """List surveys, and the releases of those whose keys name one."""
    query = sa.text(
        "SELECT DISTINCT survey || CASE WHEN survey_key LIKE '%/%' "
        "THEN '/' || split_part(survey_key, '/', 1) ELSE '' END AS spec FROM source ORDER BY spec"
    )
    return list(conn.scalars(query))


def _how_to_ingest(survey: str) -> str:
    """Name the commands that bring in sources of a survey."""
    hint = SURVEYS[survey].ingest_hint if survey in SURVEYS else ""
    return f"Run: {hint or SURVEYS['sdss'].ingest_hint}"


def left_and_right_digests(left: Catalog, right: Catalog, order: int) -> dict[int, tuple[int, int]]:
    """Digest what each pixel with left sources is matched from.

    Returns
    -------
    dict
        Pixel -> digest of its left sources, digest of the right sources in it and around it.
    """
    own = _pixel_digests(left, order)
    other = _pixel_digests(right, order)
    pixels = np.fromiter(own, np.int64, len(own))
    around = neighbours(pixels, order).tolist() if own else []
    return {
        pixel: (own[pixel], _signed(sum(other.get(p, 0) for p in near)))
        for pixel, near in zip(own, around, strict=True)
    }


def match_pixel(
    left: Catalog, right: Catalog, radius_arcsec: float, order: int, pixel: int
) -> PixelPairs:
    """Match the left sources of a pixel with the right ones in it and near it.

    Near are the cells that touch it, small ones but not narrower than the radius. The order must
    not exceed `catalog.sky.healpix.order_for_radius`.
    """
    whole = np.array([pixel])
    finer = min(order + BORDER_ORDERS, order_for_radius(radius_arcsec))
    mine = left.rows_in(whole, order)
    near = np.concatenate(
        [right.rows_in(whole, order), right.rows_in(border(pixel, order, finer), finer)]
    )
    pairs = crossmatch(
        left.ra[mine],
        left.dec[mine],
        right.ra[near],
        right.dec[near],
        radius_arcsec,
        left_index29=left.healpix29[mine],
        right_index29=right.healpix29[near],
    )
    return PixelPairs(
        left.source_id[mine],
        left.source_id[mine[pairs.left]],
        right.source_id[near[pairs.right]],
        pairs.sep_arcsec,
    )


def _pixel_digests(catalog: Catalog, order: int) -> dict[int, int]:
    """Sum the digests of the sources of each pixel: the order of the rows does not matter."""
    bits = _mixed(catalog.source_id.view(np.uint64))
    for values in (catalog.ra, catalog.dec):
        bits = _mixed(bits ^ np.ascontiguousarray(values).view(np.uint64))
    pixels, first = np.unique(coarsen(catalog.healpix29, order), return_index=True)
    sums = np.add.reduceat(bits, first) if pixels.size else bits
    return dict(zip(pixels.tolist(), sums.view(np.int64).tolist(), strict=True))


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64 bits so that each depends on all (the finaliser of SplitMix64, Steele et al. 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _signed(total: int) -> int:
    """Wrap a sum into a signed 64-bit integer, as the database holds it."""
    return (total + (1 << 63)) % (1 << 64) - (1 << 63)
