"""A small catalog with what exports can stumble over, and how it is exported."""

from __future__ import annotations

from pathlib import Path

import factories
import numpy as np

from catalog.files.export import Selection
from catalog.store import labels
from catalog.store.bulk import upsert_arrays
from catalog.store.db import Database
from catalog.store.schema import apogee_star, sdss_spectrum
from jobs.export_catalog import export

BIG = 10081308165788686336  # the specObjID of plate 8954: beyond 2^63
N = 4


def make_survey(db: Database) -> dict[str, np.ndarray]:
    """Four APOGEE stars, four SDSS spectra (one with an id beyond 2^63), labels, a sample."""
    with db.begin() as conn:
        star = factories.add_stars(conn, [f"2M{i}" for i in range(3)])
        owner = np.array([0, 1, 2, 0])
        ra = [10.0, 359.99999999, 20.0, 10.0]
        left = factories.add_sources(
            conn, "apogee", [f"dr14/star.{i}" for i in "cabd"], ra=ra, star_id=star[owner]
        )
        right = factories.add_sources(conn, "sdss", [f"8954-57453-{i}-v5" for i in range(N)], ra=ra)
        upsert_arrays(conn, apogee_star, {
            "source_id": left, "apogee_id": np.array(["2M0", "2M1", "2M2", "2M0"], "S"),
            "target_id": np.array(list("cabd"), "S"), "apstar_id": np.array(list("cabd"), "S"),
            "data_release": np.array(["dr14"] * N, "S"),
            "field": np.array(["=1+1", "", "a,\"b\"", "@x"], "S"),
            "nvisits": np.ma.array([1, 2, 3, 4], "i4", mask=[0, 1, 0, 0]),
            "starflag": np.ma.array([1 << 62, 0, 5, 7], "i8", mask=[0, 0, 1, 0]),
            "is_primary": np.array([True, True, True, False]),
        })  # fmt: skip
        upsert_arrays(conn, sdss_spectrum, {
            "source_id": right, "plate": np.full(N, 8954, "i4"), "mjd": np.full(N, 57453, "i4"),
            "fiberid": np.arange(N, dtype="i4"), "run2d": np.array(["v5"] * N, "S"),
            "specobjid": np.array([str(BIG), "", str(BIG + 1), "42"], "S"),
            "is_primary": np.ma.array([True, False, True, True], mask=[0, 0, 1, 0]),
        })  # fmt: skip
        teff = [4321.1, np.nan, 1e-30, 5000.0]
        factories.add_label_set(
            conn, "aspcap/dr14", left, {"teff": teff, "teff_err": [25.5, np.nan, np.nan, 0.1],
                                        "fe_h": [-0.1, 0.2, 1 / 3, np.nan]},
            flags=[1, 0, 1 << 40, 0], description="ASPCAP labels of DR14",
        )  # fmt: skip
        labels.register_flags(conn, "aspcap/dr14", {0: ("TEFF_WARN", "Teff is doubtful")})
        factories.add_label_set(conn, "sspp/dr12", right, {"teff": [4400.0] * N})
        crossmatch_id = factories.add_matches(conn, left, right)
        factories.add_sample(conn, "clean", crossmatch_id, left, right, star[owner])
    return {"left": left, "right": right, "owner": owner, "teff": np.float32(teff)}


def written(db: Database, what: str | Selection, path: Path, **kw: bool) -> Path:
    """The path of what was exported to it."""
    with db.reader() as conn:
        export(conn, what, path, **kw)
    return path
