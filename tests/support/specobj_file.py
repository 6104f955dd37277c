"""A specObj catalog of a few rows, in the layout of the archive: padded texts, arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from catalog.surveys.specobjid import pack_specobjid

# Some of its 127 columns, in their order: those that are read, and neighbours of every type.
FIELDS = [
    ("SURVEY", "S6"), ("INSTRUMENT", "S4"), ("SPECPRIMARY", "u1"), ("SPECOBJID", "S22"),
    ("BESTOBJID", "S19"), ("RUN2D", "S7"), ("CX", "f8"), ("BOSS_TARGET1", "i8"),
    ("PLATE", "i4"), ("MJD", "i4"), ("FIBERID", "i4"), ("OBJID", "i4", (5,)), ("PLUG_RA", "f8"),
    ("PLUG_DEC", "f8"), ("CLASS", "S6"), ("SUBCLASS", "S21"), ("Z", "f4"), ("Z_ERR", "f4"),
    ("THETA", "f4", (10,)), ("ZWARNING", "i4"), ("SN_MEDIAN_ALL", "f4"), ("SN_MEDIAN", "f4", (5,)),
    ("ELODIE_OBJECT", "S21"), ("CLASS_NOQSO", "S6"),
]  # fmt: skip
#: What a row says of its fibre where nothing else is said.
USUAL = {"plate": 266, "mjd": 51602, "run2d": "26", "class": "STAR", "z": 1e-4, "zwarning": 0}


def specobj_rows(*rows: dict) -> np.ndarray:
    """Rows of specObj; each is given by what is not as in `USUAL`, ids and positions by default."""
    out = np.zeros(len(rows), FIELDS)
    for i, given in enumerate(rows):
        row = USUAL | {"fiberid": i + 1, "ra": 10.0 + i, "dec": -5.0 + i, "primary": 1} | given
        key = (row["plate"], row["mjd"], row["fiberid"], row["run2d"])
        ids = row.get("specobjid", pack_specobjid(*key) or "")
        out["PLATE"][i], out["MJD"][i], out["FIBERID"][i] = key[:3]
        out["RUN2D"][i] = f"{key[3]:7}".encode()
        out["SPECOBJID"][i] = f"{ids:>22}".encode()  # blanks come first, as in the archive
        out["PLUG_RA"][i], out["PLUG_DEC"][i] = row["ra"], row["dec"]
        out["CLASS"][i] = f"{row['class']:6}".encode()
        out["Z"][i], out["ZWARNING"][i] = row["z"], row["zwarning"]
        out["SPECPRIMARY"][i] = row["primary"]
    out["INSTRUMENT"], out["SUBCLASS"], out["SN_MEDIAN_ALL"] = b"SDSS", b" " * 21, 20.0
    return out


def write_specobj(path: Path, rows: np.ndarray, **rename: str) -> Path:
    """Write rows, with some columns under other names; gives the path back."""
    rows = rows.copy()
    rows.dtype.names = tuple(rename.get(name, name) for name in rows.dtype.names)
    fits.BinTableHDU(rows).writeto(path)
    return path
