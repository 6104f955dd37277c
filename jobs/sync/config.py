"""The configuration of sync: a TOML file, read strictly before anything is touched."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from catalog.config import make_settings
from catalog.errors import CrosslabelError, UsageError
from catalog.surveys.registry import all_catalogs
from jobs.sync.keys import (
    ARCHIVE_KEYS,
    CROSSMATCH_KEYS,
    EXPORT_KEYS,
    LISTS,
    NAME_KEY,
    NORMALIZATION_KEYS,
    PREDICTION_KEYS,
    REPORT_KEYS,
    SAMPLE_KEYS,
    SOURCE_KEYS,
    TOP_KEYS,
)
from jobs.sync.overlaps import Input, Output, check_overlaps
from jobs.sync.rows import (
    SPECTRA,
    Values,
    read_export,
    read_prediction,
    read_recipe,
    read_sample,
    read_source,
)
from jobs.sync.values import Key, Place, choice, quantity, read_table, read_toml


@dataclass(frozen=True)
class Config:
    """The configuration of a sync.

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
    if not any(top[name] for name in LISTS):
        raise Place(file).wrong(
            "", "it asks for nothing", f"give one of [[{']], [['.join(LISTS)}]]"
        )
    found = Config(
        file=file,
        settings=_settings(top, archive, file),
        log=base / top["log"] if top["log"] else None,
        time_budget_s=top["time_budget"],
        archive=base / archive["folder"],
        sources=tuple(read_source(row, place, base) for row, place in sources),
        crossmatches=tuple(row for row, _ in crossmatches),
        samples=tuple(read_sample(row, place, by_name) for row, place in samples),
        normalizations=tuple(read_recipe(row, place) for row, place in normalizations),
        predictions=tuple(read_prediction(row, place) for row, place in predictions),
        exports=tuple(read_export(row, place, base) for row, place in exports),
        reports=tuple({**row, "folder": base / row["folder"]} for row, _ in reports),
    )
    check_overlaps(list(_outputs(found)), list(_inputs(found)))
    return found


def _settings(top: Values, archive: Values, file: Path) -> dict[str, str]:
    """Return the file's settings of catalog and archive, by the variables' names."""
    home = str(file.parent / top["home"]) if top["home"] else ""
    said = (
        ("", "home", "CROSSLABEL_HOME", home),
        ("", "database_url", "CROSSLABEL_DATABASE_URL", top["database_url"]),
        ("", "reader_url", "CROSSLABEL_READER_URL", top["reader_url"]),
        ("[archive]", "url", "CROSSLABEL_ARCHIVE_URL", archive["url"]),
        ("[archive]", "skyserver_url", "CROSSLABEL_SKYSERVER_URL", archive["skyserver_url"]),
    )
    settings = {}
    for table, key, variable, value in said:
        if value:
            try:
                make_settings({variable: value})
            except CrosslabelError as exc:
                what = exc.reason.replace(variable, "this")
                todo = exc.todo[:1].lower() + exc.todo[1:]
                raise Place(file, table).wrong(key, what, todo) from None
            settings[variable] = value
    return settings


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
    sets = {c.kind: c.label_set for _, c in all_catalogs() if c.label_set} | {"sppparams": "sspp"}
    seen: dict[str, str] = {}
    for row, place in rows:
        kind = sets.get(row.get("kind", ""))
        made = f"{kind}/{row['release'].lower()}" if kind else row.get("label_set")
        if made in seen:
            todo = "of files of one kind and release make one source with several paths"
            raise place.wrong("", f"{seen[made]} makes the label set {made} already", todo)
        if made:
            seen[made] = place.table


def example_text() -> str:
    """Return a configuration with every key, commented."""
    return files("jobs.sync").joinpath("example.toml").read_text("utf-8")
