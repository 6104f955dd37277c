"""What nobody foresaw refuses one item; what is no property of an item goes on."""

from __future__ import annotations

import logging

import pytest

from catalog.errors import BadInputError, UsageError
from catalog.files.guard import guarded


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
