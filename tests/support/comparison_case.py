"""Forty pairs with two surveys' labels and a network's, and the answer computed with NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from catalog.store.db import Database
from tests.support import factories

N = 40
SIGMA = 1.4826


@dataclass(frozen=True)
class Case:
    """What was inserted; ``values[set][label]`` has a row per pair, NaN is NULL."""

    left: np.ndarray
    right: np.ndarray
    star: np.ndarray
    crossmatch_id: int
    values: dict[str, dict[str, np.ndarray]]


def insert(db: Database) -> Case:
    """Insert pairs of 38 stars (two of which have two spectra) and their labels."""
    rng = np.random.default_rng(5)
    owner = np.r_[np.arange(38), 0, 1]
    ra = 20.0 + owner * 0.1
    with db.begin() as conn:
        star = factories.add_stars(conn, [f"2M{i:04d}" for i in range(38)])
        apogee = factories.add_sources(
            conn, "apogee", [f"dr14/{i}" for i in range(38)], ra=ra[:38], star_id=star
        )
        right = factories.add_sources(conn, "sdss", [f"1-{i}-1-26" for i in range(N)], ra=ra)
        left = apogee[owner]
        sep = np.where(np.arange(N) < 38, 0.1, 0.5)  # repeats are not the nearest
        crossmatch_id = factories.add_matches(conn, left, right, sep)
        truth = {"teff": rng.normal(4500, 300, 38), "fe_h": rng.normal(-0.5, 0.3, 38)}
        aspcap = dict(truth)
        aspcap |= {"teff_err": np.full(38, 20.0), "fe_h_err": np.full(38, 0.02)}
        aspcap["teff"] = aspcap["teff"].copy()
        aspcap["teff"][5] = np.nan
        factories.add_label_set(conn, "aspcap/dr14", apogee, aspcap)
        sspp = {
            "teff": truth["teff"][owner] + rng.normal(30, 80, N),
            "teff_err": np.where(np.arange(N) % 7, 50.0, np.nan),
            "fe_h": truth["fe_h"][owner] + rng.normal(0.1, 0.1, N),
            "fe_h_err": np.where(np.arange(N) == 3, 0.0, 0.05),
        }
        sspp["teff"][8] = np.nan
        factories.add_label_set(conn, "sspp/dr12", right, sspp)
        oof = {
            "teff": truth["teff"][owner] + rng.normal(0, 40, N),
            "teff_err": np.full(N, 40.0),
        }
        oof["teff"][11] = np.nan
        model = factories.add_model(conn, "net", right[:10], star[owner[:10]])
        factories.add_label_set(conn, "net/oof", right, oof, kind="out_of_fold", model_id=model)
        factories.add_label_set(conn, "net/all", right, oof, kind="prediction", model_id=model)
        sets = {
            "aspcap/dr14": {k: v[owner] for k, v in aspcap.items()},
            "sspp/dr12": sspp, "net/oof": oof, "net/all": oof,
        }  # fmt: skip
    values = {
        name: {k: v.astype(np.float32).astype(float) for k, v in columns.items()}
        for name, columns in sets.items()
    }
    return Case(left, right, star[owner], crossmatch_id, values)


def expected(case: Case, ref: str, tests: list[str], pairs: np.ndarray) -> dict:
    """``(label, full name) -> statistics`` over the chosen pairs, from the definitions."""
    answer = {}
    for label in ("teff", "fe_h"):
        sets = [case.values[s] for s in (ref, *tests)]
        if any(label not in s for s in sets):
            continue
        use = pairs & np.all([np.isfinite(s[label]) for s in sets], axis=0)
        for name, columns in zip(tests, sets[1:], strict=True):
            delta = columns[label][use] - sets[0][label][use]
            err = np.hypot(columns[f"{label}_err"][use], sets[0][f"{label}_err"][use])
            pull = (delta / err)[np.isfinite(err)]
            median = np.median(delta)
            answer[label, f"{name}@1"] = (
                use.sum(), len(set(case.star[use].tolist())), median,
                SIGMA * np.median(np.abs(delta - median)),
                delta.mean(), np.abs(delta - delta.mean()).mean(), np.abs(delta).mean(),
                SIGMA * np.median(np.abs(pull - np.median(pull))),
            )  # fmt: skip
    return answer


def from_sql(conn: sa.Connection, ref: str, tests: list[str], sample: str | None = None) -> dict:
    """The same from compare_label_sets."""
    rows = conn.execute(
        sa.text(
            "SELECT label, test_set, n, n_stars, bias, sigma_mad, seed_bias, seed_scatter, mae, "
            "pull_sigma FROM compare_label_sets(:ref, :tests, :sample)"
        ),
        {"ref": ref, "tests": tests, "sample": sample},
    ).all()
    return {(r.label, r.test_set): tuple(r[2:]) for r in rows}
