"""Queries to SkyServer through astroquery: spectra by position, and rows of sppParams.

The service allows 60 queries a minute (https://skyserver.sdss.org, limits page). Answers are asked
for without astroquery's cache, which would keep a wrong one, and are believed only if they are CSV
with the columns, stars and positions that were asked for.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalog.archive.places import SpectrumKey
from catalog.archive.session import Manners, PoliteSession
from catalog.errors import BadInputError
from catalog.sky.vectors import separation_arcsec
from catalog.sky.xmatch import crossmatch
from catalog.surveys.specobjid import pack_specobjid

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

#: One request a second at most; queries may compute for long.
QUERY_MANNERS = Manners(interval_s=1.0, read_s=300.0)
MAX_ROWS = 500_000  # the service cuts longer answers without a word
MAX_RADIUS_ARCSEC = 180.0
SPEC_FIELDS = (
    "plate", "mjd", "fiberID", "run2d", "specObjID", "ra AS fibre_ra", "dec AS fibre_dec",
)  # fmt: skip
PHOTO_FIELDS = ("ra", "dec")
COLUMNS = (*PHOTO_FIELDS, *(f.rpartition(" ")[2] for f in SPEC_FIELDS))
# A fibre may sit beside the photometric position by which the service matches.
FIBRE_ARCSEC = 5.0
ROUNDING_ARCSEC = 0.01  # of positions on their way there and back


@contextmanager
def sky_server(base_url: str, manners: Manners = QUERY_MANNERS) -> Iterator[Any]:
    """SkyServer at a URL as astroquery's ``SDSSClass``, kept to our manners and without its cache.

    Parameters
    ----------
    base_url : str
        Such as ``https://skyserver.sdss.org``.
    manners : Manners
        Pace and patience; the session lives as long as the ``with`` block.
    """
    from astroquery import cache_conf
    from astroquery.sdss import SDSSClass, conf

    with (
        PoliteSession(manners) as session,
        conf.set_temp("skyserver_baseurl", base_url.rstrip("/")),
        cache_conf.set_temp("cache_active", False),
    ):
        service = SDSSClass()
        service._session = session
        yield service


class SkyServerLink:
    """SkyServer, opened when first asked for: astroquery then asks it for its columns.

    Parameters
    ----------
    base_url, manners
        See `sky_server`.
    """

    def __init__(self, base_url: str, manners: Manners = QUERY_MANNERS) -> None:
        self._how, self._stack = (base_url, manners), ExitStack()
        self._service: Any = None

    def service(self) -> Any:
        """The open service."""
        if self._service is None:
            self._service = self._stack.enter_context(sky_server(*self._how))
        return self._service

    def close(self) -> None:
        """Close it, if it was opened."""
        self._stack.close()
        self._service = None


def spectra_near(
    service: Any,
    release: str,
    ids: Sequence[int],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    radius_arcsec: float,
) -> dict[int, list[tuple[SpectrumKey, float, float]]]:
    """The spectra of the nearest primary photometric object of each position.

    What the service does: the nearest primary object within the radius, joined to the spectra whose
    ``bestObjID`` it is. A spectrum of another object is not found this way; the catalog files have
    all of them.

    Parameters
    ----------
    service : SDSSClass
        See `sky_server`.
    release : str
        Such as ``dr17``.
    ids : sequence of int, shape (n,)
        Our numbers of the positions.
    ra, dec : ndarray, shape (n,)
        ICRS position [deg].
    radius_arcsec : float
        Search radius, at most 180 [arcsec].

    Returns
    -------
    dict
        For every id the spectra found: key, right ascension and declination of the fibre [deg].

    Raises
    ------
    BadInputError
        HTML_BODY, MISSING_COLUMN, WRONG_CONTENT, BAD_ID or TOO_LARGE: nothing of such an answer is
        used.
    """
    from astropy import units
    from astropy.coordinates import SkyCoord

    response = service.query_crossid_async(
        coordinates=SkyCoord(ra, dec, unit="deg"),
        radius=radius_arcsec * units.arcsec,
        photoobj_fields=list(PHOTO_FIELDS),
        specobj_fields=list(SPEC_FIELDS),
        obj_names=[str(int(i)) for i in ids],
        data_release=int(release.removeprefix("dr")),
        cache=False,
    )
    found: dict[int, list[tuple[SpectrumKey, float, float]]] = {int(i): [] for i in ids}
    rows = [_spectrum(row) for row in read_rows(response, COLUMNS)]
    if not rows:
        return found
    # The answer does not repeat the names: rows belong to the stars whose positions they have.
    photo = np.array([row.photo for row in rows])
    pairs = crossmatch(ra, dec, photo[:, 0], photo[:, 1], radius_arcsec + ROUNDING_ARCSEC)
    if np.unique(pairs.right).size < len(rows):
        raise _wrong("the answer has spectra at positions that were not asked for")
    for left, right in zip(pairs.left, pairs.right, strict=True):
        spectra, row = found[int(ids[left])], rows[right]
        if all(row.key != other for other, *_ in spectra):
            spectra.append((row.key, *row.fibre))
    return found


def read_rows(response: requests.Response, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV answer as text, under the names asked for.

    Parameters
    ----------
    response : requests.Response
        The answer of the service; it may begin with a line ``#Table1``.
    columns : sequence of str
        Columns it must have, whatever their case.

    Raises
    ------
    BadInputError
        HTML_BODY, MISSING_COLUMN, TRUNCATED (rows of other lengths) or TOO_LARGE (at the limit).
    """
    text = response.text.lstrip("\ufeff \r\n")
    kind = response.headers.get("Content-Type", "").lower()
    if response.status_code != 200 or "html" in kind or text.startswith("<"):
        raise BadInputError(
            "HTML_BODY",
            f"SkyServer answers with a web page ({response.status_code})",
            "Try again later; is the address right?",
        )
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if "error_message" in text[:1000]:
        raise _wrong(f"SkyServer refuses the query: {' '.join(lines[:3])[:200]}")
    if lines and re.match(r"No (objects|rows)\b", lines[0]):  # how older releases say: none
        return []
    rows = list(csv.reader(io.StringIO("\n".join(lines))))
    header = [name.strip().lower() for name in rows[0]] if rows else []
    missing = [c for c in columns if c.lower() not in header]
    if missing:
        raise BadInputError(
            "MISSING_COLUMN", f"SkyServer's answer has no column {', '.join(missing)}", ""
        )
    if any(len(row) != len(header) for row in rows[1:]):
        raise BadInputError("TRUNCATED", "SkyServer's answer breaks off", "Try again")
    if len(rows) - 1 >= MAX_ROWS:
        raise BadInputError(
            "TOO_LARGE", f"SkyServer's answer is at its limit of {MAX_ROWS} rows", "Ask for less"
        )
    place = [header.index(c.lower()) for c in columns]
    return [{c: row[i].strip() for c, i in zip(columns, place, strict=True)} for row in rows[1:]]


