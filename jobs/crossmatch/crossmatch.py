"""Crossmatch two catalogs of the database: all pairs within a radius, kept up to date.

A chunk is one HEALPix pixel of the left catalog with the right one around it. For each pixel the
database keeps a digest of the positions that were matched (table ``match_coverage``). Only pixels
whose digest differs are work: new and moved sources of either side, and removed ones, are found
so, and a run without changes has no chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.sky.healpix import order_for_radius
from catalog.store import schema
from catalog.store.bulk import upsert, upsert_arrays
from catalog.store.db import Database
from jobs.crossmatch.pixels import (
    Catalog,
    PixelPairs,
    left_and_right_digests,
    load_catalog,
    match_pixel,
)
from jobs.engine.job import Job, Outcome
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED
from jobs.outcomes import crossmatch_outcome

KIND = "crossmatch"
NOTHING = (0, 0)  # digests of a pixel without left sources


@dataclass(frozen=True)
class CrossmatchParams:
    """Parameters of a crossmatch.

    Attributes
    ----------
    left, right : str
        Catalogs: ``survey``, or ``survey/release`` where keys begin with the release.
    radius_arcsec : float
        Largest separation, inclusive [arcsec].
    chunk_order : int
        HEALPix order of the chunks: the grain of the work, without effect on the result. At order
        1 (48 pixels) a chunk of a whole-sky survey takes milliseconds; most of it is its commit.
    """

    left: str = "apogee/dr14"
    right: str = "sdss"
    radius_arcsec: float = 2.0
    chunk_order: int = field(default=1, metadata=NOT_HASHED)

    @property
    def target(self) -> str:
        """Name of the crossmatch that is written: ``left:right:radius``."""
        return f"{self.left}:{self.right}:{self.radius_arcsec:g}"


class Batch(NamedTuple):
    """One matched pixel, with what it was matched from."""

    order: int
    pixel: int
    digests: tuple[int, int]
    pairs: PixelPairs


def crossmatch_job(params: CrossmatchParams, db: Database) -> Job:
    """Make the job that brings a crossmatch up to date; it needs no ``db`` of its own.

    Raises
    ------
    UsageError
        If the radius is out of range, or too large for chunks of this order.
    """
    try:
        finest = order_for_radius(params.radius_arcsec)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    if not 0 <= params.chunk_order <= finest:
        raise UsageError(
            f"chunks of HEALPix order {params.chunk_order} do not suit {params.radius_arcsec}"
            " arcsec",
            f"Choose an order between 0 and {finest}",
        )

    held: list[Catalog] = []  # left and right, read once per process

    def read(conn: sa.Connection) -> list[Catalog]:
        if not held:
            held.extend(load_catalog(conn, spec) for spec in (params.left, params.right))
        return held

    @cache
    def digests(order: int) -> dict[int, tuple[int, int]]:
        left, right = held
        return left_and_right_digests(left, right, order)

    def plan(conn: sa.Connection) -> Sequence[str]:
        held.clear()
        digests.cache_clear()
        read(conn)
        now, then = digests(params.chunk_order), _covered(conn, params)
        pixels = sorted(now.keys() | then.keys())
        return [f"{params.chunk_order}/{p}" for p in pixels if now.get(p, NOTHING) != then.get(p)]

    def compute(conn: sa.Connection, key: str) -> Batch:
        # The key's own order: a resumed run may have been planned with another one.
        order, pixel = (int(part) for part in key.split("/"))
        left, right = read(conn)
        pairs = match_pixel(left, right, params.radius_arcsec, order, pixel)
        return Batch(order, pixel, digests(order).get(pixel, NOTHING), pairs)

    def write(conn: sa.Connection, run: Run, batch: Batch) -> int:
        return _write_pixel(conn, find_crossmatch(conn, params), batch)

    def outcome(conn: sa.Connection, run_id: int) -> Outcome:
        return crossmatch_outcome(conn, find_crossmatch(conn, params))

    return Job(
        KIND,
        params.target,
        params,
        plan,
        compute,
        write,
        begin=_enter(params),
        outcome=outcome,
        unit="pixels of the sky",
    )


def find_crossmatch(conn: sa.Connection, params: CrossmatchParams) -> int:
    """Look up the id of a crossmatch.

    Raises
    ------
    UsageError
        If it has never been run.
    """
    t = schema.crossmatch.c
    found = conn.scalar(
        sa.select(t.crossmatch_id).where(
            t.left_spec == params.left,
            t.right_spec == params.right,
            t.radius_arcsec == params.radius_arcsec,
        )
    )
    if found is None:
        raise UsageError(
            f"{params.left} and {params.right} have not been matched within "
            f"{params.radius_arcsec:g} arcsec",
            f"Run: crosslabel crossmatch --left {params.left} --right {params.right} "
            f"--radius {params.radius_arcsec:g}",
        )
    return int(found)


def _covered(conn: sa.Connection, params: CrossmatchParams) -> dict[int, tuple[int, int]]:
    """Read what each pixel was last matched from; nothing for a crossmatch not yet run."""
    query = sa.text(
        "SELECT pixel, left_digest, right_digest FROM match_coverage JOIN crossmatch "
        "USING (crossmatch_id) WHERE left_spec = :left AND right_spec = :right "
        "AND radius_arcsec = :radius AND chunk_order = :chunk_order"
    )
    return {pixel: (a, b) for pixel, a, b in conn.execute(query, _named(params))}


def _named(params: CrossmatchParams) -> dict[str, str | float | int]:
    """Give the parameters the names that the queries here use."""
    return {
        "left": params.left,
        "right": params.right,
        "radius": params.radius_arcsec,
        "chunk_order": params.chunk_order,
    }


def _enter(params: CrossmatchParams) -> Callable[[sa.Connection, Run], int]:
    """Make the step that enters the configuration, once."""
    columns = {"left_spec": ":left", "right_spec": ":right", "radius_arcsec": ":radius"}

    def begin(conn: sa.Connection, run: Run) -> int:
        return upsert(
            conn,
            schema.crossmatch,
            columns,
            "(SELECT) AS one_row",
            key=list(columns),
            params=_named(params),
        )

    return begin


def _write_pixel(conn: sa.Connection, crossmatch_id: int, batch: Batch) -> int:
    """Make the stored pairs of a pixel's left sources those just found; count the changed rows."""
    pairs = batch.pairs
    known = {"id": crossmatch_id, "left": pairs.searched.tolist()}
    written = upsert_arrays(
        conn,
        schema.match,
        {
            "crossmatch_id": np.full(pairs.left_id.size, crossmatch_id),
            "left_id": pairs.left_id,
            "right_id": pairs.right_id,
            "sep_arcsec": pairs.sep_arcsec,
        },
    )
    gone = "DELETE FROM match WHERE crossmatch_id = :id AND left_id = ANY(:left)"
    if pairs.left_id.size:
        gone += (
            " AND NOT EXISTS (SELECT FROM stage_arrays s"
            " WHERE s.left_id = match.left_id AND s.right_id = match.right_id)"
        )
    written += conn.execute(sa.text(gone), known).rowcount
    _write_coverage(conn, crossmatch_id, batch)
    return written


def _write_coverage(conn: sa.Connection, crossmatch_id: int, batch: Batch) -> None:
    """Record what the pixel was matched from; not counted as rows, for nobody asks for them."""
    values = {
        "crossmatch_id": crossmatch_id,
        "chunk_order": batch.order,
        "pixel": batch.pixel,
        "left_digest": batch.digests[0],
        "right_digest": batch.digests[1],
    }
    upsert(
        conn,
        schema.match_coverage,
        {name: f":{name}" for name in values},
        "(SELECT) AS one_row",
        params=values,
    )
    # Coverage at another order speaks of pairs that have just been replaced: were it kept, a
    # source that moves there and back would look as if it had never been matched elsewhere.
    conn.execute(
        sa.text(
            "DELETE FROM match_coverage WHERE crossmatch_id = :crossmatch_id "
            "AND chunk_order <> :chunk_order "
            "AND pixel >> 2 * greatest(chunk_order - :chunk_order, 0) "
            "  = CAST(:pixel AS bigint) >> 2 * greatest(:chunk_order - chunk_order, 0)"
        ),
        values,
    )
