"""Unforeseen errors refuse one item; errors that are no property of an item are raised on."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from catalog.errors import BadInputError, UsageError
from catalog.files.guard import MAX_FAULTS, guarded, read_each
from catalog.records import BadItem, Block


@pytest.mark.parametrize("error", [ValueError("x"), OverflowError(), RecursionError(), KeyError(1)])
def test_what_nobody_foresaw_is_a_reason(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pytest.raises(BadInputError, match=r"row 3 of mine.csv") as caught,
        guarded("row 3 of mine.csv"),
    ):
        raise error
    assert caught.value.reason_code == "UNEXPECTED"
    assert type(error).__name__ in caught.value.reason
    (record,) = caplog.records
    assert (record.levelno, record.exc_info is not None) == (logging.ERROR, True)


@pytest.mark.parametrize(
    "error",
    [UsageError("x"), BadInputError("BAD_ID", "x"), OSError(28, "full"), KeyboardInterrupt()],
)
def test_the_rest_goes_on(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, guarded("a file"):
        raise error
    assert caught.value is error


class Catalog:
    """Rows of which some end in an error, whoever reads them with others."""

    def __init__(self, *faults: int) -> None:
        self.faults = faults

    def read(self, start: int, stop: int) -> Block:
        if any(start <= row < stop for row in self.faults):
            raise OverflowError("row")
        rows = np.arange(start, stop)
        bad = tuple(BadItem("k", int(r), "BAD_ID", "x") for r in rows if r % 10 == 9)
        good = rows[rows % 10 != 9]
        columns = {"number": good, "masked": np.ma.MaskedArray(good, good % 2 == 0)}
        return Block(columns, good, bad, start, len(rows))


@pytest.mark.parametrize("faults", [(), (0,), (41,), (99,), (3, 4, 50, 99)])
def test_rows_with_unforeseen_errors_are_refused_one_by_one(faults: tuple[int, ...]) -> None:
    block = read_each(Catalog(*faults), 0, 100, "a.fits")
    assert (block.first_row, block.n_rows) == (0, 100)
    unexpected = [item.row for item in block.bad if item.reason_code == "UNEXPECTED"]
    assert unexpected == list(faults)
    good = [r for r in range(100) if r % 10 != 9 and r not in faults]
    assert block.columns["number"].tolist() == block.rows.tolist() == good
    assert block.n_good == len(good)
    assert np.ma.getmaskarray(block.columns["masked"]).tolist() == [r % 2 == 0 for r in good]
    assert [item.row for item in block.bad] == sorted(item.row for item in block.bad)


def test_what_happens_in_every_row_is_no_fault_of_a_row(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BadInputError, match="UNEXPECTED"):
        read_each(Catalog(*range(1000)), 0, 1000, "a.fits")
    assert len(caplog.records) < 2 * MAX_FAULTS + 20