class _Row(NamedTuple):
    """One row of an answer: the spectrum, and positions of object and fibre [deg]."""

    key: SpectrumKey
    photo: tuple[float, float]
    fibre: tuple[float, float]


def _spectrum(row: dict[str, str]) -> _Row:
    """One row, checked: its id must be that of its key, and its two positions one place."""
    try:
        key = SpectrumKey(int(row["plate"]), int(row["mjd"]), int(row["fiberID"]), row["run2d"])
        stated = int(row["specObjID"])
        photo = (float(row["ra"]), float(row["dec"]))
        fibre = (float(row["fibre_ra"]), float(row["fibre_dec"]))
    except ValueError as exc:
        raise _wrong(f"SkyServer's answer has a row that cannot be read ({exc})") from exc
    if not all(0 <= ra < 360 and -90 <= dec <= 90 for ra, dec in (photo, fibre)):
        raise BadInputError("BAD_COORD", f"SkyServer gives no position of {key}", "")
    if separation_arcsec(*photo, *fibre) > FIBRE_ARCSEC:
        raise _wrong(f"SkyServer joins {key} to an object that is elsewhere")
    expected = pack_specobjid(key.plate, key.mjd, key.fiberid, key.run2d)
    if expected is not None and expected != stated:
        raise BadInputError(
            "BAD_ID", f"SkyServer gives the specObjID {stated} of {key}, not {expected}", ""
        )
    return _Row(key, photo, fibre)


def _wrong(what: str) -> BadInputError:
    """An answer to another question."""
    return BadInputError("WRONG_CONTENT", what, "Nothing of this answer was used; try again")
