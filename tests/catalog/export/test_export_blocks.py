"""Files that are written in blocks: the same bytes as at once, in memory that is bounded."""

from __future__ import annotations

import base64
import io
import re
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from catalog.errors import UsageError
from catalog.export import fits as export_fits
from catalog.export import parquet, votable
from catalog.export.fits import seal, table_unit
from catalog.export.query import query_selection
from catalog.export.rows import read_blocks
from catalog.store.db import Database
from catalog.store.people import people_sql
from jobs.export.tables import export

MODULES = {".fits": export_fits, ".vot": votable, ".parquet": parquet}
#: All kinds of columns; NULLs; texts that grow, and in the last rows are not ASCII.
QUERY = """SELECT n, n % 3 = 0 AS third, n::smallint AS small, nullif(n, 5) AS some,
    n * 10000000000 AS large, sqrt(n)::real AS root,
    CASE WHEN n <> 7 THEN 1::float8 / n END AS inverse,
    repeat('x', (n % 1500) / 50) AS word, CASE WHEN n < {plain} THEN 'a' ELSE 'Ā' END AS sign
    FROM generate_series(1, {n}) n"""


def written(db: Database, path: Path, n: int, plain: int = 10**6) -> Path:
    with people_sql(db) as conn:
        export(conn, query_selection(conn, QUERY.format(n=n, plain=plain)), path)
    return path


def in_blocks(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    for module in MODULES.values():
        monkeypatch.setattr(module, "read_blocks", partial(read_blocks, rows_per_block=rows))


@pytest.mark.parametrize("suffix", [".fits", ".vot"])
@pytest.mark.parametrize("n", [1, 64, 1999])
def test_blocks_make_the_same_bytes(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, n: int
) -> None:
    plain = 10**6 if suffix == ".fits" else 1500
    whole = written(db, tmp_path / f"whole{suffix}", n, plain).read_bytes()
    for rows in (1, 7, 64):
        in_blocks(monkeypatch, rows)
        assert written(db, tmp_path / f"blocks{suffix}", n, plain).read_bytes() == whole


@pytest.mark.parametrize("n", [0, 1, 700])
def test_fits_is_what_astropy_writes(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    in_blocks(monkeypatch, 100)
    path = written(db, tmp_path / "x.fits", n)
    with fits.open(path, checksum=True) as file:
        rows = np.array(file[1].data.view(np.ndarray))
        header = file[1].header.copy()
    assert (len(rows), header["TFORM8"]) == (n, f"{max(n // 50, 1)}A")
    for card in ("XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS",
                 "CHECKSUM", "DATASUM"):  # fmt: skip
        del header[card]
    at_once = io.BytesIO()
    seal([fits.PrimaryHDU(), table_unit(rows, header)]).writeto(at_once)
    assert path.read_bytes() == at_once.getvalue()


def test_votable_has_full_lines_and_all_rows(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_blocks(monkeypatch, 100)
    path = written(db, tmp_path / "x.vot", 700, plain=650)
    body = re.search(rb"encoding='base64'>\n(.*)\n</STREAM>", path.read_bytes(), re.DOTALL)
    assert body is not None
    *full, last = body[1].split(b"\n")
    assert {len(line) for line in full} == {4864}
    assert 0 < len(last) <= 4864
    base64.b64decode(last, validate=True)
    table = Table.read(path)
    assert table["n"].tolist() == list(range(1, 701))
    assert table["sign"].tolist() == ["a"] * 649 + ["Ā"] * 51
    assert table["word"][-1] == "x" * 14
    assert table["inverse"].mask.nonzero()[0].tolist() == [6]


def test_what_fits_cannot_hold_is_named_by_its_row(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_blocks(monkeypatch, 100)
    with pytest.raises(UsageError, match=r"column sign .* holds 'Ā' in row 650, but"):
        written(db, tmp_path / "x.fits", 700, plain=650)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", MODULES)
def test_memory_does_not_grow_with_the_rows(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    in_blocks(monkeypatch, 500)
    most = {}
    for n in (1500, 1500, 24_000):  # the first loads libraries
        tracemalloc.start()
        written(db, tmp_path / f"{n}{suffix}", n)
        most[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most[24_000] < 1.3 * most[1500]
    assert (tmp_path / f"24000{suffix}").stat().st_size > 0.8 * most[24_000]
