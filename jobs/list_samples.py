"""The samples of a catalog in short, and what was made of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

_SAMPLES = """
    SELECT s.name, s.preset, s.created_at, s.params,
           (SELECT count(*) FROM star_link k WHERE k.sample_id = s.sample_id) AS accepted,
           ARRAY(SELECT DISTINCT m.name FROM model m
                 WHERE m.sample_id = s.sample_id AND m.status = 'complete'
                 ORDER BY m.name) AS models
    FROM sample s ORDER BY s.name"""


def list_samples_with_use(conn: sa.Connection) -> list[dict[str, Any]]:
    """Each sample by name: preset, params, created_at, accepted (spectra), models (names)."""
    return [dict(row._mapping) for row in conn.execute(sa.text(_SAMPLES))]
