"""Tables of text as people have them: read where it is sure how, else the line is shown."""

from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest

from catalog.errors import BadInputError
from catalog.files.opening import Limits
from catalog.tables.label_table import read_label_table

KEYS = ("survey_key", "apogee_id")
HEAD = ("apogee_id", "teff", "fe_h")
ROWS = [("a", "5000", "-0.5"), ("b", "5100", "0.25")]


def table(tmp_path, text, name="x.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_label_table(path, KEYS)


def values(found):
    columns = found.block.columns
    return [
        (k.decode(), float(t), float(f))
        for k, t, f in zip(columns["key"], columns["teff"], columns["fe_h"], strict=True)
    ]


def lines(sep, head=HEAD, rows=ROWS):
    return "\n".join(sep.join(row) for row in (head, *rows)) + "\n"


@pytest.mark.parametrize("text", [
    *(lines(sep) for sep in (",", "\t", ";", "|", " ", "   ", ", ")),
    "#Table1\n" + lines(","),
    "# Table2\r\n" + lines(",").replace("\n", "\r\n"),
    "# " + lines(","),
    "#" + lines(" "),
    "# made by us\n# of 2 stars\n# " + lines(" "),
    "# a comment, with a comma\n" + lines(","),
    lines(";").replace(".", ","),
    lines("\t").replace(".", ","),
    " apogee_id | teff | fe_h \n-----------+------+------\n a | 5000 | -0.5\n b | 5100 | 0.25\n",
    "| apogee_id | teff | fe_h |\n|---|---|---|\n| a | 5000 | -0.5 |\n| b | 5100 | 0.25 |\n",
    "\ufeff" + lines(","),
    ("\ufeff" + lines(",")).encode("utf-16-le"),
    lines(",") + ",,\n\n",
    ',apogee_id,teff,fe_h\n0,a,5000,-0.5\n1,"b",5.1e3,"0.25"\n',
    lines(",").replace("-0.5", "\u22120.5").replace("5000", "5.0D3"),
])  # fmt: skip
def test_what_can_only_be_read_in_one_way_is_read(tmp_path, text):
    assert values(table(tmp_path, text)) == [("a", 5000.0, -0.5), ("b", 5100.0, 0.25)]


@pytest.mark.parametrize("name", ["x.tsv", "x.txt", "x.dat", "X.CSV", "x.csv.gz", "x.csv.bz2"])
def test_names_of_text(tmp_path, name):
    text = lines("\t").encode()
    packed = {"gz": gzip.compress, "bz2": bz2.compress}.get(name.rpartition(".")[2], bytes)
    found = table(tmp_path, packed(text), name)
    assert len(values(found)) == 2


@pytest.mark.parametrize(("text", "code", "shown"), [
    (lines(",") + "c,5000\n", "WRONG_CONTENT", r"row 3 .* has 2 fields, its header 3.*'c,5000'"),
    (lines(",").replace("5100", "5,100"), "WRONG_CONTENT", "row 2 .* has 4 fields.*comma"),
    (lines(",").encode() + b"\xfcber,1,2\n", "BAD_TEXT", r"line 4 .* UTF-8: '\xfcber,1,2'"),
    ("<!DOCTYPE html><html>no</html>\n", "HTML_BODY", "web page"),
    ("apogee_id,teff,teff\na,1,2\n", "WRONG_CONTENT", "one name: teff"),
    ("apogee_id,TEFF,teff\na,1,2\n", "WRONG_CONTENT", "both columns 'TEFF' and 'teff'"),
    ("APOGEE_ID,apogee_id,teff\na,b,2\n", "WRONG_CONTENT", "Say which: --key APOGEE_ID"),
    ('apogee_id,teff\n"a,5000\n', "WRONG_CONTENT", "quotes"),
])  # fmt: skip
def test_otherwise_the_line_is_shown(tmp_path, text, code, shown):
    with pytest.raises(BadInputError, match=f"(?s){code}.*{shown}"):
        table(tmp_path, text)


@pytest.mark.parametrize(
    "cell", ["4_100", "\uff14\uff12\uff10\uff10", "4 100", "hot", "0x10", "1e"]
)
def test_a_cell_that_is_no_number_costs_its_row_and_is_shown(tmp_path, cell):
    block = table(tmp_path, f"apogee_id;teff\na;5000\nb;{cell}\n").block
    assert block.columns["key"].tolist() == [b"a"]
    assert [(bad.row, bad.reason_code) for bad in block.bad] == [(1, "BAD_VALUE")]
    assert block.bad[0].detail == f"teff is {cell!r}, no number"


def test_words_and_sentinels_cost_their_cell_only(tmp_path):
    cells = ["--", "...", "\\N", "<NA>", "NULL", "nan", "", "N/A", "-", "-9.99", "99.99", "-9999"]
    text = "apogee_id,teff,fe_h\n" + "".join(f"s{i},5000,{c}\n" for i, c in enumerate(cells))
    block = table(tmp_path, text).block
    assert (block.n_good, block.bad) == (len(cells), ())
    assert np.isnan(block.columns["fe_h"]).all()
    assert (block.columns["teff"] == 5000).all()


def test_a_number_beyond_single_precision_is_infinite_and_refused(tmp_path):
    block = table(tmp_path, "apogee_id,teff\na,1e39\nb,1e400\nc,Infinity\nd,5000\n").block
    assert [bad.reason_code for bad in block.bad] == ["BAD_VALUE"] * 3
    assert block.columns["key"].tolist() == [b"d"]


@pytest.mark.parametrize(("name", "label"), [
    ("[Fe/H]", "fe_h"), ("Fe_H", "fe_h"), ("feh", "fe_h"), ("FEH_ADOP", "fe_h"), ("[M/H]", "m_h"),
    ("PARAM_M_H", "m_h"), ("METALS", "m_h"), ("T_eff", "teff"), ("TEFFADOP", "teff"),
    ("log(g)", "logg"), ("log g", "logg"), ("[alpha/M]", "alpha_m"), ("[Mg/Fe]", "mg_fe"),
])  # fmt: skip
def test_names_of_labels(tmp_path, name, label):
    columns = table(tmp_path, f"apogee_id;{name};e_{name}\na;1000;0.1\n").columns
    assert columns == {"key": "apogee_id", label: name, f"{label}_err": f"e_{name}"}


def test_rows_beyond_the_limit_are_not_read(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(lines(","))
    with pytest.raises(BadInputError, match=r"TOO_LARGE.*--max-rows"):
        read_label_table(path, KEYS, Limits(max_rows=1))
