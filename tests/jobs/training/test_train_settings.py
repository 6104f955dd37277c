"""Settings of a training as typed: read, refused, and part of what a run is known by."""

from __future__ import annotations

import dataclasses

import pytest

from catalog.errors import UsageError
from jobs.engine.params import from_dict, params_hash, to_dict
from jobs.training.params import TrainParams, make_spec, with_settings

SEED = TrainParams("m", "seed-2018", "clean")
DEFAULT = TrainParams("m", "default", "clean")


def test_fields_and_options_are_told_apart():
    params = with_settings(DEFAULT, ["members=7", "rate = 1e-3", "components=32"])
    assert (params.members, params.components, params.options) == (7, 32, (("rate", 1e-3),))
    assert dict(make_spec(params).options)["rate"] == 1e-3
    assert with_settings(SEED, ["epochs=40", "activation=elu"]).epochs == 40


@pytest.mark.parametrize(
    ("params", "texts", "complaint"),
    [
        (SEED, ["neurons"], "'neurons' is not of the form NAME=VALUE"),
        (SEED, ["neurons="], "neurons = '' is not a whole number from 1 to 1024"),
        (SEED, ["neurons=1e400"], "is not a whole number"),
        (SEED, ["folds=3"], "seed-2018 has no setting folds. Settings: activation"),
        (SEED, ["batch=8", "batch=16"], "batch is given twice"),
        (dataclasses.replace(SEED, epochs=5), ["epochs=6"], "epochs is given twice"),
        (dataclasses.replace(SEED, preset="x"), [], "there is no preset x"),
    ],
)
def test_what_cannot_be_set_is_refused(params, texts, complaint):
    with pytest.raises(UsageError) as caught:
        with_settings(params, texts)
    assert complaint in str(caught.value)


def test_options_are_part_of_what_a_run_is_known_by_where_there_are_any():
    changed = with_settings(SEED, ["batch=32"])
    assert params_hash(changed) != params_hash(SEED)
    assert from_dict(TrainParams, to_dict(changed)) == changed
    before = {k: v for k, v in to_dict(SEED).items() if k != "options"}
    assert params_hash(from_dict(TrainParams, before)) == params_hash(SEED)
    # As computed before there were options, so that no run in a ledger changes its name.
    told = dataclasses.replace(SEED, target="aspcap/dr14")
    assert params_hash(told) == "996719ec360064595d2aab810238b99e"
