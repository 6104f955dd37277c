"""Training on any labels, of which stars lack some: what is learned, scored, compared, exported."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from catalog.store.db import Database
from jobs.engine.runner import run_job
from jobs.evaluation.compare import compare
from jobs.export.tables import export
from jobs.training.predict import PredictParams, predict_job
from jobs.training.train import TrainParams
from tests.support.factories import add_label_set
from tests.support.learning import rows, train, value

LABELS = ("teff", "logg", "fe_h", "alpha_m", "o_fe", "si_fe")
# Those that take no time; what networks make of gaps is in tests/models/test_model_training.py.
SHORT = {
    "ridge": TrainParams("ridge", "ridge", "clean", folds=3),
    "cannon": TrainParams("cannon", "cannon", "clean", folds=3),
}
KNOWN = """
    SELECT {0}, count(*) FROM star_link k JOIN sample p USING (sample_id)
    JOIN stellar_label s ON s.source_id = k.left_id JOIN label_set l USING (label_set_id)
    WHERE p.name = 'clean' AND l.name = 'gappy/dr1'"""


@pytest.fixture
def gappy(survey: Database) -> Database:
    """The simulated survey with labels of which hardly any star has all."""
    found = rows(
        survey,
        "SELECT s.source_id, s.teff, s.logg, s.fe_h, s.alpha_m FROM stellar_label s "
        "JOIN current_label_set c USING (label_set_id) "
        "WHERE c.name = 'aspcap/dr14' AND num_nulls(teff, logg, fe_h, alpha_m) = 0 ORDER BY 1",
    )
    table = np.array([row[1:] for row in found])
    rng = np.random.default_rng(0)
    o_fe = 0.9 * table[:, 3] + 0.02 * rng.standard_normal(len(table))
    si_fe = 0.7 * table[:, 3] + 0.02 * rng.standard_normal(len(table))
    table = np.column_stack([table, o_fe, si_fe])
    for j, share in ((2, 0.1), (4, 0.4), (5, 0.3)):
        table[rng.random(len(table)) < share, j] = np.nan
    table[::17, :5] = np.nan  # these have si_fe at most
    errors = np.where(np.isnan(table) | (rng.random(table.shape) < 0.5), np.nan, 0.01)
    values = {name: table[:, j] for j, name in enumerate(LABELS)}
    values |= {f"{name}_err": errors[:, j] for j, name in enumerate(LABELS)}
    with survey.begin() as conn:
        add_label_set(conn, "gappy/dr1", np.array([row[0] for row in found]), values)
    return survey


@pytest.mark.parametrize("preset", SHORT)
def test_stars_teach_the_labels_that_they_have(gappy, preset, tmp_path):
    counts = ", ".join(f"count({name})" for name in LABELS)
    *known, _ = rows(gappy, KNOWN.format(counts))[0]
    any_label = f"count(*) FILTER (WHERE num_nonnulls({', '.join(LABELS)}) > 0)"
    n_rows = rows(gappy, KNOWN.format(any_label))[0][0]
    n_complete = rows(
        gappy, KNOWN.format(f"count(*) FILTER (WHERE num_nulls({', '.join(LABELS)}) = 0)")
    )[0][0]
    assert n_complete < 0.5 * n_rows

    params = SHORT[preset]
    train(gappy, params, labels=LABELS, target="gappy/dr1")
    trained = "SELECT count(*) FROM training_member JOIN model USING (model_id) WHERE name = :n"
    assert value(gappy, trained, n=params.name) == n_rows
    [out_of_fold] = rows(
        gappy,
        f"SELECT {counts}, count(*) FROM stellar_label JOIN label_set USING (label_set_id) "
        "WHERE name = :n",
        n=params.out_of_fold_set,
    )
    assert out_of_fold == (n_rows,) * 7
    metrics = value(gappy, "SELECT metrics FROM model WHERE name = :n", n=params.name)
    assert [metrics[f"{name}.n"] for name in LABELS] == known
    with gappy.reader() as conn:
        found = compare(conn, "gappy/dr1", [params.out_of_fold_set], "clean", bootstrap=0)
    assert {row.label: row.n for row in found.rows} == dict(zip(LABELS, known, strict=True))

    run_job(predict_job(PredictParams(params.name, "pred"), gappy), gappy)
    with gappy.reader() as conn:
        export(conn, "pred", tmp_path / "pred.fits")
    with fits.open(tmp_path / "pred.fits") as hdus:
        assert all(np.isfinite(hdus[1].data[name]).all() for name in LABELS)


def test_a_model_of_well_known_labels_is_no_worse_for_the_gaps_in_others(gappy):
    """Of teff, which hardly any star lacks, ridge regression knows as much beside the others."""
    scatter = {}
    for labels in (("teff",), LABELS):
        train(gappy, SHORT["ridge"], labels=labels, target="gappy/dr1", name=f"r{len(labels)}")
        metrics = value(gappy, "SELECT metrics FROM model WHERE name = :n", n=f"r{len(labels)}")
        scatter[labels] = metrics["teff.sigma_mad"]
    assert scatter[LABELS] == pytest.approx(scatter[("teff",)], rel=0.2)
