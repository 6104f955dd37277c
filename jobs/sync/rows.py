"""The tables of a configuration, one by one, with the checks that go beyond single keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.archive.places import check_archive_release
from catalog.errors import CrosslabelError
from catalog.store.names import check_name, check_release
from catalog.words import names_near
from jobs.export.tables import SUFFIXES
from jobs.normalize import find_recipe
from jobs.samples.options import make_rules
from jobs.samples.select import SampleParams
from jobs.sync.keys import RULE_KEYS
from jobs.sync.values import Place

#: As the content of an export: a folder with a file for each spectrum.
SPECTRA = "spectra"
Values = Mapping[str, Any]  # one table of the file: every key of its kind, with its value


def read_source(row: dict[str, Any], place: Place, base: Path) -> Values:
    """A source, with absolute paths."""
    fetch = row.get("fetch", False)
    try:
        if "release" in row:
            check_release(row["release"])
            if fetch or row["kind"] in ("positions", "sppparams"):
                row["release"] = check_archive_release(row["release"])
            row["release"] = row["release"].lower()
        if "label_set" in row:
            check_name(row["label_set"], "label set")
    except CrosslabelError as exc:
        raise place.translate("release" if "release" in row else "label_set", exc) from None
    if "paths" in row:
        if fetch == bool(row["paths"]):
            wrong = "both paths and fetch are given" if fetch else "this key is missing"
            todo = "keep one of them" if fetch else 'add it: paths = ["..."]'
            raise place.wrong("paths", wrong, todo)
        row["paths"] = tuple(str(base / p) for p in row["paths"])
    return row


def read_sample(row: dict[str, Any], place: Place, crossmatches: Mapping[str, Values]) -> Values:
    """A sample, with the parameters of its job."""
    if row["crossmatch"] not in crossmatches:
        name = row["crossmatch"]
        todo = names_near(name, crossmatches, "known", "none; add one as [[crossmatches]]")
        raise place.wrong("crossmatch", f"there is no crossmatch {name}", todo)
    match = crossmatches[row["crossmatch"]]
    rules = {key.name: row.pop(key.name) for key in RULE_KEYS}
    for name in ("instruments", "aspcap_bad"):
        rules[name] = None if rules[name] is None else tuple(w.upper() for w in rules[name])
    try:
        check_name(row["name"], "sample")
        if row["fetch_spectra"]:
            row["fetch_spectra"] = check_archive_release(row["fetch_spectra"])
        params = SampleParams(
            row["name"], row["preset"], match["left"], match["right"], match["radius"],
            row["reference"], row["against"], make_rules(row["preset"], rules),
        )  # fmt: skip
    except CrosslabelError as exc:
        raise place.translate("", exc) from None
    return {**row, "params": params}


def read_recipe(row: dict[str, Any], place: Place) -> Values:
    """A normalization by a recipe that exists."""
    try:
        find_recipe(row["recipe"])
    except CrosslabelError as exc:
        raise place.translate("recipe", exc) from None
    return row


def read_prediction(row: dict[str, Any], place: Place) -> Values:
    """A prediction whose label set can have that name."""
    try:
        check_name(row["label_set"], "label set")
    except CrosslabelError as exc:
        raise place.translate("label_set", exc) from None
    return row


def read_export(row: dict[str, Any], place: Place, base: Path) -> Values:
    """An export to an absolute path."""
    file = base / row["file"]
    is_folder = row["content"] == SPECTRA
    if is_folder == (file.suffix.lower() in SUFFIXES):
        wrong = "spectra go into a folder" if is_folder else "its name does not say what to write"
        todo = "name one" if is_folder else f"let it end with one of {', '.join(SUFFIXES)}"
        raise place.wrong("file", wrong, todo)
    if bool(row["content"]) == bool(row["sql"]):
        raise place.wrong("content", "one of content and sql says what to export", "give one")
    if row["against"] and row["sql"]:
        raise place.wrong("against", "this is for label sets", "give content, not sql")
    if row["sample"] and not (row["against"] or is_folder):
        todo = "add against, or take it away"
        raise place.wrong("sample", "this is for comparisons and spectra", todo)
    return {**row, "file": file}
