"""Models as things that people keep: listed, described, carried to another catalog, removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from catalog.errors import BadInputError, ExitCode, UsageError
from catalog.store.db import Database
from catalog.store.models import find_model, list_models, read_artifact
from catalog.store.spectra import read_normalized
from jobs.cli import app
from jobs.engine.runner import run_job
from jobs.training.explain import explain_model
from jobs.training.explain_text import as_csv, as_dict, as_text
from jobs.training.model_card import model_card
from jobs.training.model_files import MAX_BYTES, export_model, import_model
from jobs.training.predict import PredictParams, predict_job
from jobs.training.remove import remove_label_set, remove_model, remove_sample
from models.core import artifact
from models.predict import FLAG_BITS, load
from tests.support.learning import TRAININGS, labels_by_key, rows, value


def predict(db: Database, model: str, name: str = "pred") -> None:
    assert run_job(predict_job(PredictParams(model, name), db), db).state == "succeeded"


def manifest(db: Database, name: str) -> dict:
    with db.reader() as conn:
        return dict(load(read_artifact(conn, find_model(conn, name).model_id)).manifest)


@pytest.fixture
def model_file(trained, tmp_path) -> Path:
    path = tmp_path / "small.npz"
    with trained.reader() as conn:
        size = export_model(conn, "small", path)
    assert path.stat().st_size == size
    return path


def test_model_names_what_it_was_made_from(trained):
    facts = manifest(trained, "small")
    assert facts["label_set"]["name"] == "aspcap/dr14@1"
    assert facts["label_set"]["simulated"] is True
    assert facts["sample"]["name"] == "clean"
    assert facts["recipe"] == {"name": "default", "version": facts["recipe"]["version"]}
    assert facts["grid"]["n_pixels"] == 3534
    assert {"crosslabel", "python", "numpy", "jax"} <= set(facts["versions"])
    [(n, stars)] = rows(
        trained,
        "SELECT count(*), count(DISTINCT star_id) FROM training_member "
        "JOIN model USING (model_id) WHERE name = 'small'",
    )
    assert (facts["training"]["spectra"], facts["training"]["stars"]) == (n, stars)
    assert facts["model"]["inputs"] == value(
        trained, "SELECT params ->> 'inputs' FROM model WHERE name = 'small'"
    )
    metrics = value(trained, "SELECT metrics FROM model WHERE name = 'small'")
    for label in ("teff", "logg", "fe_h"):
        told = facts["scores"][label]["all"]
        assert told["n"] == metrics[f"{label}.n"]
        # Labels are stored as float32.
        assert told["sigma_mad"] == pytest.approx(metrics[f"{label}.sigma_mad"], rel=1e-3)
        assert told["coverage68"] == pytest.approx(metrics[f"{label}.coverage"], abs=0.02)
    assert facts["flagged"]["any"] <= n


def test_list_tells_scatter_and_that_models_are_simulated(trained):
    with trained.reader() as conn:
        lines = list_models(conn)
    assert [m.full_name for m in lines] == ["seed@1", "small@1"]
    assert all(m.simulated and not m.imported for m in lines)
    metrics = value(trained, "SELECT metrics FROM model WHERE name = 'small'")
    assert lines[1].sigma_mad["teff"] == metrics["teff.sigma_mad"]


@pytest.mark.parametrize("params", TRAININGS.values(), ids=TRAININGS)
def test_card_says_in_words_what_the_numbers_are(trained, params):
    with trained.reader() as conn:
        found = find_model(conn, params.name)
        model = load(read_artifact(conn, found.model_id))
    card = model_card(model, found.full_name, found.sha256)
    assert "SIMULATED, not measured" in card
    assert "None" not in card
    for name, _ in FLAG_BITS.values():
        assert f"`{name}`" in card
    assert f"--preset {params.preset} --sample {params.sample} --name {params.name}" in card
    assert found.sha256 in card
    assert ("--set members=2 --set components=8" in card) == (params.preset == "default")
    assert ("The model gives no errors" in card) == (params.preset == "seed-2018")
    scores = model.manifest["scores"]["teff"]["all"]
    assert f"| teff [K] | all | {scores['n']} |" in card


def test_exported_model_predicts_the_same_in_another_catalog(trained, model_file, survey):
    predict(trained, "small")
    here = import_model(survey, model_file)
    assert (here.full_name, here.is_new) == ("small@1", True)
    assert here.known_spectra == here.training_spectra > 50
    again = import_model(survey, model_file)
    assert (again.full_name, again.is_new) == ("small@1", False)
    predict(survey, "small")
    there, own = labels_by_key(trained, "pred"), labels_by_key(survey, "pred")
    assert there.keys() == own.keys()
    for key, row in there.items():
        np.testing.assert_allclose(
            np.array(own[key][:6], float), np.array(row[:6], float), rtol=1e-5
        )
        assert own[key][6] == row[6], "the same spectra are flagged, TRAINED_ON among them"
    description = "SELECT description, params -> 'simulated' FROM label_set WHERE name = 'pred'"
    [(text, simulated)] = rows(survey, description)
    assert simulated
    assert "SIMULATED" in text
    query = "SELECT n FROM compare_label_sets('aspcap/dr14', '{pred}') WHERE label = 'teff'"
    assert value(survey, query) == value(trained, query)  # without the training stars
    with survey.reader() as conn:
        [line] = list_models(conn)
    with trained.reader() as conn:
        original = list_models(conn)[1]
    assert line.imported
    assert line.simulated
    assert line.sigma_mad == original.sigma_mad


def test_models_of_another_version_are_named_and_hold_nothing_up(trained, monkeypatch):
    monkeypatch.setattr(artifact, "FORMAT_VERSION", 99)
    message = "small@1 cannot be used: .* format version"
    for use in (
        lambda: predict(trained, "small"),
        lambda: explain_model(trained.engine.connect(), "small"),
    ):
        with pytest.raises(UsageError, match=message):
            use()
    assert rows(trained, "SELECT 1 FROM job_run WHERE kind = 'predict'") == []
    result = CliRunner().invoke(
        app,
        ["--database-url", trained.engine.url.render_as_string(False), "model", "card", "small"],
    )
    assert isinstance(result.exception, UsageError)


def test_imported_model_knows_its_training_spectra_when_they_come_later(db, model_file, survey):
    assert import_model(db, model_file).known_spectra == 0
    with survey.begin() as conn:
        conn.execute(sa.text("UPDATE source SET survey_key = 'x' || survey_key"))
    assert import_model(survey, model_file).known_spectra == 0
    with survey.begin() as conn:
        conn.execute(sa.text("UPDATE source SET survey_key = substr(survey_key, 2)"))
    predict(survey, "small")
    [bit] = [b for b, (name, _) in FLAG_BITS.items() if name == "TRAINED_ON"]
    query = (
        "SELECT count(*) FROM stellar_label JOIN label_set USING (label_set_id) "
        "WHERE name = 'pred' AND flags >> :bit & 1 = 1"
    )
    assert value(survey, query, bit=bit) > 50


def test_imported_model_is_not_scored_on_other_spectra_of_its_stars(model_file, survey):
    with survey.begin() as conn:  # as another reduction of the same spectra has it
        conn.execute(
            sa.text("UPDATE source SET survey_key = 'x' || survey_key WHERE survey = 'sdss'")
        )
    assert import_model(survey, model_file).known_spectra == 0
    predict(survey, "small")
    scored = (
        "SELECT t.star_key FROM comparison_rows('aspcap/dr14', '{pred}') "
        "JOIN star t USING (star_id)"
    )
    with model_file.open("rb") as stream, np.load(stream) as arrays:
        trained_on = {key.decode() for key in arrays["training/star_key"].tolist()}
    assert len(trained_on) > 50
    assert not trained_on & {key for (key,) in rows(survey, scored)}
    with survey.reader() as conn:
        assert list_models(conn)[0].n_spectra == 0


def test_file_predicts_the_same_in_a_process_with_other_threads(trained, model_file, tmp_path):
    model = load(model_file.read_bytes())
    ids = [i for (i,) in rows(trained, "SELECT source_id FROM normalized_spectrum "
                                       "WHERE recipe = 'default' ORDER BY 1")]  # fmt: skip
    with trained.reader() as conn:
        spectra = read_normalized(
            conn, "default", model.manifest["recipe"]["version"], ids, model.n_pixels
        )
    direct = model.predict(spectra.flux, spectra.ivar, spectra.continuum)
    np.savez(tmp_path / "in.npz", a=spectra.flux, b=spectra.ivar, c=spectra.continuum)
    script = (
        "import sys, numpy as np; from pathlib import Path; from models.predict import load\n"
        "model = load(Path(sys.argv[1]).read_bytes()); s = np.load(sys.argv[2])\n"
        "found = model.predict(s['a'], s['b'], s['c'])\n"
        "np.savez(sys.argv[3], values=found.values, sigma=found.sigma, flags=found.flags)"
    )
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
               "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}  # fmt: skip
    folder = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", script, *map(str, (model_file, tmp_path / "in.npz"))]
    subprocess.run(
        [*command, str(tmp_path / "out.npz")], check=True, cwd=folder, env=os.environ | threads
    )
    with np.load(tmp_path / "out.npz") as other:
        np.testing.assert_allclose(other["values"], direct.values, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(other["sigma"], direct.sigma, rtol=1e-5)
        np.testing.assert_array_equal(other["flags"], direct.flags)


def test_damaged_and_foreign_files_are_refused(db, model_file, tmp_path):
    whole = model_file.read_bytes()
    middle = len(whole) // 2
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    newer, arrays = artifact.from_bytes(whole)
    spec = newer["spec"] | {"of_the_future": 1}
    recipe = {"name": "default", "version": 99}
    cases = {
        "not an archive": (b"<html>not found</html>", "not a model, or they are damaged"),
        "empty": (b"", "not a model, or they are damaged"),
        "short": (whole[:middle], "not a model, or they are damaged"),
        "flipped": (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "damaged"),
        "an archive of arrays": ((tmp_path / "other.npz").read_bytes(), "not a model"),
        "newer": (artifact.to_bytes(newer | {"spec": spec}, arrays), "another version"),
        "no model": (artifact.to_bytes({"spec": {}}, {}), "manifest lacks 'grid'"),
        "a part is missing": (
            artifact.to_bytes(newer, {n: a for n, a in arrays.items() if n != "center"}),
            "lacks 'center': another version",
        ),
        "no table": (artifact.annotate(whole, {"model": [1]}), "another shape"),
        "no column": (
            artifact.to_bytes(
                newer | {"spec": newer["spec"] | {"labels": ["x", "y", "z"]}}, arrays
            ),
            "catalog has no label x, y, z",
        ),
        "uneven": (
            artifact.annotate(whole, {}, {"training/fold": np.zeros(2, np.int32)}),
            "not equally long",
        ),
        "other recipe": (artifact.annotate(whole, {"recipe": recipe}), "version 99 of the recipe"),
    }
    for name, (data, message) in cases.items():
        path = tmp_path / "case.npz"
        path.write_bytes(data)
        with pytest.raises(BadInputError, match=message) as caught:
            import_model(db, path)
        assert caught.value.exit_code == ExitCode.BAD_INPUT == 65, name
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(MAX_BYTES // 64))
        archive.filelist *= 65  # one place, named 65 times in the directory
    with pytest.raises(BadInputError, match=r"bomb\.npz has 65 members with 1,090,519,040 by"):
        import_model(db, tmp_path / "bomb.npz")
    with pytest.raises(UsageError, match="there is no file"):
        import_model(db, tmp_path / "nothing.npz")
    with pytest.raises(UsageError, match="cannot be the name of a model"):
        import_model(db, model_file, name="a@b")
    assert value(db, "SELECT count(*) FROM model") == 0


def test_model_goes_only_with_the_labels_that_it_made(trained):
    predict(trained, "small")
    with pytest.raises(UsageError, match=r"made by small@1: pred@1, small/oof@1"):
        remove_model(trained, "small@1")
    assert remove_model(trained, "small", with_labels=True) == (["small@1"], 2)
    kept = rows(trained, "SELECT name FROM label_set WHERE kind <> 'survey'")
    assert kept == [("seed/oof",)]
    left = "SELECT count(*) FROM {0} LEFT JOIN {1} o USING ({1}_id) WHERE o.{1}_id IS NULL"
    for table, owner in (("training_member", "model"), ("stellar_label", "label_set")):
        assert value(trained, left.format(table, owner)) == 0
    with pytest.raises(UsageError, match="there is no model small"):
        remove_model(trained, "small")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ("UPDATE model SET seed = seed + 1", "what it records never changes"),
        ("UPDATE model SET status = 'building'", "what it records never changes"),
        ("DELETE FROM training_member", "what it was trained on is not forgotten"),
    ],
)
def test_complete_model_stays_what_it_is(trained, change, refusal):
    with trained.engine.connect() as conn, pytest.raises(DBAPIError, match=refusal):
        conn.execute(sa.text(change))


def test_model_that_is_predicting_stays(trained):
    job = predict_job(PredictParams("small", "pred"), trained)
    with trained.begin() as conn:  # as a run that was killed after it began
        run_id = value(trained, "SELECT max(run_id) FROM job_run")
        conn.execute(
            sa.text(
                "INSERT INTO label_set (name, edition, status, kind, run_id, model_id) SELECT "
                "'pred', 1, 'building', 'prediction', :run, model_id FROM model WHERE name = :n"
            ),
            {"run": run_id, "n": "small"},
        )
    assert job.target == "label set pred"
    with pytest.raises(UsageError, match="pred is being made by small"):
        remove_model(trained, "small", with_labels=True)


def test_model_that_goes_before_a_prediction_begins_is_named(trained):
    job = predict_job(PredictParams("small", "pred"), trained)
    remove_model(trained, "small", with_labels=True)
    with pytest.raises(UsageError, match="there is no model small"):
        run_job(job, trained)


def test_samples_and_predictions_go_unless_others_rest_on_them(trained):
    predict(trained, "small")
    with pytest.raises(UsageError, match="trained on the sample clean: small"):
        remove_sample(trained, "clean")
    with pytest.raises(UsageError, match=r"on it rests .*the model small@1, the sample clean"):
        remove_label_set(trained, "aspcap/dr14@1")
    with pytest.raises(UsageError, match="of the kind out_of_fold"):
        remove_label_set(trained, "small/oof")
    assert remove_label_set(trained, "pred").full_name == "pred@1"
    remove_model(trained, "small", with_labels=True)
    remove_sample(trained, "clean")
    assert rows(trained, "SELECT name FROM sample") == [("seed-2018",)]
    with pytest.raises(UsageError, match="there is no sample clean"):
        remove_sample(trained, "clean")


@pytest.mark.parametrize("params", TRAININGS.values(), ids=TRAININGS)
def test_explanation_adds_up_and_comes_in_every_form(trained, params):
    with trained.reader() as conn:
        found = explain_model(conn, params.name, n_spectra=2)
    np.testing.assert_allclose(found.pixels.sum(axis=1), 1.0)
    named = sum(s.share for s in (*found.lines, *found.stretches))
    np.testing.assert_allclose(named, 1.0)
    assert found.n_contaminated > 40
    assert len(found.shifts) == 4
    text = as_text(found)
    assert "Mg b" in text
    assert json.loads(json.dumps(as_dict(found), allow_nan=False))["model"] == f"{params.name}@1"
    table = as_csv(found).splitlines()
    assert len(table) == found.wavelength.size + 1
    assert (found.reverse is not None) == (params.preset == "seed-2018")
    if found.reverse is not None:
        assert "continuum pixels" in text
        assert table[0].endswith("label_dependence,is_continuum")
        assert found.reverse.pixels.any()


def test_more_sodium_moves_labels_only_a_little_and_both_ways(trained):
    with trained.reader() as conn:
        found = explain_model(conn, "small", sample="clean", n_spectra=1)
    more, less = found.shifts[:2]
    assert "Na D" in more.name
    assert (more.typical > 0.0).all()
    np.testing.assert_allclose(more.typical, less.typical, rtol=0.3)


def test_commands_print_and_write(trained, tmp_path):
    url = trained.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["--database-url", url, *words])
        assert done.exit_code == 0, done.output + str(done.exception)
        return done.stdout

    listed = run("model", "list")
    assert "small@1" in listed
    assert "SIMULATED" in listed
    assert json.loads(run("model", "list", "--json").splitlines()[0])["name"] == "seed"
    assert json.loads(run("model", "show", "small"))["sample"]["name"] == "clean"
    assert "card of small@1" in run("model", "card", "small", "--to", str(tmp_path / "c.md"))
    assert (tmp_path / "c.md").read_text().startswith("# Model small@1\n")
    file = str(tmp_path / "m.npz")
    assert "model small in" in run("model", "export", "small", "--to", file)
    assert "model copy@1 imported" in run("model", "import", file, "--name", "copy")
    assert "model copy@1 is here already" in run("model", "import", file, "--name", "copy")
    assert "removed copy@1" in run("model", "remove", "copy")
    assert "models: small" in run("sample", "list")
    assert "Mg b" in run("explain", "small", "--spectra", "1", "--to", str(tmp_path / "e.csv"))
    assert (tmp_path / "e.csv").exists()
