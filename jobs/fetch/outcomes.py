"""Record the outcome of each source that the archive was asked about: matched, none or failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from catalog.errors import BadInputError, SourceUnavailableError
from catalog.store.inputs import storable
from catalog.store.schema import fetch_outcome

UNREACHABLE = "UNREACHABLE"
_RECORD = sa.text(
    "INSERT INTO fetch_outcome AS t "
    "(source_id, kind, release, outcome, reason_code, detail, url, path) VALUES "
    "(:source_id, :kind, :release, :outcome, :reason_code, :detail, :url, :path) "
    "ON CONFLICT (source_id, kind, release) DO UPDATE SET outcome = excluded.outcome, "
    "reason_code = excluded.reason_code, detail = excluded.detail, url = excluded.url, "
    "path = excluded.path, attempts = t.attempts + 1, fetched_at = now()"
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one source.

    Attributes
    ----------
    source_id : int
        The source.
    outcome : str
        ``matched``, ``none`` (the archive has nothing) or ``failed``.
    reason_code : str or None
        Why it failed.
    detail : str or None
        In words.
    url, path : str or None
        Where it was found, and where it lies now.
    """

    source_id: int
    outcome: str
    reason_code: str | None = None
    detail: str | None = None
    url: str | None = None
    path: str | None = None


def failed(source_id: int, exc: BadInputError | SourceUnavailableError) -> Outcome:
    """Return the outcome of a source for which an error came back."""
    code = exc.reason_code if isinstance(exc, BadInputError) else UNREACHABLE
    return Outcome(source_id, "failed", code, storable(exc.reason))


def record_outcomes(
    conn: sa.Connection, kind: str, release: str, outcomes: Sequence[Outcome]
) -> int:
    """Write outcomes; one asked for again counts its attempts. Returns the rows written."""
    rows = [
        vars(o) | {"kind": kind, "release": release}
        for o in sorted(outcomes, key=lambda o: o.source_id)
    ]
    if rows:
        conn.execute(_RECORD, rows)
    return len(rows)


def count_outcomes(
    conn: sa.Connection, kind: str, release: str, among: Sequence[int]
) -> dict[str, int]:
    """Return the number of these sources by outcome."""
    t = fetch_outcome.c
    query = (
        sa.select(t.outcome, sa.func.count())
        .where(
            t.kind == kind,
            t.release == release,
            t.source_id == sa.any_(sa.cast(list(among), sa.ARRAY(sa.BigInteger))),
        )
        .group_by(t.outcome)
    )
    found: dict[str, int] = {row[0]: row[1] for row in conn.execute(query)}
    return {outcome: found.get(outcome, 0) for outcome in ("matched", "none", "failed")}


def failures(
    conn: sa.Connection, kind: str, release: str, among: Sequence[int]
) -> list[tuple[str, str, str]]:
    """Return the (survey key, reason code, detail) of those among these sources that failed."""
    query = sa.text(
        "SELECT s.survey_key, f.reason_code, coalesce(f.detail, '') FROM fetch_outcome f "
        "JOIN source s USING (source_id) WHERE f.kind = :kind AND f.release = :release "
        "AND f.outcome = 'failed' AND f.source_id = ANY(:among) ORDER BY s.survey_key"
    )
    rows = conn.execute(query, {"kind": kind, "release": release, "among": list(among)})
    return [(row[0], row[1], row[2]) for row in rows]


def refuse_too_many(
    conn: sa.Connection, kind: str, release: str, among: Sequence[int], max_bad: float
) -> None:
    """Stop where too many of these sources failed; what was found stays.

    Raises
    ------
    BadInputError
        TOO_MANY_BAD.
    """
    counts = count_outcomes(conn, kind, release, among)
    if counts["failed"] > max_bad * len(among):
        raise BadInputError(
            "TOO_MANY_BAD",
            f"{counts['failed']} of {len(among)} could not be fetched",
            "What was found stays; the table fetch_outcome has the reasons. Run the command again "
            "to try them again; --max-bad raises the limit",
        )


def outcomes_in_words(
    conn: sa.Connection, kind: str, release: str, among: Sequence[int]
) -> tuple[dict[str, int], str]:
    """The counts of these sources' outcomes, and the same for people with the first failures."""
    counts = count_outcomes(conn, kind, release, among)
    lines = [
        f"{counts['matched']:,} found, {counts['none']:,} not in the archive, "
        f"{counts['failed']:,} failed, of {len(among):,}"
    ]
    some = failures(conn, kind, release, among)
    lines += [f"failed [{code}] {key}: {detail}" for key, code, detail in some[:10]]
    return counts, "\n".join(lines)
