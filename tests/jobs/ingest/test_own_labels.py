"""Anyone's label set from end to end: ingest it, select by it, train on it, predict, compare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from astropy.table import Table

from catalog.errors import UsageError
from catalog.store.db import Database
from jobs.engine.runner import run_job
from jobs.export.tables import export
from jobs.ingest.labels import ingest_labels
from jobs.samples.select import SampleParams, sample_job
from jobs.training.train import TrainParams, train_job
from tests.conftest import Cli
from tests.support.learning import rows, value

SHIFT = 250.0  # K, by which these labels differ from ASPCAP's
OURS = """SELECT a.apogee_id, l.teff, l.logg, l.fe_h FROM stellar_label l
JOIN label_set s USING (label_set_id) JOIN apogee_star a USING (source_id)
WHERE s.name = 'aspcap/dr14' AND a.is_primary AND l.teff IS NOT NULL ORDER BY 1"""


def test_what_is_trained_on_a_sample_of_a_label_set_learns_it(
    survey: Database, tmp_path: Path, command_line: Cli
) -> None:
    def crosslabel(*words: object) -> str:
        code, out, err = command_line(survey.engine.url, *words)
        assert code == 0, err
        return out

    table = Table(rows=rows(survey, OURS), names=("apogee_id", "teff", "logg", "fe_h"))
    table["teff"] += SHIFT
    table.write(tmp_path / "mine.ecsv")
    crosslabel("ingest", "labels", tmp_path / "mine.ecsv", "--survey", "apogee", "--name", "mine")
    crosslabel("sample", "create", "own", "--reference", "mine", "--quiet")
    params = value(survey, "SELECT params FROM sample WHERE name = 'own'")
    assert params["reference_labels"] == "mine"
    crosslabel("train", "--preset", "ridge", "--sample", "own", "--name", "learned", "--folds", 4)
    assert value(survey, "SELECT params ->> 'target' FROM model WHERE name = 'learned'") == "mine@1"
    crosslabel("predict", "learned", "--name", "learned/all", "--sample", "own")
    bias = {
        reference: json.loads(
            crosslabel("compare", reference, "learned/oof", "--sample", "own", "--format", "json")
        )
        for reference in ("mine", "aspcap/dr14")
    }
    found = {
        reference: next(row["bias"] for row in told["rows"] if row["label"] == "teff")
        for reference, told in bias.items()
    }
    assert found["aspcap/dr14"] - found["mine"] == pytest.approx(SHIFT, abs=1)
    assert abs(found["mine"]) < SHIFT / 3
    assert value(survey, "SELECT n_rows FROM current_label_set WHERE name = 'learned/all'") > 20
    marks = rows(survey, "SELECT name FROM label_set WHERE (params ->> 'simulated')::boolean")
    assert {"mine", "learned/oof", "learned/all"} <= {name for (name,) in marks}
    n_runs = value(survey, "SELECT count(*) FROM job_run")
    crosslabel("sample", "create", "own", "--reference", "mine")
    assert value(survey, "SELECT count(*) FROM job_run") == n_runs, "nothing was to be done"


def test_the_command_tells_why_rows_are_refused(
    survey: Database, tmp_path: Path, command_line: Cli
) -> None:
    table = Table(rows=rows(survey, OURS), names=("apogee_id", "teff", "logg", "fe_h"))
    table.add_row((table["apogee_id"][0], table["teff"][0] + SHIFT, 2.0, 0.0))
    table.write(tmp_path / "mine.ecsv")
    code, out, err = command_line(
        survey.engine.url,
        *("ingest", "labels", tmp_path / "mine.ecsv", "--survey", "apogee", "--name", "mine"),
    )
    assert (code, "2 in quarantine" in out) == (0, True)
    assert "2 DUP_CONFLICT" in err


def test_a_training_learns_what_its_sample_was_selected_by(survey: Database) -> None:
    params = train_job(TrainParams("net", "ridge", "clean"), survey).params
    assert params.target == "aspcap/dr14@1"
    named = train_job(TrainParams("net", "ridge", "clean", target="aspcap/dr14"), survey).params
    assert named == params
    with pytest.raises(UsageError, match="there is no sample nothing"):
        train_job(TrainParams("net", "ridge", "nothing"), survey)


def test_labels_of_spectra_select_their_stars(survey: Database, tmp_path: Path) -> None:
    """As those of LAMOST's pipeline are: by the keys of the spectra, not of APOGEE's stars."""
    found = rows(
        survey,
        "SELECT s.survey_key, 5000 + 10 * row_number() OVER (ORDER BY s.survey_key), 4.4, -0.5 "
        "FROM star_link k JOIN source s ON s.source_id = k.right_id "
        "JOIN sample p USING (sample_id) "
        "WHERE p.name = 'clean' ORDER BY 1",
    )
    keys, *numbers = zip(*found, strict=True)
    table = Table({"survey_key": keys})
    for name, values in zip(("teff", "logg", "fe_h"), numbers, strict=True):
        table[name] = [float(v) for v in values]
    table[1:].write(tmp_path / "theirs.csv")
    ingest_labels(survey, tmp_path / "theirs.csv", "sdss", "theirs")
    run_job(sample_job(SampleParams("own", reference_labels="theirs"), survey), survey)
    counts = value(survey, "SELECT counts FROM sample WHERE name = 'own'")
    assert counts["pairs"]["accepted"] == len(table) - 1
    assert counts["rows"]["NO_LABELS"] > 0
    assert counts["rows"]["total"] == sum(n for k, n in counts["rows"].items() if k != "total")
    params = train_job(TrainParams("net", "ridge", "own", labels=("teff",)), survey).params
    assert params.target == "theirs@1"
    with survey.reader() as conn:
        export(conn, "own", tmp_path / "own.ecsv")
    exported = Table.read(tmp_path / "own.ecsv")
    assert sorted(exported["teff"]) == sorted(table["teff"][1:].astype("f4"))
