"""SSPP's labels from SkyServer's table sppParams, as files in the layout of ssppOut.

The table has names without underscores and no positions; those are SpecObjAll's. Columns follow
https://skyserver.sdss.org/dr17/MoreTools/browser (sppParams, SpecObjAll). What is missing is -9999
in both. Alpha abundances, colours and magnitudes of ssppOut are not in this table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catalog.archive.places import SpectrumKey
from catalog.archive.skyserver import read_rows
from catalog.errors import BadInputError, CrosslabelError
from catalog.surveys.specobjid import pack_specobjid

#: Column of ssppOut: where it is in SkyServer, its format in FITS, its unit.
COLUMNS: dict[str, tuple[str, str, str]] = {
    "SPECOBJID": ("p.specObjID", "22A", ""),
    "PLATE": ("p.PLATE", "J", ""),
    "MJD": ("p.MJD", "J", "d"),
    "FIBER": ("p.FIBERID", "J", ""),
    "RUN2D": ("p.RUN2D", "8A", ""),
    "SPECPRIMARY": ("p.sciencePrimary", "J", ""),
    "PLUG_RA": ("s.ra", "D", "deg"),
    "PLUG_DEC": ("s.dec", "D", "deg"),
    "FLAG": ("p.FLAG", "5A", ""),
    "SPECTYPE_SUBCLASS": ("p.SPECTYPESUBCLASS", "20A", ""),
    "TEFF_ADOP": ("p.TEFFADOP", "E", "K"),
    "TEFF_ADOP_UNC": ("p.TEFFADOPUNC", "E", "K"),
    "LOGG_ADOP": ("p.LOGGADOP", "E", ""),
    "LOGG_ADOP_UNC": ("p.LOGGADOPUNC", "E", ""),
    "FEH_ADOP": ("p.FEHADOP", "E", ""),
    "FEH_ADOP_UNC": ("p.FEHADOPUNC", "E", ""),
    "SNR": ("p.SNR", "E", ""),
    "ZWARNING": ("p.ZWARNING", "K", ""),
}
Rows = Mapping[SpectrumKey, Mapping[str, Any]]


def sspp_of_plate(service: Any, release: str, plate: int) -> Rows:
    """All rows of sppParams of one plate.

    Parameters
    ----------
    service : SDSSClass
        See `catalog.archive.skyserver.sky_server`.
    release : str
        Such as ``dr17``.
    plate : int
        Plate number.

    Returns
    -------
    mapping
        Key of the spectrum -> values by the names of ssppOut.

    Raises
    ------
    BadInputError
        The codes of `read_rows`, and WRONG_CONTENT and BAD_ID: nothing of such an answer is used.
    """
    fields = ", ".join(f"{place} AS {name}" for name, (place, *_) in COLUMNS.items())
    response = service.query_sql_async(
        f"SELECT {fields} FROM sppParams AS p JOIN SpecObjAll AS s "
        f"ON s.specObjID = p.specObjID WHERE p.PLATE = {int(plate)}",
        data_release=int(release.removeprefix("dr")),
        cache=False,
    )
    found: dict[SpectrumKey, Mapping[str, Any]] = {}
    for text in read_rows(response, tuple(COLUMNS)):
        row = _values(text)
        key = SpectrumKey(row["PLATE"], row["MJD"], row["FIBER"], row["RUN2D"])
        if key.plate != plate:
            raise BadInputError(
                "WRONG_CONTENT", f"SkyServer gives {key} where plate {plate} was asked for", ""
            )
        if row["SPECOBJID"] != str(pack_specobjid(key.plate, key.mjd, key.fiberid, key.run2d)):
            raise BadInputError(
                "BAD_ID", f"SkyServer gives the specObjID {row['SPECOBJID']} for {key}", ""
            )
        found[key] = row
    return found


def write_sspp(path: Path, rows: Sequence[Mapping[str, Any]], origin: str, release: str) -> None:
    """Write rows as ssppOut is written; the same rows make the same bytes.

    Parameters
    ----------
    path : Path
        The file; folders are made, and what was there before stays if it cannot be written.
    rows : sequence of mapping
        Values by the names of `COLUMNS`.
    origin : str
        Where they come from, for the header.
    release : str
        The release that was asked, for the header: an ingest under another one is refused.

    Raises
    ------
    CrosslabelError
        If the file cannot be written.
    """
    from astropy.io import fits

    ordered = sorted(rows, key=lambda row: tuple(row[n] for n in ("PLATE", "MJD", "FIBER")))
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name, form, unit or None, array=np.array([row[name] for row in ordered]))
            for name, (_, form, unit) in COLUMNS.items()
        ],
        name="SSPPOUT",
    )
    primary = fits.PrimaryHDU()
    primary.header["ORIGIN"] = (origin, "rows of SkyServer's sppParams")
    primary.header["RELEASE"] = (release, "data release that was asked")
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fits.HDUList([primary, table]).writeto(part, overwrite=True)
        part.replace(path)
    except OSError as exc:
        raise CrosslabelError(
            f"{path} cannot be written: {exc.strerror or exc}", "Make room, or name another folder"
        ) from exc


def _values(text: Mapping[str, str]) -> dict[str, Any]:
    """One row as numbers and text."""
    try:
        return {
            name: (float if form in "DE" else int if form in "JK" else str)(text[name])
            for name, (_, form, _) in COLUMNS.items()
        }
    except ValueError as exc:
        raise BadInputError(
            "WRONG_CONTENT", f"SkyServer's answer has a row that cannot be read ({exc})", ""
        ) from exc
