"""Summarise the contents of a catalog in a few lines."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.store.labels import list_label_sets
from catalog.store.models import list_models
from catalog.store.samples import SAMPLE_LINES

SHOWN = 8  # names of one kind

_COUNTS = {
    "sources": "SELECT survey, count(*) FROM source GROUP BY survey ORDER BY survey",
    "spectra": "SELECT instrument, count(*) FROM spectrum_blob WHERE spectrum_state = 'ok' "
    "GROUP BY instrument ORDER BY instrument",
    "samples": f"SELECT name, n_spectra FROM ({SAMPLE_LINES}) q ORDER BY name",
}


def summary_of(conn: sa.Connection) -> str:
    """Return counts of sources and spectra, names of label sets, samples and models."""
    lines = {}
    for what, query in _COUNTS.items():
        lines[what] = [f"{name} ({n:,})" for name, n in conn.execute(sa.text(query))]
    sets = list_label_sets(conn)
    lines["label sets"] = [f"{s.full_name} ({s.n_rows or 0:,})" for s in sets]
    lines["models"] = [m.full_name for m in list_models(conn)]
    simulated = any(s.simulated for s in sets)
    order = ("sources", "spectra", "label sets", "samples", "models")
    text = "\n".join(f"  {what:11} {_names(lines[what])}" for what in order)
    return text + ("\n  simulated: no measurement of real stars" if simulated else "")


def _names(names: list[str]) -> str:
    """Some names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "") or "none"
