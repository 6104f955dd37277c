"""Stored spectra and the normalized ones made of them, up to date or not.

A normalized spectrum is a function of the spectrum, its redshift and the recipe. It is up to date
while all three are still those that it was made from; nothing else keeps track of that.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from catalog.store.spectra import JOIN_NORMALIZED, USABLE

#: Usable spectra ``b``, of a sample or all, with ``n`` where they are normalized.
FROM_SPECTRA = f"""FROM spectrum_blob b
    {JOIN_NORMALIZED}
    WHERE {USABLE}"""


class RecipeIdentity(Protocol):
    """The name and version of a recipe, and whether it shifts spectra to the star's rest frame."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def rest_frame(self) -> bool: ...


class SpectrumKey(NamedTuple):
    """A normalized spectrum, by its natural key and what it was made from."""

    source_id: int
    survey: str
    survey_key: str
    sha256: str
    z: float | None
    instrument: str


def recipe_values(recipe: RecipeIdentity, sample_id: int | None = None) -> dict[str, Any]:
    """The parameters that queries with `JOIN_NORMALIZED` need."""
    return {
        "recipe": recipe.name,
        "recipe_version": recipe.version,
        "rest_frame": recipe.rest_frame,
        "sample_id": sample_id,
    }


def stale_ids(
    conn: sa.Connection,
    recipe: RecipeIdentity,
    sample_id: int | None,
    within: tuple[int, int] | None = None,
) -> list[int]:
    """Sources whose spectrum is not normalized yet, or no longer as it is now; in order.

    Parameters
    ----------
    sample_id : int or None
        Only the accepted pairs of this sample.
    within : (int, int), optional
        Only source ids from the first to the last.
    """
    query = f"SELECT b.source_id {FROM_SPECTRA} AND n.source_id IS NULL {_RANGE} ORDER BY 1"
    values = recipe_values(recipe, sample_id) | _range_values(within)
    return list(conn.scalars(sa.text(query), values))


def normalized_keys(
    conn: sa.Connection,
    recipe: RecipeIdentity,
    sample_id: int | None,
    within: tuple[int, int] | None = None,
) -> list[SpectrumKey]:
    """Up-to-date normalized spectra, by ``source_id``; parameters as in `stale_ids`."""
    query = (
        "SELECT b.source_id, r.survey, r.survey_key, b.sha256, n.z, b.instrument "
        + FROM_SPECTRA.replace("WHERE", "JOIN source r ON r.source_id = b.source_id WHERE", 1)
        + f" AND n.source_id IS NOT NULL {_RANGE} ORDER BY 1"
    )
    values = recipe_values(recipe, sample_id) | _range_values(within)
    return [SpectrumKey(*row) for row in conn.execute(sa.text(query), values)]


_RANGE = "AND b.source_id BETWEEN :first AND :last"


def _range_values(within: tuple[int, int] | None) -> dict[str, int]:
    """Bounds of source ids; all of them where none are given."""
    first, last = within or (0, 2**63 - 1)
    return {"first": first, "last": last}


def batch_keys(source_ids: list[int], batch: int) -> list[str]:
    """Chunk keys ``first-last``, each a range of so many of the given ids."""
    parts = [source_ids[i : i + batch] for i in range(0, len(source_ids), batch)]
    return [f"{part[0]}-{part[-1]}" for part in parts]


def batch_range(key: str) -> tuple[int, int]:
    """The first and last source id of a chunk of `batch_keys`."""
    first, last = key.split("-")
    return int(first), int(last)


def normalize_command(recipe: str, sample: str | None) -> str:
    """The command that makes the normalized spectra that are missing."""
    return f"Run: crosslabel normalize --recipe {recipe}" + (
        f" --sample {sample}" if sample else ""
    )
