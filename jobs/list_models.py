"""The models of a catalog in short: what they learned from what, and how well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa


@dataclass(frozen=True)
class ModelLine:
    """A model in one line.

    Parameters
    ----------
    name, edition, preset
        Which model.
    labels : list of str
        What it predicts.
    label_set, sample : str or None
        What it learned from; None where that is not in this catalog.
    n_spectra : int
        Spectra of this catalog that it was trained on.
    sigma_mad : dict of str to float
        Out-of-fold scatter of each label [unit of the label].
    simulated : bool
        Whether nobody measured what it rests on.
    imported : bool
        Whether it came from a file.
    created_at : datetime
        When it was made here, or came.
    """

    name: str
    edition: int
    preset: str
    labels: list[str]
    label_set: str | None
    sample: str | None
    n_spectra: int
    sigma_mad: dict[str, float | None]
    simulated: bool
    imported: bool
    created_at: datetime

    @property
    def full_name(self) -> str:
        """``name@edition``."""
        return f"{self.name}@{self.edition}"


_MODELS = """
    SELECT m.name, m.edition, m.preset, m.labels, l.name || '@' || l.edition AS label_set,
           s.name AS sample, m.metrics, m.created_at,
           (SELECT count(*) FROM training_member t JOIN source r USING (source_id)
            WHERE t.model_id = m.model_id AND r.survey <> 'apogee') AS n_spectra,
           coalesce((l.params ->> 'simulated')::boolean, (m.params ->> 'simulated')::boolean,
                    false) AS simulated,
           m.run_id IS NULL AS imported
    FROM model m LEFT JOIN label_set l USING (label_set_id) LEFT JOIN sample s USING (sample_id)
    WHERE m.status = 'complete' ORDER BY m.name, m.edition DESC"""


def list_models(conn: sa.Connection, *, all_editions: bool = False) -> list[ModelLine]:
    """Complete models by name: the newest edition of each, or all of them."""
    lines: dict[tuple[str, int], ModelLine] = {}
    for row in conn.execute(sa.text(_MODELS)):
        metrics: dict[str, Any] = row.metrics or {}
        line = ModelLine(
            row.name, row.edition, row.preset, row.labels, row.label_set, row.sample,
            row.n_spectra, {n: metrics.get(f"{n}.sigma_mad") for n in row.labels}, row.simulated,
            row.imported, row.created_at,
        )  # fmt: skip
        lines.setdefault((row.name, row.edition if all_editions else 0), line)
    return list(lines.values())
