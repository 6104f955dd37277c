"""The report: what stands on the page, its files, and how it takes the place of an older one."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from catalog.errors import SourceUnavailableError, UsageError
from catalog.store.db import Database
from jobs.cli import app
from jobs.evaluation.compare import compare
from jobs.report.build import PARTS, write_report
from jobs.report.drawing import Subject, Table
from jobs.report.page import Content, render_page
from jobs.report.result import Result
from jobs.report.subject import find_subject
from tests.conftest import full_disk
from tests.support.learning import rows

CATALOG = PARTS[:2]  # the catalog's own figures; the models' have tests of their own
FIGURES = {
    "sky-map", "label-distributions", "positional-offsets", "separations", "label-differences",
    "continuum-fits", "normalized-spectra", "before-and-after",
}  # fmt: skip


class Written(NamedTuple):
    """A report, its page, and the database that it tells of."""

    folder: Path
    page: str
    subject: Subject
    db: Database


@pytest.fixture(scope="module")
def written(trained_once: Database, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A report of the catalog's figures, on the sample ``clean``."""
    folder = tmp_path_factory.mktemp("report") / "out"
    with trained_once.reader() as conn:
        subject = find_subject(conn, "clean")
        write_report(conn, subject, folder, parts=CATALOG)
    return Written(folder, (folder / "index.html").read_text(), subject, trained_once)


