"""Fill in the results of docs/cookbook.md: run ``python scripts/build_cookbook.py``.

The queries run on the database of the settings, which should be one that the commands of the page
made. A test makes one, runs them there and compares.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from catalog.config import make_settings
from catalog.store.homes import open_catalog_database

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cookbook.md"
#: A query and the result below it.
EXAMPLE = re.compile(r"^```sql\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def answer(conn: sa.Connection, query: str) -> str:
    """Return the rows of a query as a table, as psql prints them."""
    found = conn.execute(sa.text(query.replace(":", r"\:").rstrip().rstrip(";")))
    names = list(found.keys())
    rows = [[_text(value) for value in row] for row in found]
    is_number = [all(re.fullmatch(r"-?[\d.]*", row[i]) for row in rows) for i in range(len(names))]
    widths = [max(len(x) for x in column) for column in zip(names, *rows, strict=True)]
    lines = [" " + " | ".join(n.center(w) for n, w in zip(names, widths, strict=True))]
    lines.append("-" + "-+-".join("-" * w for w in widths) + "-")
    for row in rows:
        cells = zip(row, widths, is_number, strict=True)
        lines.append(" " + " | ".join(x.rjust(w) if n else x.ljust(w) for x, w, n in cells))
    lines.append(f"({len(rows)} row{'' if len(rows) == 1 else 's'})")
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _text(value: Any) -> str:
    """Return a value as psql prints it."""
    if isinstance(value, bool):
        return "t" if value else "f"
    return "" if value is None else str(value)


def main() -> None:
    """Write the page with the results of its queries."""
    db = open_catalog_database(make_settings(os.environ))
    try:
        with db.reader() as conn:

            def filled(example: re.Match[str]) -> str:
                return f"```sql\n{example[1]}```\n\n```text\n{answer(conn, example[1])}```"

            PAGE.write_text(EXAMPLE.sub(filled, PAGE.read_text()))
    finally:
        db.engine.dispose()
    sys.stdout.write(f"wrote {PAGE}\n")


if __name__ == "__main__":
    main()
