"""Tests of catalog.files.opening: what is no file, and what is more than is read."""

from __future__ import annotations

import errno
import gzip
import io
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from catalog.errors import (
    BadInputError,
    ConfigurationError,
    CrosslabelError,
    SourceUnavailableError,
    UsageError,
)
from catalog.files import opening, unpacking
from catalog.files.identity import file_identity
from catalog.files.opening import (
    Limits,
    check_members,
    open_input,
    read_bytes,
    require_file,
)
from catalog.files.unpacking import open_unpacked
from catalog.fits.file import open_fits
from catalog.surveys.lamost_spectrum import read_lamost
from catalog.surveys.sdss_spectrum import read_spectrum
from catalog.tables.label_table import SUFFIXES, read_label_table
from jobs.scan.space import read_space
from jobs.sync.values import read_toml


def read_labels(path: Path) -> None:
    """Read a table of labels under each name that one can have."""
    read_label_table(path, ("key",))


READERS: dict[str, Callable[[Path], object]] = {
    "identity": file_identity,
    "spectrum": read_spectrum,
    "lamost": read_lamost,
    "labels": read_labels,
    "configuration": read_toml,
    "space": lambda path: read_space(str(path), "ridge"),
    "bytes": lambda path: read_bytes(path, 10, "a model"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder", "link to a pipe"])
def test_only_regular_files_are_read(
    tmp_path: Path, reader: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    path = Path("file.csv")
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.mkfifo("pipe")
        path.symlink_to("pipe")
    words = kind.removeprefix("link to a ")
    with pytest.raises((UsageError, ConfigurationError), match=rf"file\.csv is a {words}, not a"):
        READERS[reader](path)
    with pytest.raises(UsageError, match=words):
        require_file(path)


def test_a_pipe_that_takes_the_place_of_a_file_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a path and its opening."""
    path = tmp_path / "x"
    path.touch()
    really = os.open

    def swap(name: Path, *args: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return really(name, *args)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(UsageError, match="is a pipe"):
        open_input(path)


@pytest.mark.parametrize("name", ["n" * 300, "nothing", "file/below"])
def test_what_cannot_be_a_file_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"no file|cannot be a file"):
        open_input(tmp_path / name)


def test_a_failing_disk_is_a_source_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(b"SIMPLE  =" + bytes(2871))

    def fail(self: io.FileIO, buffer: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(opening, "_readinto", fail)
    for read in (file_identity, read_spectrum):
        with pytest.raises(SourceUnavailableError, match=r"x\.fits cannot be read \(Input/output"):
            read(path)


def test_no_room_to_unpack_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"key,teff\n"))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(SourceUnavailableError, match="no room") as said, open_unpacked(path):
        pass
    assert "TMPDIR" in said.value.todo
    monkeypatch.setattr(unpacking.tempfile, "TemporaryFile", lambda **_: full())
    with pytest.raises(SourceUnavailableError, match="no room"), open_unpacked(path):
        pass


def limit_that_stops(path: Path, limits: Limits) -> CrosslabelError:
    """What is said of a table beyond its limits."""
    with pytest.raises(BadInputError, match="TOO_LARGE") as said:
        read_label_table(path, ("key",), limits)
    assert str(path) in said.value.reason
    return said.value


def write_labels(path: Path, n: int) -> None:
    """A table of n labels, as each format writes it."""
    table = Table({"key": [f"k{i:06d}" for i in range(n)], "teff": np.full(n, 5000.0)})
    if path.suffix == ".parquet":
        pq.write_table(pa.table({name: table[name].tolist() for name in table.colnames}), path)
    else:
        form = {"vot": "votable", "csv": "ascii.csv", "ecsv": "ascii.ecsv"}
        table.write(path, format=form.get(path.suffix[1:], "fits"))


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".vot", ".parquet", ".fits"])
def test_the_limits_of_tables_are_options(tmp_path: Path, suffix: str) -> None:
    assert suffix in SUFFIXES
    path = tmp_path / f"labels{suffix}"
    write_labels(path, 50)
    assert read_label_table(path, ("key",), Limits(max_rows=50)).block.n_good == 50
    said = limit_that_stops(path, Limits(max_rows=49))
    assert "50 rows, more than 49" in said.reason
    assert "--max-rows" in said.todo
    if suffix != ".fits":  # its headers declare what it holds
        assert "--max-bytes" in limit_that_stops(path, Limits(max_bytes=300)).todo


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".vot", ".parquet", ".fits"])
def test_packed_tables_are_unpacked_within_the_limits(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    write_labels(path, 50)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert read_label_table(path, ("key",)).block.n_good == 50
    path.write_bytes(gzip.compress(bytes(100 << 20), 9))
    with pytest.raises(BadInputError) as said:
        read_label_table(path, ("key",), Limits(max_bytes=1 << 20))
    assert said.value.reason_code == ("NOT_FITS" if suffix == ".fits" else "TOO_LARGE")


def test_many_rows_in_few_bytes_of_parquet_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "many.parquet"
    column = pa.array(np.zeros(30_000_000, np.int8))
    pq.write_table(pa.table({"key": column, "teff": column}), path, compression="zstd")
    assert path.stat().st_size < 1 << 20
    assert "30,000,000 rows, more than 10,000,000" in limit_that_stops(path, Limits()).reason


def test_a_word_that_repeats_is_counted_as_often_as_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "words.parquet"
    pq.write_table(pa.table({"key": pa.array(["x" * 10_000] * 5_000), "teff": [1] * 5_000}), path)
    assert path.stat().st_size < 200_000
    assert "--max-bytes" in limit_that_stops(path, Limits(max_bytes=10_000_000)).todo


def test_the_members_of_an_archive_are_summed_before_one_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"{i}.npy", bytes(1000))
    check_members("m.npz", buffer, 3000)
    with pytest.raises(BadInputError, match=r"m\.npz has 3 members with 3,000 bytes unpacked"):
        check_members("m.npz", buffer, 2999)
    assert buffer.tell() == 0
    check_members("m.npz", io.BytesIO(b"no archive"), 1)


@pytest.mark.parametrize(
    "content",
    [
        '<STREAM encoding="base64" href="file:///dev/zero"/>',
        '<STREAM href="http://127.0.0.1:9/x"/>',
    ],
)
def test_a_votable_fetches_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.vot"
    field = '<FIELD name="key" datatype="int"/>'
    path.write_text(
        f'<VOTABLE version="1.4"><RESOURCE><TABLE>{field}<DATA><BINARY>{content}</BINARY></DATA>'
        "</TABLE></RESOURCE></VOTABLE>"
    )
    with pytest.raises(BadInputError, match="keeps its data elsewhere"):
        read_label_table(path, ("key",))


def test_a_votable_defines_no_entities(tmp_path: Path) -> None:
    path = tmp_path / "x.vot"
    path.write_text('<!DOCTYPE v [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><VOTABLE>&b;</VOTABLE>')
    with pytest.raises(BadInputError, match="defines XML entities"):
        read_label_table(path, ("key",))


def test_a_packed_file_is_unpacked_as_far_as_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.fits.gz"
    head = b"".join(c.encode().ljust(80) for c in ("SIMPLE  =                    T", "END"))
    path.write_bytes(gzip.compress(head + bytes(60 << 20), 9))
    with pytest.raises(BadInputError, match="NOT_FITS"), open_fits(path):
        pass
