"""The configuration of sync: every key explained, and every mistake named in one line."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from catalog.config import ARCHIVE_URL, SKYSERVER_URL
from catalog.errors import ConfigurationError, ExitCode, UsageError
from jobs.cli import main
from jobs.sync import keys as sync_keys
from jobs.sync.config import budget_s, example_text, read_config
from jobs.sync.values import Key

ROOT = Path(__file__).resolve().parents[3]
LISTS = {
    "crossmatches": sync_keys.CROSSMATCH_KEYS, "samples": sync_keys.SAMPLE_KEYS,
    "normalizations": sync_keys.NORMALIZATION_KEYS, "predictions": sync_keys.PREDICTION_KEYS,
    "exports": sync_keys.EXPORT_KEYS, "reports": sync_keys.REPORT_KEYS,
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "crosslabel.toml"
    path.write_text(example_text())
    return path


def everything() -> dict[str, Any]:
    """The example with all keys that may be left out."""
    return tomllib.loads(re.sub(r"(?m)^# (?=\w+ = |\[)", "", example_text()))


def check_values(table: dict[str, Any], keys: tuple[Key, ...]) -> None:
    for key in keys:
        if key.name in table:
            key.read(table[key.name])


def test_the_example_explains_every_key() -> None:
    found = everything()
    assert set(found) == {key.name for key in sync_keys.TOP_KEYS}
    check_values(found, sync_keys.TOP_KEYS)
    assert set(found["archive"]) == {key.name for key in sync_keys.ARCHIVE_KEYS}
    assert found["archive"]["url"] == ARCHIVE_URL
    assert found["archive"]["skyserver_url"] == SKYSERVER_URL
    for name, keys in LISTS.items():
        assert set().union(*found[name]) == {key.name for key in keys}, name
        for table in found[name]:
            check_values(table, keys)
    by_kind = {table.pop("kind"): table for table in found["sources"]}
    assert set(by_kind) == set(sync_keys.SOURCE_KEYS)
    for kind, table in by_kind.items():
        assert set(table) == {"name", *(key.name for key in sync_keys.SOURCE_KEYS[kind])}, kind
        check_values(table, sync_keys.SOURCE_KEYS[kind])


def test_the_example_of_the_documentation_is_that_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["crosslabel", "sync", "--example"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert capsys.readouterr().out == (ROOT / "docs/examples/crosslabel.toml").read_text()


def test_paths_start_from_the_file(file: Path) -> None:
    found = read_config(file)
    assert found.settings == {"CROSSLABEL_HOME": str(file.parent / "home")}
    assert found.log == file.parent / "sync.log"
    assert found.sources[0]["paths"] == (str(file.parent / "incoming/allStar-*.fits"),)
    assert found.exports[0]["file"] == file.parent / "out/aspcap.fits"
    assert found.time_budget_s == 7200


def test_quantities_are_converted_and_rules_are_those_of_the_command(file: Path) -> None:
    text = file.read_text().replace('radius = "2 arcsec"\n\n#', 'radius = "0.05 arcmin"\n\n#')
    text = text.replace('# max_teff = "6500 K"', 'max_teff = "6.5 kK"')
    file.write_text(text.replace('# instruments = ["SDSS", "BOSS"]', 'instruments = ["sdss"]'))
    params = read_config(file).samples[0]["params"]
    assert params.radius_arcsec == pytest.approx(3)
    assert params.rules.max_teff == pytest.approx(6500)
    assert params.rules.instruments == ("SDSS",)
    assert params.reference_labels == "aspcap/dr14"


WRONG = {
    "unknown key": (
        'log = "sync.log"', 'lgo = ""', ": lgo: there is no such key; did you mean log? known",
    ),
    "unknown key of a kind": (
        'name = "spectra"', 'name = "spectra"\nrelease = "dr17"',
        "[[sources]] spectra: release: there is no such key; known keys: name, kind, paths",
    ),
    "wrong type": (
        'paths = ["incoming/spectra"]', 'paths = "incoming/spectra"',
        "[[sources]] spectra: paths: 'incoming/spectra' cannot be used; write a list of texts",
    ),
    "wrong unit": (
        'radius = "2 arcsec"\n\n# A sel', 'radius = "2 km"\n\n# A sel',
        "[[crossmatches]] apogee-sdss: radius: '2 km' cannot be used; write a positive number with "
        'its unit: "2 arcsec"',
    ),
    "no unit": (
        'radius = "2 arcsec"\n\n# A sel', "radius = 2\n\n# A sel",
        "[[crossmatches]] apogee-sdss: radius: 2 cannot be used; write a positive number with",
    ),
    "no number": ('time_budget = "2 h"', 'time_budget = "nan h"', "time_budget: 'nan h' cannot be"),
    "negative": ('time_budget = "2 h"', 'time_budget = "-2 h"', "time_budget: '-2 h' cannot be"),
    "fraction": ("# max_bad = 0.1\n\n# specObj", "max_bad = 10\n\n# specObj",
                 "[[sources]] spectra: max_bad: 10 cannot be used; write a number from 0 to 1"),
    "boolean": ("# fetch = true\n# max_bad = 0.1\n# note", 'fetch = "yes"\n# note',
                "[[sources]] allstar: fetch: 'yes' cannot be used; write true or false"),
    "two of one name": ('name = "ssppout"', 'name = "allstar"',
                        "[[sources]] allstar: name: there are two of the name allstar; rename one"),
    "two exports of one file": ('file = "out/sdss.csv"', 'file = "out/aspcap.fits"',
                                "file: there are two of the file out/aspcap.fits"),
    "missing key": ('release = "dr12"\n', "", "[[sources]] ssppout: release: this key is missing"),
    "unknown kind": ('kind = "spectra"', 'kind = "images"',
                     "kind: 'images' cannot be used; write one of: apogee, sspp, specobj"),
    "no paths": ('paths = ["incoming/spectra"]', "", "[[sources]] spectra: paths: this key is"),
    "paths and fetch": ("# fetch = true\n# max_bad = 0.1\n# note", "fetch = true\n# note",
                        "allstar: paths: both paths and fetch are given; keep one of them"),
    "unknown crossmatch": ('crossmatch = "apogee-sdss"', 'crossmatch = "x"',
                           "[[samples]] clean: crossmatch: there is no crossmatch x; known: "),
    "unknown preset": ('preset = "clean"', 'preset = "dirty"', "there is no preset dirty"),
    "rule of another preset": ("# max_distance = 4.5", "max_distance = 4.5",
                               "samples of preset clean are not selected by max_distance"),
    "unknown recipe": ('recipe = "default"', 'recipe = "best"',
                       "[[normalizations]] best: recipe: there is no recipe best; recipes: "),
    "suffix": ('file = "out/aspcap.fits"', 'file = "out/aspcap.xls"',
               "[[exports]] out/aspcap.xls: file: its name does not say what to write"),
    "content and sql": ('content = "aspcap/dr14"\n\n#', 'content = "x"\nsql = "SELECT 1"\n\n#',
                        "content: one of content and sql says what to export; give one"),
    "two makers of one label set": (
        'kind = "sspp"\nrelease = "dr12"', 'kind = "apogee"\nrelease = "DR14"',
        "[[sources]] ssppout: [[sources]] allstar makes the label set aspcap/dr14 already; of",
    ),
    "spectra into a file": ('content = "aspcap/dr14"\n\n#', 'content = "spectra"\n\n#',
                            "[[exports]] out/aspcap.fits: file: spectra go into a folder"),
    "an export over a source": (
        'file = "out/sdss.csv"', 'file = "out/../incoming/allStar-mine.fits"',
        "incoming/allStar-mine.fits is what [[sources]] allstar reads; write it elsewhere",
    ),
    "spectra among those that are read": (
        'file = "out/sdss.csv"\nsql =', 'file = "incoming/spectra/out"\ncontent = "spectra"\n#',
        "[[exports]] out: file: ",
    ),
    "an export over the configuration": (
        'log = "sync.log"', 'log = "crosslabel.toml"', "log: ",
    ),
    "one export by two names": (
        'file = "out/sdss.csv"', 'file = "out/./new/../aspcap.fits"',
        "aspcap.fits is written by [[exports]] aspcap.fits already; write it elsewhere",
    ),
    "an export within a report": (
        '# [[reports]]\n# folder = "out/report"', '[[reports]]\nfolder = "out"',
        "aspcap.fits lies in the folder of [[reports]] out, which is replaced as a whole; write",
    ),
    "half a seed": (
        '# [[reports]]\n# folder = "out/report"', '[[reports]]\nfolder = "r"\nseed = 0.5',
        "[[reports]] r: seed: 0.5 cannot be used; write a whole number from 0, without quotes",
    ),
    "nobody's folder": ('log = "sync.log"', 'log = "~nobody-of-that-name/sync.log"',
                        "log: '~nobody-of-that-name/sync.log' cannot be used; there is no user"),
    "a path with a zero byte": ('"incoming/spectra"', '"incoming\\u0000"',
                                "paths: ['incoming\\x00'] cannot be used; write a text without"),
    "a name of two lines": ('name = "spectra"', 'name = "a\\nb"',
                            r"[[sources]] a\nb: name: 'a\nb' cannot be used; write a text without"),
    "deep": ('log = "sync.log"', "log = " + "[" * 20_000, "its lists are nested too deeply;"),
    "unknown class": (
        '[[exports]]\nfile = "out/aspcap.fits"', '[[sources]]\nname = "s"\nkind = "specobj"\n'
        'release = "dr17"\nclasses = ["MOON"]\npaths = ["x"]\n'
        '[[exports]]\nfile = "out/aspcap.fits"',
        "[[sources]] s: classes: ['MOON'] cannot be used; write one of: STAR, GALAXY, QSO, all",
    ),
    "no web address": ('# [archive]\n', '[archive]\nurl = "ftp://sdss.org"\n',
                       "[archive]: url: this is no address of a web server; such as https://data"),
    "an archive too many": ("# [archive]\n", "[[archive]]\n",
                            "[archive]: this is not a table; begin it with [archive]"),
    "a table for a list": ("[[crossmatches]]", "[crossmatches]",
                           "crossmatches: {'name': 'apogee-sdss', 'left': 'apogee/dr14'"),
    "not TOML": ('log = "sync.log"', "log = sync.log", "this is not TOML (Invalid value"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_named_in_one_line(name: str, file: Path) -> None:
    old, new, message = WRONG[name]
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as found:
        read_config(file)
    said = str(found.value)
    assert said.startswith(f"{file}: ")
    assert message in said
    assert "\n" not in said


def test_an_empty_file_asks_for_nothing(file: Path) -> None:
    file.write_text('home = "home"\n')
    with pytest.raises(ConfigurationError, match=r"crosslabel.toml: it asks for nothing; give one"):
        read_config(file)


def test_an_editors_mark_at_the_beginning_is_no_mistake(file: Path) -> None:
    expected = read_config(file)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert read_config(file) == expected


def test_a_folder_of_a_user_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    file.write_text(file.read_text().replace("incoming/spectra", "~/spectra"))
    assert read_config(file).sources[2]["paths"] == ("/somewhere/spectra",)


def test_nothing_is_touched(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(file.read_text().replace("time_budget", "time_limit"))
    monkeypatch.chdir(file.parent)
    for words in (["sync"], ["sync", "--config", "nowhere.toml"]):
        monkeypatch.setattr(sys, "argv", ["crosslabel", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == ExitCode.CONFIG
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1, err
    assert "the configuration cannot be read: there is no file " in err
    assert "nowhere.toml; name it with --config" in err
    assert [p.name for p in file.parent.iterdir()] == [file.name], "no home, no log"


def test_a_time_budget_of_the_command_has_a_unit() -> None:
    assert budget_s("90 min") == 5400
    with pytest.raises(UsageError, match=r"'90' is no time budget"):
        budget_s("90")
