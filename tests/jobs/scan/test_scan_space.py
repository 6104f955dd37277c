"""The space of settings of a scan: read, refused, drawn from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from catalog.errors import UsageError
from jobs.engine.params import from_dict, to_dict
from jobs.scan.params import ScanParams, spec_of
from jobs.scan.space import Space, make_space, named_spaces, read_space


def write(folder: Path, text: str) -> str:
    path = folder / "space.toml"
    path.write_text(text)
    return str(path)


def test_the_grid_of_the_notebook_is_a_random_quarter_of_itself() -> None:
    space = read_space("notebook", "seed-2018")
    everything = dataclasses.replace(space, fraction=1.0).combinations(0)
    tried = space.combinations(0)
    assert len(everything) == 3 * 3 * 2 * 3 * 3 * 3 == 486
    assert len(tried) == 122
    assert len({json.dumps(s) for s in tried}) == 122
    assert space.combinations(0) == tried != space.combinations(1)
    assert (space.objective, space.fixed) == ("mse", {"rounds": 1, "loss": "mse"})
    assert space.n_trials(None) == 122
    assert space.n_trials(5) == 5
    params = ScanParams("s", "seed-2018", "clean", space=dataclasses.asdict(space))
    spec = spec_of(params, "seed-2018", tried[0])
    assert spec.epochs in (3000, 4000, 6000)
    assert dict(spec.options)["loss"] == "mse"
    assert dict(spec.options)["neurons"] in (18, 24, 32)


def test_every_space_that_comes_along_can_be_used() -> None:
    presets = {"notebook": "seed-2018", "networks": "default"}
    assert set(named_spaces()) == set(presets)
    for name, preset in presets.items():
        assert read_space(name, preset).preset == preset
    with pytest.raises(UsageError, match="settings of the preset 'seed-2018', not of 'default'"):
        read_space("notebook", "default")


def test_a_space_survives_the_ledger(tmp_path: Path) -> None:
    text = "[range]\nrate = {low = 1e-4, high = 1, log = true}\nlayers = [1, 2]\n"
    space = read_space(write(tmp_path, text), "default")
    assert space.range == {"rate": {"low": 1e-4, "high": 1.0, "log": True}, "layers": [1, 2]}
    params = ScanParams("s", "default", "clean", space=dataclasses.asdict(space))
    back = from_dict(ScanParams, json.loads(json.dumps(to_dict(params))))
    assert back.search == space
    assert back.identity == params.identity
    assert dataclasses.replace(params, trials=9).identity == params.identity
    assert dataclasses.replace(params, seed=9).identity != params.identity


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[grid", "cannot be read"),
        ("", "it needs settings in [grid] or in [range]"),
        ("[grid]\nwidth=[8]\n[range]\nlayers=[1]", "and not in both"),
        ("gird = 1\n[grid]\nwidth=[8]", "means nothing there. Did you mean grid? Known: fixed"),
        ("grid = 3", "[grid] must be a table"),
        ("[grid]\nwitdh=[8]", "default has no setting 'witdh'; it has batch"),
        ("[grid]\nwidth=8", "width needs a list of values, not 8"),
        ("[grid]\nwidth=[8, 8]", "width has one value twice"),
        ("[grid]\nwidth=[0]", "width = 0 is not a whole number from 1 to 1024"),
        ("[grid]\nwidth=[8]\n[fixed]\nwidth=9", "width is fixed and varied"),
        ("fraction = 0\n[grid]\nwidth=[8]", "fraction = 0 is not a number above 0"),
        ("validation = true\n[grid]\nwidth=[8]", "validation = True is not a number"),
        ("objective = 'r2'\n[grid]\nwidth=[8]", "objective = 'r2' is not mae or mse"),
        ("[range]\nrate={low=1e-3}", "rate needs a list of values, or low, high"),
        ("[range]\nrate={low=1e-2, high=1e-3}", "low = 0.01 is not below high = 0.001"),
        ("[range]\nrate={low=1e-3, high=1e-2, log=1}", "log is true or false, not 1"),
        ("[range]\nweight_decay={low=0, high=1, log=true}", "starts above 0"),
    ],
)
def test_what_is_no_space_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_space(write(tmp_path, text), "default")
    assert complaint in str(caught.value)


def test_an_unknown_file_or_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file x.*networks, notebook"):
        read_space("x", "default")
    with pytest.raises(UsageError, match="there is no preset x"):
        read_space(write(tmp_path, "[grid]\nwidth=[8]"), "x")
    choice = write(tmp_path, "[range]\nactivation={low=1, high=2}")
    with pytest.raises(UsageError, match="activation has no range: it is one of relu"):
        read_space(choice, "seed-2018")


def test_a_grid_has_an_end_and_ranges_have_not() -> None:
    assert make_space({"grid": {"width": [8, 9]}}, "default").n_trials(9) == 2
    assert isinstance(make_space({"range": {"width": [8, 9]}}, "default"), Space)
    with pytest.raises(UsageError, match="has no end"):
        make_space({"range": {"width": [8, 9]}}, "default").n_trials(None)
