"""The guard around each item: what goes wrong inside one file or row refuses that one only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from catalog.errors import BadInputError, CrosslabelError

log = logging.getLogger("crosslabel")  # whose records the command line keeps in a file


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn an exception that nobody foresaw into a reason to refuse one item.

    The traceback goes to the log. Errors of our own pass unchanged, and so does what ends the
    process or the run as a whole: signals, and the errors of the system (`OSError`), for a disk
    that fails is no property of the item.

    Parameters
    ----------
    what : str
        The item, for messages: ``row 12 of mine.csv``.

    Raises
    ------
    BadInputError
        UNEXPECTED, with the type and the words of the exception.
    """
    try:
        yield
    except (CrosslabelError, OSError):
        raise
    except Exception as exc:
        log.exception("%s cannot be read", what)
        raise BadInputError(
            "UNEXPECTED",
            f"{what} cannot be read: {type(exc).__name__}: {exc}",
            "This is a fault of crosslabel, not yours: please report it with the traceback in the "
            "log. All else goes on",
        ) from exc
