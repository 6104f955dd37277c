"""The configuration of sync: a TOML file, read strictly before anything is touched."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.archive.places import check_archive_release
from catalog.errors import CrosslabelError, UsageError
from jobs.export_catalog import SUFFIXES
from jobs.names import check_name, check_release
from jobs.normalized_rows import find_recipe
from jobs.sample_options import make_rules
from jobs.select_sample import SampleParams
from jobs.sync.keys import (
    ARCHIVE_KEYS,
    CROSSMATCH_KEYS,
    EXPORT_KEYS,
    NAME_KEY,
    NORMALIZATION_KEYS,
    PREDICTION_KEYS,
    REPORT_KEYS,
    RULE_KEYS,
    SAMPLE_KEYS,
    SOURCE_KEYS,
    TOP_KEYS,
)
from jobs.sync.overlaps import Input, Output, check_overlaps
from jobs.sync.values import Key, Place, choice, quantity, read_table, read_toml

#: As the content of an export: a folder with a file for each spectrum.
SPECTRA = "spectra"
Values = Mapping[str, Any]  # one table of the file: every key of its kind, with its value


@dataclass(frozen=True)
class Config:
    """What a sync has to do.

    Attributes
    ----------
    file : Path
        Where this stands; its folder is what relative paths start from.
    settings : mapping of str to str
        What the file says of the catalog and the archive, by the variables' names.
    log : Path or None
        Where a JSON line goes for each step.
    time_budget_s : float or None
        After this time nothing new is begun [s].
    archive : Path
        Folder of what is fetched.
    sources, crossmatches, samples, normalizations, predictions, exports, reports : tuple of mapping
        As in the file; in samples ``params`` is a `SampleParams`, paths are absolute.
    """

    file: Path
    settings: Mapping[str, str]
    log: Path | None
    time_budget_s: float | None
    archive: Path
    sources: tuple[Values, ...]
    crossmatches: tuple[Values, ...]
    samples: tuple[Values, ...]
    normalizations: tuple[Values, ...]
    predictions: tuple[Values, ...]
    exports: tuple[Values, ...]
    reports: tuple[Values, ...]


def read_config(file: Path) -> Config:
    """Read and check a configuration; touches nothing.

    Raises
    ------
    ConfigurationError
        In one line: file, key, what is wrong, what to do.
    """
    file = file.absolute()
    top = read_table(read_toml(file), TOP_KEYS, Place(file))
    base = file.parent
    archive = read_table(top["archive"], ARCHIVE_KEYS, Place(file, "[archive]"))
    sources = _rows(file, "sources", top["sources"], None)
    crossmatches = _rows(file, "crossmatches", top["crossmatches"], CROSSMATCH_KEYS)
    samples = _rows(file, "samples", top["samples"], SAMPLE_KEYS)
    normalizations = _rows(file, "normalizations", top["normalizations"], NORMALIZATION_KEYS)
    predictions = _rows(file, "predictions", top["predictions"], PREDICTION_KEYS)
    exports = _rows(file, "exports", top["exports"], EXPORT_KEYS)
    reports = _rows(file, "reports", top["reports"], REPORT_KEYS)
    for rows, key in (
        (sources, "name"), (crossmatches, "name"), (samples, "name"), (predictions, "label_set"),
        (exports, "file"), (reports, "folder"),
    ):  # fmt: skip
        _unique(rows, key)
    _one_maker_each([*sources, *predictions])
    by_name = {row["name"]: row for row, _ in crossmatches}
    settings = {
        "CROSSLABEL_HOME": str(base / Path(top["home"]).expanduser()) if top["home"] else "",
        "CROSSLABEL_DATABASE_URL": top["database_url"],
        "CROSSLABEL_ARCHIVE_URL": archive["url"],
        "CROSSLABEL_SKYSERVER_URL": archive["skyserver_url"],
    }
    found = Config(
        file=file,
        settings={name: value for name, value in settings.items() if value},
        log=base / Path(top["log"]).expanduser() if top["log"] else None,
        time_budget_s=top["time_budget"],
        archive=base / Path(archive["folder"]).expanduser(),
        sources=tuple(_source(row, place, base) for row, place in sources),
        crossmatches=tuple(row for row, _ in crossmatches),
        samples=tuple(_sample(row, place, by_name) for row, place in samples),
        normalizations=tuple(_recipe(row, place) for row, place in normalizations),
        predictions=tuple(_prediction(row, place) for row, place in predictions),
        exports=tuple(_export(row, place, base) for row, place in exports),
        reports=tuple(
            {**row, "folder": base / Path(row["folder"]).expanduser()} for row, _ in reports
        ),
    )
    check_overlaps(list(_outputs(found)), list(_inputs(found)))
    return found


def _outputs(config: Config) -> Iterator[Output]:
    """All that a sync writes, beside the catalog."""
    if config.log:
        yield Output(Place(config.file), "log", config.log)
    for row in config.exports:
        place = Place(config.file, f"[[exports]] {row['file'].name}")
        yield Output(place, "file", row["file"], is_spectra=row["content"] == SPECTRA)
    for row in config.reports:
        place = Place(config.file, f"[[reports]] {row['folder'].name}")
        yield Output(place, "folder", row["folder"], is_report=True)


def _inputs(config: Config) -> Iterator[Input]:
    """All that a sync reads; patterns are absolute."""
    yield Input("sync itself", glob.escape(str(config.file)))
    for row in config.sources:
        for pattern in row.get("paths", ()):
            yield Input(f"[[sources]] {row['name']}", pattern, row["kind"] == "spectra")
    if any(row["fetch_spectra"] for row in config.samples):
        yield Input("[archive]", glob.escape(str(config.archive)), as_folder=True)


def budget_s(text: str) -> float:
    """A time budget as people write it, in seconds.

    Raises
    ------
    UsageError
        If it is no time.
    """
    try:
        return quantity("s", "2 h")(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} is no time budget", str(exc).capitalize()) from None


Rows = list[tuple[dict[str, Any], Place]]


def _rows(file: Path, name: str, tables: Sequence[Any], keys: tuple[Key, ...] | None) -> Rows:
    """The tables of one list, each with the place that messages name."""
    rows = []
    for i, table in enumerate(tables, 1):
        label = next(
            (table[k] for k in ("name", "label_set", "file", "folder", "recipe") if k in table), i
        ) if isinstance(table, dict) else i  # fmt: skip
        place = Place(file, f"[[{name}]] {label}")
        own = keys if keys is not None else _source_keys(table, place)
        rows.append((read_table(table, own, place), place))
    return rows


def _source_keys(table: Any, place: Place) -> tuple[Key, ...]:
    """The keys of a source, which depend on its kind."""
    kind = Key("kind", choice(*SOURCE_KEYS))
    given = {"kind": table["kind"]} if isinstance(table, dict) and "kind" in table else {}
    return (NAME_KEY, kind, *SOURCE_KEYS[read_table(given, (kind,), place)["kind"]])


def _unique(rows: Rows, key: str) -> None:
    """Refuse two tables of one name."""
    seen = set()
    for row, place in rows:
        if row[key] in seen:
            raise place.wrong(key, f"there are two of the {key} {row[key]}", "rename one of them")
        seen.add(row[key])


def _one_maker_each(rows: Rows) -> None:
    """Refuse two makers of one label set: each would publish a new edition every time."""
    sets = {"apogee": "aspcap", "sspp": "sspp", "sppparams": "sspp"}
    seen: dict[str, str] = {}
    for row, place in rows:
        kind = sets.get(row.get("kind", ""))
        made = f"{kind}/{row['release'].lower()}" if kind else row.get("label_set")
        if made in seen:
            todo = "of files of one kind and release make one source with several paths"
            raise place.wrong("", f"{seen[made]} makes the label set {made} already", todo)
        if made:
            seen[made] = place.table


def _source(row: dict[str, Any], place: Place, base: Path) -> Values:
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
        row["paths"] = tuple(str(base / Path(p).expanduser()) for p in row["paths"])
    return row


def _sample(row: dict[str, Any], place: Place, crossmatches: Mapping[str, Values]) -> Values:
    """A sample, with the parameters of its job."""
    if row["crossmatch"] not in crossmatches:
        known = ", ".join(crossmatches) or "none; add one as [[crossmatches]]"
        raise place.wrong(
            "crossmatch", f"there is no crossmatch {row['crossmatch']}", f"known: {known}"
        )
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
            row["reference"], row["compared"], make_rules(row["preset"], rules),
        )  # fmt: skip
    except CrosslabelError as exc:
        raise place.translate("", exc) from None
    return {**row, "params": params}


def _recipe(row: dict[str, Any], place: Place) -> Values:
    """A normalization by a recipe that exists."""
    try:
        find_recipe(row["recipe"])
    except CrosslabelError as exc:
        raise place.translate("recipe", exc) from None
    return row


def _prediction(row: dict[str, Any], place: Place) -> Values:
    """A prediction whose label set can have that name."""
    try:
        check_name(row["label_set"], "label set")
    except CrosslabelError as exc:
        raise place.translate("label_set", exc) from None
    return row


def _export(row: dict[str, Any], place: Place, base: Path) -> Values:
    """An export to an absolute path."""
    file = base / Path(row["file"]).expanduser()
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
