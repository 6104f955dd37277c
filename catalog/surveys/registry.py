"""The surveys that crosslabel knows: the only list of them.

Commands, choices, kinds of files and sources of sync, SQL and documentation are made from it. A new
survey is a module with its record, and a line here; see docs/how-to/add-a-survey.md.
"""

from __future__ import annotations

from catalog.surveys.apogee import APOGEE
from catalog.surveys.lamost import LAMOST
from catalog.surveys.sdss import SDSS
from catalog.surveys.survey import Catalog, Detail, Instrument, SpectrumFormat, Survey

#: Name -> survey, in the order in which people read of them.
SURVEYS: dict[str, Survey] = {s.name: s for s in (APOGEE, SDSS, LAMOST)}
#: Words of ``ingest`` and ``fetch``, and kinds of sources of sync, that are of no single survey.
RESERVED = frozenset({"spectra", "labels", "positions", "sppparams", "spectrum"})


def all_catalogs() -> list[tuple[Survey, Catalog]]:
    """Return the catalogs that can be ingested, with their surveys."""
    return [(survey, c) for survey in SURVEYS.values() for c in survey.catalogs]


def find_catalog(kind: str) -> tuple[Survey, Catalog]:
    """Return the survey and the catalog of a kind of files.

    Raises
    ------
    KeyError
        If there is none.
    """
    return {c.kind: (survey, c) for survey, c in all_catalogs()}[kind]


def label_catalogs() -> dict[str, tuple[Survey, Catalog]]:
    """Return the catalogs with labels, by the first part of the names of their label sets."""
    return {c.label_set: (survey, c) for survey, c in all_catalogs() if c.label_set}


def all_instruments() -> dict[str, Instrument]:
    """Return the spectrographs by name."""
    return {i.name: i for survey in SURVEYS.values() for i in survey.instruments}


def spectrum_formats() -> list[tuple[Survey, SpectrumFormat]]:
    """Return the layouts of spectra; those that take whatever no other one claims come last."""
    found = [(survey, f) for survey in SURVEYS.values() for f in survey.spectra]
    return sorted(found, key=lambda pair: pair[1].recognise is None)


def all_details() -> list[tuple[Survey, Detail]]:
    """Return the tables of surveys' own columns."""
    return [(survey, survey.detail) for survey in SURVEYS.values() if survey.detail is not None]


def in_words(names: list[str]) -> str:
    """Return names as people list them, such as ``apogee, sdss or lamost``."""
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def register(survey: Survey) -> None:
    """Add a survey that is not part of crosslabel; before its commands are imported.

    Raises
    ------
    ValueError
        If another survey has its name, one of its kinds of catalogs, label sets or instruments, or
        if a catalog of it has no labels.
    """
    taken = {*SURVEYS, *label_catalogs(), *(c.kind for _, c in all_catalogs()), *all_instruments()}
    taken |= RESERVED
    asked = {survey.name, *(i.name for i in survey.instruments)}
    asked |= {name for c in survey.catalogs for name in (c.kind, c.label_set) if name}
    if taken & asked:
        raise ValueError(f"other surveys have these names: {', '.join(sorted(taken & asked))}")
    if bare := [c.kind for c in survey.catalogs if not c.label_set]:
        raise ValueError(f"catalogs without labels need a job of their own: {', '.join(bare)}")
    SURVEYS[survey.name] = survey