class Tables(HTMLParser):
    """The tables of a page: caption -> rows of cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self.into: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "caption":
            self.into, self.rows = [""], []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
            self.into = self.rows[-1]

    def handle_endtag(self, tag):
        if tag == "caption":
            self.found[self.into[0]] = self.rows
        if tag in ("caption", "th", "td"):
            self.into = None

    def handle_data(self, data):
        if self.into is not None:
            self.into[-1] += data


def number(text: str) -> int | None:
    return None if text == "–" else int(text.replace(",", ""))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def invoke(db: Database, *arguments: str):
    url = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return CliRunner().invoke(app, ["--database-url", url, "report", *arguments])


def test_the_counts_are_those_of_the_database(written):
    tables = Tables(written.page).found
    funnel = tables["How the sample clean was selected"][1:]
    pairs = {row[0]: number(row[3]) for row in funnel if number(row[3])}
    total = pairs.pop("total")
    told = "SELECT coalesce(reason, 'accepted'), count(*) FROM sample_member JOIN sample s "
    told += "USING (sample_id) WHERE s.name = 'clean' GROUP BY 1"
    assert pairs == dict(rows(written.db, told))
    assert sum(pairs.values()) == total
    by_row = {row[0]: number(row[2]) for row in funnel if number(row[2])}
    n_apogee = rows(written.db, "SELECT count(*) FROM source WHERE survey = 'apogee'")[0][0]
    assert by_row.pop("total") == n_apogee == sum(by_row.values())
    files = rows(
        written.db,
        "SELECT kind, count(*), sum(n_rows), (SELECT count(*) FROM quarantine JOIN input_file g "
        "USING (input_file_id) WHERE g.kind = f.kind) FROM input_file f GROUP BY 1 ORDER BY 1",
    )
    shown = [(r[0], *map(number, r[2:])) for r in tables["What was read"][1:]]
    assert shown == [tuple(row) for row in files]
    spectra = dict(row[:2] for row in tables["Spectra of the sample clean"][1:])
    [(n, stars)] = rows(
        written.db,
        "SELECT count(*), count(DISTINCT star_id) FROM star_link JOIN sample s USING (sample_id) "
        "WHERE s.name = 'clean'",
    )
    assert number(spectra["accepted spectra"]) == n
    assert number(spectra["their stars"]) == stars
    assert number(spectra["normalized by the recipe default"]) == n
    assert "normalized by the recipe masked" not in spectra


def test_the_result_is_that_of_compare(written):
    tables = Tables(written.page).found
    with written.db.reader() as conn:
        found = compare(
            conn, "aspcap/dr14", ["sspp/dr12", "small/oof"], "clean", seed=written.subject.seed
        )
    shown = tables[f"Compared minus {found.ref_set}, where all sets have the label"][1:]
    assert [(r[1], number(r[2]), number(r[3])) for r in shown] == [
        (r.test_set, r.n, r.n_stars) for r in found.rows
    ]
    for row, true in zip(shown, found.rows, strict=True):
        digits = 1 if true.unit == "K" else 3
        bias, _, error = row[4].partition(" ± ")
        assert float(bias) == pytest.approx(true.bias, abs=0.6 * 10**-digits)
        assert float(error) == pytest.approx(true.bias_err, abs=0.6 * 10**-digits)
        assert float(row[7]) == pytest.approx(true.seed_scatter, abs=0.6 * 10**-digits)
    assert f"On {found.rows[0].n:,} spectra of {found.rows[0].n_stars:,} stars" in written.page
    assert "small/oof@1 scatters by" in written.page


def test_flags_and_provenance_are_told(written):
    tables = Tables(written.page).found
    flagged = {row[0]: number(row[2]) for row in tables["Where not to believe the models"][1:]}
    told = rows(
        written.db,
        "SELECT b.name, count(*) FILTER (WHERE s.flags & (1::bigint << b.bit) <> 0) "
        "FROM label_set l JOIN stellar_label s USING (label_set_id) "
        "JOIN flag_bit b ON b.producer = l.name WHERE l.name = 'small/oof' GROUP BY 1",
    )
    assert flagged == dict(told)
    assert len(flagged) > 5
    for [sha256] in rows(written.db, "SELECT sha256 FROM input_file WHERE kind <> 'spectrum'"):
        assert sha256 in written.page
    [(model, revision)] = rows(
        written.db, "SELECT m.sha256, v.version_num FROM model m, alembic_version v "
        "WHERE m.name = 'small'"
    )  # fmt: skip
    assert model in written.page
    assert revision in written.page
    assert "crosslabel train --preset default --sample clean --name small" in written.page
    assert "simulated sspp/dr12, simulated aspcap/dr14" in written.page
    assert str(written.folder.parent) not in written.page  # nobody's folders


def test_every_figure_is_there_three_times(written):
    files = {path.stem for path in (written.folder / "figures").iterdir()}
    assert files == FIGURES
    for name in FIGURES:
        png = (written.folder / "figures" / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", png[16:24])
        assert width == 1280
        assert 500 < height < 2500
        assert (written.folder / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert base64.b64encode(png).decode() in written.page
        assert f'<figure id="{name}">' in written.page
        assert f'href="#{name}"' in written.page


def test_the_page_loads_nothing_and_can_be_read_by_all(written):
    assert "<script" not in written.page
    assert "@import" not in written.page
    assert "url(" not in written.page
    for address in re.findall(r'(?:src|srcset|data|poster)="([^"]*)"', written.page):
        assert address.startswith("data:image/png;base64,")
    anchors = set(re.findall(r'id="([^"]*)"', written.page))
    for address in re.findall(r'href="([^"]*)"', written.page):
        if address.startswith("#"):
            assert address[1:] in anchors
        else:
            assert (written.folder / address).is_file()
    assert '<html lang="en">' in written.page
    assert len(re.findall(r'<img [^>]*alt="[^"]+"', written.page)) == len(FIGURES)
    assert len(anchors) == len(re.findall(r' id="', written.page))


def test_the_same_catalog_gives_the_same_bytes(written, tmp_path):
    with written.db.reader() as conn:
        write_report(conn, written.subject, tmp_path / "some", parts=PARTS[1:2])
        for name in ("words", "again"):
            write_report(conn, written.subject, tmp_path / name, parts=())
    figures = digests(tmp_path / "some" / "figures")
    assert len(figures) == 6
    assert figures.items() <= digests(written.folder / "figures").items()
    assert digests(tmp_path / "again") == digests(tmp_path / "words")


def test_the_command_tells_what_is_missing_and_replaces_its_own(survey, tmp_path):
    out = tmp_path / "out"
    done = invoke(survey, "--to", str(out), "--sample", "clean")
    assert done.exit_code == 0, done.output
    assert re.match(
        r"8 figures in /.*html; \d+ without data, .*: .*residuals.*learning-curve.*", done.output
    )
    page = (out / "index.html").read_text()
    assert page.count("Run: crosslabel train") >= 4
    assert "sspp/dr12@1 scatters by" in page
    assert {path.stem for path in (out / "figures").iterdir()} == FIGURES
    with survey.reader() as conn:
        write_report(conn, find_subject(conn, "clean"), out, parts=())
    assert not list((out / "figures").iterdir())
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208 - hidden ones too


def test_a_report_is_on_what_was_trained(trained_once):
    with trained_once.reader() as conn:
        assert find_subject(conn, "clean") == Subject(
            "clean", "aspcap/dr14@1", "sspp/dr12@1", ("small@1",)
        )
        assert find_subject(conn) == find_subject(conn, "seed-2018")
        assert find_subject(conn, "seed-2018", models=["seed"]).models == ("seed@1",)
        assert find_subject(conn, "clean", "sspp/dr12").compared is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sample", "nothing"), "there is no sample nothing"),
        (("--reference", "nothing"), "there is no label set nothing"),
        (("--model", "nothing"), "there is no model nothing"),
        (("--sample", "clean", "--model", "seed"), "was not trained on the sample clean"),
    ],
)
def test_unknown_names_are_refused(trained_once, tmp_path, options, message):
    done = invoke(trained_once, "--to", str(tmp_path / "out"), *options)
    assert done.exit_code != 0
    assert message in str(done.exception)
    assert done.exception.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_things_is_left_alone(written, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds other things"), written.db.reader() as conn:
        write_report(conn, written.subject, tmp_path, parts=CATALOG)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no folder"), written.db.reader() as conn:
        write_report(conn, written.subject, tmp_path / "file", parts=CATALOG)
    with pytest.raises(UsageError, match="cannot be written"), written.db.reader() as conn:
        write_report(conn, written.subject, tmp_path / "none" / "out", parts=())
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_disk_without_room_leaves_the_old_report(written, tmp_path):
    out = tmp_path / "out"
    with written.db.reader() as conn:
        write_report(conn, written.subject, out, parts=())
        before = digests(out)
        with full_disk(50_000), pytest.raises(SourceUnavailableError, match="be written"):
            write_report(conn, written.subject, out, parts=PARTS[:1])
    assert digests(out) == before
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208 - hidden ones too


def test_words_cannot_become_html():
    bad = "<script>alert(1)</script>"
    table = Table("t", bad, ("a", bad), ((bad, bad), ("x", None)), bad)
    subject = Subject(bad, bad, None, ())
    page = render_page(
        Content(subject, bad, Result(bad, (bad,), table), [table], [], [], [bad], "")
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 10


def test_a_ragged_table_is_refused():
    with pytest.raises(ValueError, match="not as long as its head"):
        Table("t", "title", ("a", "b"), (("only one",),))


def test_no_sample_no_report(db, tmp_path):
    with db.reader() as conn, pytest.raises(UsageError, match="no sample to report on"):
        find_subject(conn)
