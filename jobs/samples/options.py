"""The numbers of a selection as options: from a user's words to rules, and back to words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from catalog.errors import UsageError
from catalog.surveys.registry import SURVEYS, all_instruments
from catalog.surveys.survey import Survey
from catalog.words import names_near
from jobs.samples.candidates import LABELS
from jobs.samples.rules import PRESETS, Rules

INSTRUMENTS = tuple(all_instruments())


def make_rules(preset: str, cuts: Mapping[str, Any]) -> Rules:
    """Give the rules of a preset with some of their numbers replaced.

    Parameters
    ----------
    preset : str
        ``clean`` or ``seed-2018``.
    cuts : mapping of str to object
        Fields of the preset's rules with their values; None keeps the preset's.

    Raises
    ------
    UsageError
        If there is no such preset, it has no such number, or a value makes no sense.
    """
    if preset not in PRESETS:
        raise UsageError(
            f"there is no preset {preset} of samples", names_near(preset, PRESETS, "Presets")
        )
    given = {name: value for name, value in cuts.items() if value is not None}
    have = [f.name for f in dataclasses.fields(PRESETS[preset])]
    for name in given:
        if name not in have:
            raise UsageError(
                f"samples of preset {preset} are not selected by {name}",
                names_near(name, have, "They are by"),
            )
    _check_words("instrument", given.get("instruments", ()), INSTRUMENTS)
    _check_words("main label", given.get("needs", LABELS), LABELS)
    _check_words(
        "bit of ASPCAPFLAG",
        given.get("aspcap_bad", ()),
        [name for survey in SURVEYS.values() if survey.names_stars for name in _bits(survey)],
    )
    if given.get("needs") == ():
        raise UsageError(
            "a star without any label is of no use", f"Name some of {', '.join(LABELS)}"
        )
    return dataclasses.replace(PRESETS[preset], **given)


def bad_bits(survey: Survey, names: tuple[str, ...]) -> int:
    """Return the bits of a reference survey's flags that have one of some names, as a mask."""
    return sum(1 << bit for name, bit in _bits(survey).items() if name in names)


def _bits(survey: Survey) -> dict[str, int]:
    """Return the flag bits of the catalog that names a survey's stars, by name."""
    found: dict[str, int] = {}
    for catalog in survey.catalogs:
        if catalog.star and catalog.flag_bits is not None:
            found |= {name: bit for bit, (name, _) in catalog.flag_bits.load().items()}
    return found


def _check_words(what: str, words: tuple[str, ...], known: tuple[str, ...] | list[str]) -> None:
    """Refuse names that do not exist."""
    unknown = [word for word in words if word not in known]
    if unknown:
        raise UsageError(
            f"there is no {what} {', '.join(unknown)}", names_near(unknown[0], known, "Known")
        )


def changed_rules(rules: Rules, usual: Rules) -> dict[str, Any]:
    """Return the fields in which rules differ from others of their kind, with their values."""
    return {
        f.name: getattr(rules, f.name)
        for f in dataclasses.fields(rules)
        if getattr(rules, f.name) != getattr(usual, f.name)
    }


def rules_in_words(rules: Rules, preset: str) -> str:
    """Return the rules of a sample that are not the preset's, in words; empty where all are."""
    changed = changed_rules(rules, PRESETS[preset])
    return ", ".join(
        f"{name} {', '.join(value) if isinstance(value, tuple) else value}"
        for name, value in changed.items()
    )
